"""`SampleSet`: what a data set tells of itself is what loaders, caches and measurements act on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, Subset, TensorDataset

from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.loading import device_cache
from ssl_registry.data.loading.device_cache import on_device
from ssl_registry.data.loading.workers import default_workers
from ssl_registry.data.sample_set import SampleSet, sample_set
from ssl_registry.data.samples import Samples
from ssl_registry.data.sampling import EpochSampler
from ssl_registry.errors import DataError

X = torch.arange(24.0).view(6, 1, 2, 2)
Y = torch.tensor([0, 1, 2, 0, 1, 2])


class Ramps(SampleSet):
    """Samples of a kind that the core does not know."""

    def __init__(self, in_memory: bool) -> None:
        self.in_memory = in_memory

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Tensor:
        return X[index]

    @property
    def nbytes(self) -> int:
        return X.nbytes

    def tensors(self) -> tuple[Tensor, Tensor | None]:
        return X, None

    def make_sampler(self, *, num_workers: int, seed: int, **options: Any) -> tuple[EpochSampler, int]:  # type: ignore[override]
        return Backwards(self, seed=seed), min(num_workers, 1)


class Backwards(EpochSampler):
    def __iter__(self) -> Iterator[int]:
        return iter(range(len(X) - 1, -1, -1))


def source(train: Any) -> Source:
    return Source("ramps", "image", (1, 2, 2), train)


def test_any_map_style_set_becomes_one() -> None:
    """With defaults that cost nothing but speed."""
    made = source(TensorDataset(X, Y)).train
    assert isinstance(made, SampleSet)
    assert (len(made), made.in_memory, made.labels, made.name(0), made.broken) == (6, False, None, None, {})
    batch = next(iter(SSLDataModule(source(TensorDataset(X, Y)), batch_size=6).test_dataloader() or [None]))
    assert batch is None
    x, y = next(iter(SSLDataModule(source(TensorDataset(X, Y)), batch_size=6).train_eval_dataloader()))
    assert torch.equal(x, X)
    assert torch.equal(y, Y)


def test_a_sample_set_stays_itself() -> None:
    """Nothing is wrapped twice."""
    samples = Samples(X, Y)
    assert source(samples).train is samples


def test_a_stream_is_refused() -> None:
    """Without a length there is no order that can be resumed."""

    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(())

    with pytest.raises(DataError, match="Stream has no length"):
        source(Stream())


def test_chosen_samples_keep_labels_names_and_content() -> None:
    """A subset knows what the whole set knows."""
    chosen = sample_set(Subset(Samples(X, Y), [4, 2]))
    assert chosen.labels is not None
    assert chosen.labels.tolist() == [1, 2]
    assert chosen.fingerprint() not in (None, Samples(X, Y).fingerprint())
    assert chosen.fingerprint() == sample_set(Subset(Samples(X.clone(), Y), [4, 2])).fingerprint()


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_own_set_says_where_it_lies(in_memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory it needs no workers, and a device keeps it."""
    monkeypatch.setattr(device_cache, "_free_memory", lambda device: 1 << 20)
    made = Ramps(in_memory)
    assert (default_workers(source(made)) == 0) == in_memory
    assert isinstance(on_device(made, torch.device("meta")), Samples) == in_memory


def test_an_own_set_says_its_order() -> None:
    """Its sampler is what training draws by, with as many workers as are of use to it."""
    loader = SSLDataModule(source(Ramps(False)), batch_size=6, num_workers=4).train_dataloader()
    assert loader.num_workers == 1
    assert isinstance(loader.sampler, Backwards)
