"""What a network sees and what it makes of it: views, a map of embeddings, neighbours, confusion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_registry.data import Source, SSLDataModule
from ssl_registry.measures import extract_features, linear_probe
from ssl_registry.measures.quick import INVERSE_PENALTY
from ssl_registry.measures.targets import labeled_only
from ssl_registry.model.module import SSLModule
from ssl_registry.workflows.report.maps import Map, draw_maps
from ssl_registry.workflows.report.reconstructions import Reconstructions, draw_reconstructions
from ssl_registry.workflows.report.thumbnails import BARS, CHANNELS, Sprite, limits_of, sprite
from ssl_registry.workflows.report.token_maps import TokenMaps, draw_token_maps

__all__ = ["Confusion", "Gallery", "build_gallery"]

SAMPLES = 6  # in the grid of views, and of each picture of patches
DRAWS = 3  # of every view
MAPPED = 500  # t-SNE of more takes longer than a look is worth
QUERIES, NEIGHBOURS = 8, 6
FITTED = 5_000  # samples of each part that the probe is fitted to and tried on
SIDE = 96  # pixels of a picture of a view or a neighbour
SMALL_SIDE = 48  # of a picture in the map


@dataclass(frozen=True)
class Confusion:
    """The probe's matrix: ``counts[i][j]`` held-out samples of class i were taken for class j."""

    classes: list[str]
    counts: list[list[int]]

    @property
    def accuracy(self) -> float:
        """The share on the diagonal."""
        total = sum(map(sum, self.counts))
        return sum(row[index] for index, row in enumerate(self.counts)) / total


@dataclass(frozen=True)
class Gallery:
    """Pictures of one run.

    Args:
        views: rows of a sample and then ``DRAWS`` draws of each view; samples alone where its views are the samples.
        view_columns: pictures in a row of ``views``.
        maps: of the embeddings, by name.
        thumbs: of the mapped samples.
        labels: of the mapped samples; empty without labels.
        classes: names by label.
        neighbours: of some mapped samples: its number, then those of its nearest, the nearest first.
        similarities: of those neighbours to their sample, cosine.
        confusion: of a linear probe; None without labels.
        notes: what is missing of the maps, and why.
        told: what the pictures show, where they are none of images.
        has_views: whether the method's views are others than the samples.
        reconstructions: of images or signals, where the method has the hook for it.
        token_maps: of images, where the backbone has patch tokens.
        patch_notes: what is missing of these two, and why.
    """

    views: Sprite
    view_columns: int
    maps: dict[str, Map]
    thumbs: Sprite
    labels: list[int]
    classes: list[str]
    neighbours: list[list[int]]
    similarities: list[list[float]]
    confusion: Confusion | None
    notes: list[str] = field(default_factory=list)
    told: str = ""
    has_views: bool = True
    reconstructions: Reconstructions | None = None
    token_maps: TokenMaps | None = None
    patch_notes: list[str] = field(default_factory=list)


