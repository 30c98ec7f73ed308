"""`DrawnViews`: a data set whose batches carry views, or what they are drawn from and with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

from ssl_registry.data.images.encoded import EncodedImages
from ssl_registry.data.images.encoded_photo import EncodedPhoto
from ssl_registry.data.sample_set import SampleSet
from ssl_registry.data.source import Source
from ssl_registry.views.device.table import RowsOf
from ssl_registry.views.engine import Engine, choose_engine
from ssl_registry.views.host.draw import HostViews
from ssl_registry.views.host.image import Photo
from ssl_registry.views.host.plan import Plan, Planner
from ssl_registry.views.keys import Keys, sample_keys
from ssl_registry.views.policy import ViewPolicy

__all__ = ["DrawnViews", "ViewPlan", "choose_view_plan"]


@dataclass(frozen=True)
class ViewPlan:
    """How the views of a source are drawn.

    Args:
        policy: what is drawn.
        engine: who draws views of images; None for signals and tables, which are drawn in batches.
        host: what the host draws of images; None where it draws nothing.
    """

    policy: ViewPolicy
    engine: Engine | None = None
    host: HostViews | None = None


def choose_view_plan(source: Source, view_policy: ViewPolicy, *, asked: str = "auto", accelerator: bool) -> ViewPlan:
    """Choose who draws the views of a source's training samples.

    Args:
        source: of the samples.
        view_policy: of their views.
        asked: ``auto``, or the engine to take.
        accelerator: whether the network is on one.

    Raises:
        ConfigError: as `choose_engine`.
    """
    base = source.train
    engine = choose_engine(
        view_policy,
        source.input_shape,
        asked=asked,
        in_memory=base.in_memory,
        whole=base.holds_bytes(),
        accelerator=accelerator,
    )
    if engine is None or engine.name == "device":
        return ViewPlan(view_policy, engine)
    return ViewPlan(view_policy, engine, HostViews(view_policy, finish=engine.name == "host"))


class _Batch(NamedTuple):
    content: dict[str, Any]


def _unwrap(batches: list[_Batch], **_: Any) -> dict[str, Any]:
    (batch,) = batches
    return batch.content


default_collate_fn_map[_Batch] = _unwrap  # as `samples` has it: __getitems__ gives whole batches


class DrawnViews(Dataset[Any]):
    """Training samples with the views of this epoch: a function of (seed, epoch, index), whoever loads them.

    A batch is a mapping with ``label``, where there are labels, and

    - ``views``, where the host draws images: a list of uint8 [batch, channels, height, width], channels last in memory;
      with ``size``: height and width of the samples, or int64 [batch, 2] of each photograph;
    - ``views`` of tables in memory: corruption takes features from all of their rows;
    - ``x`` where a device draws everything;
    - ``keys`` [batch], from which views are drawn, and ``finished`` where nothing of them is left to draw;
    - ``indices`` [batch]: which of the source's training samples these are.

    What is no tensor stays on the host, where parameters are drawn.

    Args:
        base: what is drawn from: encoded images of any size, or samples of one shape.
        plan: how the views are drawn.
        seed: of the views.
    """

    def __init__(self, base: SampleSet, plan: ViewPlan, *, seed: int) -> None:
        self.base = base
        self.policy = plan.policy
        self.host = plan.host
        self.seed = seed
        self.epoch = 0  # the loader sets it before an epoch's workers begin

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a batch of one sample."""
        return self.batch([index])

    def __getitems__(self, indices: list[int]) -> list[_Batch]:
        """Return one entry that holds the batch of all ``indices``."""
        return [_Batch(self.batch(indices))]

    def batch(self, indices: list[int]) -> dict[str, Any]:
        """Return the batch of these samples."""
        places = np.asarray(indices, np.int64)
        keys = sample_keys(self.seed, self.epoch, places)
        if self.host is not None and isinstance(self.base, EncodedImages):
            content, labels = self._decoded(self.base, self.host, indices, keys)
        else:
            x, labels = self._stacked(indices)
            content = self._content(x, places, keys)
        if labels is not None:
            content["label"] = labels
        return {**content, "keys": keys, "indices": places}

    def _content(self, x: Tensor, indices: NDArray[np.int64], keys: Keys) -> dict[str, Any]:
        """Return the views of samples of one shape, or what they are drawn from."""
        if self.host is not None:
            views = self._drawn(self.host, x, keys)
            return {"views": views, "finished": self.host.finish, "size": (x.shape[2], x.shape[3])}
        if x.ndim == 2 and self.base.in_memory:
            rows, _ = self.base.tensors()
            return {"views": self.policy.draw(x, keys=keys, origin=RowsOf(rows, indices)), "finished": True}
        return {"x": x}

    def _stacked(self, indices: list[int]) -> tuple[Tensor, Tensor | None]:
        fetch = getattr(self.base, "__getitems__", None)
        batch = default_collate(fetch(indices) if fetch else [self.base[index] for index in indices])
        x, labels = batch if isinstance(batch, list | tuple) else (batch, None)
        return x, labels

    @staticmethod
    def _drawn(host: HostViews, x: Tensor, keys: Keys) -> list[Tensor]:
        photos = x.permute(0, 2, 3, 1).contiguous().numpy()
        return [_channels_first(views) for views in host.draw(photos, keys)]

    @staticmethod
    def _decoded(
        base: EncodedImages, host: HostViews, indices: list[int], keys: Keys
    ) -> tuple[dict[str, Any], Tensor | None]:
        drawn, labels, sizes = [], [], []
        planner = host.planner(keys)
        for row, index in enumerate(indices):
            (plan, decoded), label = base.load(index, _decoder(base, planner, row))
            drawn.append(host.draw_planned(plan, *decoded))  # not in `load`: its failure would be no broken image's
            labels.append(label)
            sizes.append(plan.size)
        views = [_channels_first(np.stack(views)) for views in zip(*drawn, strict=True)]
        content = {"views": views, "finished": host.finish, "size": np.array(sizes, np.int64)}
        return content, None if labels[0] is None else torch.stack(labels)  # type: ignore[arg-type]  # all or none


def _decoder(base: EncodedImages, planner: Planner, row: int) -> Callable[[bytes], tuple[Plan, tuple[Photo, int]]]:
    """Return what decodes an image as its views, planned from its size, need it."""

    def decode(data: bytes) -> tuple[Plan, tuple[Photo, int]]:
        photo = EncodedPhoto(data, base.pixels)
        plan = planner.plan(row, photo.height, photo.width)
        return plan, photo.decode(plan.shrink)

    return decode


def _channels_first(views: Any) -> Tensor:
    """See [B, h, w, C] as [B, C, h, w], without moving anything."""
    return torch.from_numpy(views).permute(0, 3, 1, 2)
