"""Sets that fit are kept on the device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_registry.data import open_source
from ssl_registry.data.images.cache import cache_source
from ssl_registry.data.loading import device_cache
from ssl_registry.data.loading.device_cache import on_device
from ssl_registry.data.loading.loader import training_loader
from ssl_registry.data.samples import Samples

# A device that every installation has: it computes shapes, and refuses to be mixed with others.
META = torch.device("meta")


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_cache, "_free_memory", lambda device: 4_000_000)


@pytest.mark.usefixtures("room")
def test_batches_are_chosen_on_the_device() -> None:
    """Samples, labels and the choice of a batch lie there; nothing comes from the host but the order."""
    there = on_device(open_source("digits").train, META)
    assert isinstance(there, Samples)
    images, labels = next(iter(training_loader(there, batch_size=8)))
    assert (images.device, labels.device) == (META, META)
    assert images.shape == (8, 1, 16, 16)


@pytest.mark.usefixtures("room")
def test_what_is_too_large_stays() -> None:
    """A quarter of what is free is the limit."""
    small, large = (
        Samples(torch.zeros(1000, 1000, dtype=torch.uint8)),
        Samples(torch.zeros(1001, 1000, dtype=torch.uint8)),
    )
    assert on_device(small, META) is not small
    assert on_device(large, META) is large


def test_a_cpu_has_it_already() -> None:
    """There, the set stays the object that it is."""
    train = open_source("digits").train
    assert on_device(train, torch.device("cpu")) is train


@pytest.mark.usefixtures("room")
def test_a_cache_that_fits(tmp_path: Path) -> None:
    """Cached images are one such set; files that are decoded are none."""
    for number in range(4):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    source = open_source(str(tmp_path), image_size=4)
    assert on_device(source.train, META) is source.train
    there = on_device(cache_source(source, tmp_path / "cache").train, META)
    assert (there.x.device, there.x.shape, there.y) == (META, (4, 3, 4, 4), None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to see batches stay on one")
def test_on_cuda() -> None:
    """The same numbers as from the host."""
    train = open_source("digits").train
    host, device = (
        next(iter(training_loader(part, batch_size=8))) for part in (train, on_device(train, torch.device("cuda")))
    )
    assert device[0].is_cuda
    assert torch.equal(host[0], device[0].cpu())
