"""`SampleSet`: a data set that tells loaders, caches and measurements what they must know of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from ssl_registry.data.sampling import EpochSampler
from ssl_registry.errors import DataError

__all__ = ["SampleSet", "as_sample_set", "content_hash"]


class SampleSet(Dataset[Any]):
    """A map-style data set, and what it tells of itself; a `Source` has one for each part.

    A subclass says how many samples there are and gives one. The rest has defaults that suit any set; each that a
    subclass overrides saves time or memory somewhere. A set may also have ``__getitems__(indices)``, which gives a
    whole batch at once (see `samples.Samples`).

    Attributes:
        in_memory: whether all samples lie in memory, or in a file that is mapped into it. Then they need no workers,
            and a device may keep them; such a set has `nbytes` and `tensors` too.
        decodes: whether samples are read and decoded when they are asked for.

    Example:
        >>> class Ramp(SampleSet):
        ...     def __len__(self): return 3
        ...     def __getitem__(self, index): return torch.full((1, 2, 2), float(index))
        >>> ramp = Ramp()
        >>> ramp.in_memory, ramp.labels, ramp.fingerprint(), ramp.holds_bytes()
        (False, None, None, False)
    """

    in_memory: bool = False
    decodes: bool = False

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must say how many samples it has")

    @property
    def labels(self) -> Tensor | None:
        """Labels [N], where they can be had without the samples."""
        return None

    @property
    def broken(self) -> dict[str, str]:
        """The samples that could not be read so far: their names, and why."""
        return {}

    @property
    def nbytes(self) -> int:
        """How much memory all samples take, where they lie in memory."""
        raise NotImplementedError(f"{type(self).__name__} lies in memory and must say how large it is")

    def tensors(self) -> tuple[Tensor, Tensor | None]:
        """Return all samples and their labels, where they lie in memory."""
        raise NotImplementedError(f"{type(self).__name__} lies in memory and must give all of it")

    def name(self, index: int) -> str | None:
        """Return what tells a person which sample this is, such as its path; None where it has no name."""
        return None

    def row(self, index: int) -> int | None:
        """Return the sample's place among those of all parts; None where they stand one behind the other."""
        return None

    def window(self, index: int) -> dict[str, Any]:
        """Return where a window lies: ``recording``, its name, and ``start``, its first moment; empty for others."""
        return {}

    def holds_bytes(self) -> bool:
        """Whether samples are uint8; the default looks at the first one."""
        sample = self[0]
        x = sample[0] if isinstance(sample, list | tuple) else sample
        return bool(x.dtype == torch.uint8)

    def fingerprint(self) -> str | None:
        """Return a hash of the content, by which features are kept; None where it cannot be had cheaply."""
        return None

    def make_sampler(
        self, *, batch_size: int, num_workers: int, seed: int, rank: int = 0, world_size: int = 1, drop_last: bool
    ) -> tuple[EpochSampler, int]:
        """Make the sampler of training's order, and tell how many of the workers asked for are of use.

        A set that is read as a stream has an order of its own.

        Args:
            batch_size: samples a batch and rank.
            num_workers: processes that were asked for.
            seed, rank, world_size, drop_last: see `EpochSampler`.
        """
        return EpochSampler(self, seed=seed, rank=rank, world_size=world_size, drop_last=drop_last), num_workers


def as_sample_set(dataset: Dataset[Any]) -> SampleSet:
    """Return any map-style data set as a `SampleSet`; one that is a `SampleSet` as it is.

    Raises:
        DataError: if it has no length.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> len(as_sample_set(TensorDataset(torch.zeros(4, 2))))
        4
    """
    if isinstance(dataset, SampleSet):
        return dataset
    if not hasattr(dataset, "__len__"):
        raise DataError(f"{type(dataset).__name__} has no length; a source needs map-style data sets, not streams")
    if isinstance(dataset, Subset):
        return _Chosen(dataset)
    return _Adapted(dataset)


class _Adapted(SampleSet):
    """A data set of somebody else's."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # `as_sample_set` looked

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, indices: list[int]) -> Any:
        fetch = getattr(self.dataset, "__getitems__", None)
        return fetch(indices) if fetch else [self.dataset[index] for index in indices]


class _Chosen(_Adapted):
    """Some samples of a set; it reads them as the whole set does."""

    def __init__(self, chosen: Subset[Any]) -> None:
        super().__init__(chosen)
        self.whole, self.indices = as_sample_set(chosen.dataset), chosen.indices
        self.decodes = self.whole.decodes

    @property
    def labels(self) -> Tensor | None:
        labels = self.whole.labels
        return None if labels is None else labels[list(self.indices)]

    @property
    def broken(self) -> dict[str, str]:
        return self.whole.broken

    def name(self, index: int) -> str | None:
        return self.whole.name(self.indices[index])

    def row(self, index: int) -> int | None:
        return self.whole.row(self.indices[index])

    def window(self, index: int) -> dict[str, Any]:
        return self.whole.window(self.indices[index])

    def fingerprint(self) -> str | None:
        whole = self.whole.fingerprint()
        return None if whole is None else content_hash([whole, torch.as_tensor(self.indices)])


def content_hash(parts: Sequence[str | Tensor | None]) -> str:
    """Return a hash of texts and tensors, in order.

    >>> content_hash(["a", torch.zeros(2)]) == content_hash(["a", torch.zeros(2)])
    True
    """
    digest: Any = hashlib.blake2b(digest_size=16)  # Any: it reads NumPy arrays, which its type does not say
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype}{list(part.shape)}".encode())
            if part.numel():
                digest.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        else:
            digest.update(f"{part}\0".encode(errors="surrogateescape"))  # names of files may be no UTF-8
    found: str = digest.hexdigest()
    return found