def build_gallery(model: SSLModule, source: Source, *, batch_size: int = 256, seed: int = 0) -> Gallery:
    """Look at a trained model, on the held-out part where there is one.

    Args:
        model: on any device.
        source: that it was trained on.
        batch_size: of the forward passes.
        seed: of the views that are drawn, and of the maps.
    """
    data = SSLDataModule(source, batch_size=batch_size)
    shown = _spread(source.train if source.test is None else source.test, MAPPED)
    samples = [_input(item) for item in shown]
    features, labels = extract_features(model.embed, _batches(shown, batch_size), device=model.device)
    classes = list(source.classes or ())
    known = classes and labels is not None and labels.ndim == 1
    maps, notes = draw_maps(features.numpy(), seed)
    neighbours, similarities = _neighbours(features)
    chosen = samples[:: max(1, len(samples) // SAMPLES)][:SAMPLES]
    of_images, of_tables = len(model.input_shape) == 3, len(model.input_shape) == 1
    reconstructions, missing = (None, []) if of_tables else draw_reconstructions(model, chosen, SIDE)
    token_maps, more = draw_token_maps(model, chosen, SIDE) if of_images else (None, [])
    plain = model.view_policy.is_plain
    return Gallery(
        views=sprite(chosen, SIDE, columns=len(chosen)) if plain else _views(model, chosen, seed),
        view_columns=len(chosen) if plain else 1 + model.view_policy.num_views * DRAWS,
        told=_told(model.input_shape),
        has_views=not plain,
        maps=maps,
        thumbs=sprite(samples, SMALL_SIDE),
        labels=labels.tolist() if known and labels is not None and int(labels.min()) >= 0 else [],
        classes=classes if known else [],
        neighbours=neighbours,
        similarities=similarities,
        confusion=_confusion(model, data, classes) if known and source.test is not None else None,
        notes=notes,
        reconstructions=reconstructions,
        token_maps=token_maps,
        patch_notes=missing + more,
    )


def _spread(dataset: Any, count: int) -> list[Any]:
    """Return up to ``count`` items spread evenly: a folder lists one class after the other."""
    total = len(dataset)
    count = min(count, total)
    return [dataset[index * total // count] for index in range(count)]


def _input(item: Any) -> Tensor:
    x: Tensor = item[0] if isinstance(item, list | tuple) else item
    return x


def _batches(items: list[Any], batch_size: int) -> list[Any]:
    """Stack items as a loader would."""
    return [
        torch.utils.data.default_collate(items[start : start + batch_size])
        for start in range(0, len(items), batch_size)
    ]


def _views(model: SSLModule, samples: list[Tensor], seed: int) -> Sprite:
    # Without normalisation: this is for the eye.
    view_policy = model.view_policy.model_copy(update={"mean": None, "std": None})
    generator = torch.Generator().manual_seed(seed)
    batch = torch.stack(samples).cpu()
    drawn = [view for _ in range(DRAWS) for view in view_policy.draw(batch, generator)]
    rows = [[sample, *(view[index] for view in drawn)] for index, sample in enumerate(view_policy.prepare(batch))]
    # A factor shows beside the sample: one scale for a row.
    limits = None if batch.ndim == 4 else [limits_of(row) for row in rows for _ in row]
    return sprite([picture for row in rows for picture in row], SIDE, columns=len(rows[0]), limits=limits)


def _told(shape: tuple[int, ...]) -> str:
    """Return in words what the picture of a signal or a table's row shows; nothing of images."""
    if len(shape) == 2:
        channels, time = shape
        first = f"; the first {CHANNELS} of {channels} channels" if channels > CHANNELS else ""
        return (
            f"Time runs from left to right, {time:,} moments{first or f'; {channels} channel' + 's' * (channels > 1)}."
        )
    if len(shape) == 1:
        shown = f"the first {BARS} of {shape[0]:,} features" if shape[0] > BARS else f"{shape[0]} features"
        return f"A bar for each of {shown}, up and down from 0."
    return ""


def _neighbours(features: Tensor) -> tuple[list[list[int]], list[list[float]]]:
    count = len(features)
    rows = [index * count // min(QUERIES, count) for index in range(min(QUERIES, count))]
    z = torch.nn.functional.normalize(features, dim=1)
    similarity = z[rows] @ z.T
    similarity[range(len(rows)), rows] = -torch.inf  # a sample is not its own neighbor
    best, found = similarity.topk(min(NEIGHBOURS, count - 1), dim=1)
    return [[row, *near] for row, near in zip(rows, found.tolist(), strict=True)], best.tolist()


def _confusion(model: SSLModule, data: SSLDataModule, classes: list[str]) -> Confusion | None:
    bank, bank_labels = extract_features(model.embed, data.train_eval_dataloader(limit=FITTED), device=model.device)
    queries, labels = extract_features(model.embed, data.test_dataloader(limit=FITTED), device=model.device)
    if bank_labels is None or labels is None or not bool(bank.isfinite().all() and queries.isfinite().all()):
        return None
    (bank, bank_labels), (queries, labels) = labeled_only(bank, bank_labels), labeled_only(queries, labels)
    assert bank_labels is not None
    assert labels is not None
    if len(set(bank_labels.tolist())) < 2:
        return None
    predictions = linear_probe(bank, bank_labels, queries, labels, candidates=[INVERSE_PENALTY]).predictions
    counts: NDArray[np.int64] = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (labels.numpy(), predictions.cpu().numpy()), 1)
    return Confusion(classes, counts.tolist())
