"""Images a second of each stage before the network, by itself and in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from ssl_registry.data import Source
from ssl_registry.data.images.encoded import EncodedImages
from ssl_registry.data.loading.drawn import ViewPlan
from ssl_registry.data.sample_set import SampleSet
from ssl_registry.model.module import SSLModule
from ssl_registry.views import sample_keys

__all__ = ["read_and_decode", "sample_batch", "views"]

SECONDS = 2.0  # a stage is repeated for about so long


def read_and_decode(source: Source, count: int) -> dict[str, float]:
    """Measure ``read`` (bytes from the disk or the network) and ``decode`` (to pixels) on samples in random order.

    Args:
        source: whose training part is read; for one that is not decoded on request both are one, under ``read``.
        count: samples at most.

    Returns:
        Images a second.
    """
    train: Any = source.train
    order = _order(train)[:count]
    if not isinstance(train, EncodedImages):
        return {"read": _rate(lambda: _collated(train, order), len(order))}
    began = time.perf_counter()
    found = [data for index in order if (data := _read(train, index)) is not None]
    read = len(order) / (time.perf_counter() - began)
    began, decoded = time.perf_counter(), 0
    for data in found:
        try:
            train.decoded(data)
        except Exception:  # a broken file takes no part in this
            continue
        decoded += 1
        if time.perf_counter() - began > SECONDS:
            break
    return {"read": read, "decode": decoded / (time.perf_counter() - began)}


def _order(train: SampleSet) -> list[int]:
    sampler, _ = train.make_sampler(batch_size=1, num_workers=0, seed=0, drop_last=False)  # the order of training
    return list(sampler)


def _read(images: EncodedImages, index: int) -> bytes | None:
    try:
        return images.encoded(index)
    except Exception:  # as in `EncodedImages.load`
        return None


def _collated(train: Any, order: list[int]) -> Any:
    if hasattr(train, "__getitems__"):
        return default_collate(train.__getitems__(order))
    return default_collate([train[index] for index in order])


def sample_batch(source: Source, batch_size: int) -> Tensor:
    """Return the first training samples, [batch, *shape], without labels."""
    train: Any = source.train
    batch = _collated(train, list(range(min(batch_size, len(train)))))
    x: Tensor = batch if isinstance(batch, Tensor) else batch[0]
    return x


def views(model: SSLModule, batch: Tensor, drawing: ViewPlan) -> float:
    """Measure the drawing of all views of a batch, in samples a second.

    Args:
        model: whose recipe is drawn.
        batch: samples of one size.
        drawing: who draws: the host in this process, the model's device, or each its half.
    """
    device, host = model.device, drawing.host
    keys = sample_keys(0, 0, range(len(batch)))
    x = batch.to(device)

    def draw() -> None:
        if host is None:
            model.view_policy.draw(x, keys=keys)
        else:
            photos = batch.permute(0, 2, 3, 1).contiguous().numpy()
            cut = [torch.from_numpy(view).permute(0, 3, 1, 2).to(device) for view in host.draw(photos, keys)]
            if not host.finish:
                model.view_policy.finish(cut, keys)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    draw()
    return _rate(draw, len(batch))


def _rate(work: Callable[[], Any], count: int) -> float:
    began, times = time.perf_counter(), 0
    while times == 0 or time.perf_counter() - began < SECONDS / 2:
        work()
        times += 1
    return count * times / (time.perf_counter() - began)
