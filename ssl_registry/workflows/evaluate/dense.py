"""Segmentation protocols of `evaluate`: what patch tokens tell of each pixel, beside other weights and raw pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ssl_registry.data.images.masks import MaskedImages, MaskedParts, open_masks
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.measures.features import replicate, stream_features
from ssl_registry.measures.segmentation import (
    IGNORED,
    SegmentationCounts,
    fit_linear_segmentation,
    knn_segmentation,
    linear_segmentation,
    memory_bank,
    patch_labels,
)
from ssl_registry.measures.solvers import Linear
from ssl_registry.runs.opened import RawNetwork
from ssl_registry.runs.raw_tokens import RawPatches, RawTokens
from ssl_registry.workflows.evaluate.results import EvaluationRow, Score

__all__ = ["DENSE", "Segmented", "segment"]

KNN, LINEAR = DENSE = ("knn-segmentation", "linear-segmentation")
# Patches that k-NN compares with: what 1,300 images of 14 x 14 patches have. In 384 dimensions they take 0.4 GB.
MOST_PATCHES = 2**18


@dataclass(frozen=True)
class Segmented:
    """What the protocols found.

    Args:
        rows: one a protocol and network.
        train, test: images in the parts.
        notes: what was decided and what is missing, in words.
    """

    rows: tuple[EvaluationRow, ...]
    train: int
    test: int
    notes: tuple[str, ...]


def segment(
    networks: Mapping[str, RawNetwork],
    folder: Path,
    protocols: Sequence[str],
    *,
    image_size: int,
    k: int,
    temperature: float,
    seeds: int,
    batch_size: int,
    workers: int,
    devices: Sequence[torch.device],
) -> Segmented:
    """Measure networks, and the pixels of their patches, on a folder of images and masks.

    Tokens of the training part lie in memory; images of the test part are measured batch by batch.

    Args:
        networks: by the name of their weights; the first one's grid cuts the patches of the baseline ``pixels``.
        folder: see `open_masks`.
        protocols: of ``knn-segmentation`` and ``linear-segmentation``.
        image_size: side of the images in pixels.
        k, temperature: of k-NN.
        seeds: fits of the linear layer.
        batch_size, workers, devices: as in `evaluate`.

    Raises:
        BackboneError: if the network has no tokens.
        ConfigError: if it takes no images.
        DataError: as `open_masks` and the measures.
    """
    shape = next(iter(networks.values())).input_shape
    if len(shape) != 3:
        raise ConfigError(f"{', '.join(protocols)}: of images alone, and this model takes samples of {list(shape)}")
    parts = open_masks(folder, size=image_size, channels=shape[0])
    found: dict[str, RawTokens | RawPatches] = {name: RawTokens(network) for name, network in networks.items()}
    notes = list(parts.notes)
    first = next(iter(found.values()))
    assert isinstance(first, RawTokens)
    if len(first.grid) != 2:
        raise BackboneError(f"the backbone's tokens lie on a grid of {first.grid}; segmentation needs rows and columns")
    try:
        found["pixels"] = RawPatches(first)
    except BackboneError as error:
        notes.append(f"no baseline of pixels: {error}")
    rows: list[EvaluationRow] = []
    for name, network in found.items():
        fitted = _Fitted(network, parts, protocols, k, temperature, seeds, image_size, batch_size, workers, devices)
        rows += fitted.rows(name)
        notes += [note for note in fitted.notes if note not in notes]
    for part in (parts.train, parts.test):
        notes += [
            f"{name} cannot be read, and the next image takes its place: {why}"
            for name, why in part.images.broken.items()
        ]
    return Segmented(tuple(rows), len(parts.train), len(parts.test), tuple(notes))


class _Fitted:
    """One network's tokens of the training part, and what is fitted to them."""

    def __init__(
        self,
        network: RawTokens | RawPatches,
        parts: MaskedParts,
        protocols: Sequence[str],
        k: int,
        temperature: float,
        seeds: int,
        image_size: int,
        batch_size: int,
        workers: int,
        devices: Sequence[torch.device],
    ) -> None:
        self.network, self.parts, self.protocols = network, parts, protocols
        self.k, self.temperature, self.devices = k, temperature, devices
        self.batch_size, self.workers = batch_size, workers
        self.notes: list[str] = []
        self.bank: tuple[Tensor, Tensor] | None = None
        self.layers: list[tuple[Linear, Tensor]] = []
        batches = list(self._tokens(parts.train))
        tokens = torch.cat([vectors for vectors, _ in batches])
        numbers = torch.cat([which for _, which in batches]).tolist()
        del batches
        grid = (network.grid[0], network.grid[1])
        if KNN in protocols:
            labels = torch.cat([patch_labels(parts.train.mask(n)[None], grid) for n in numbers])
            bank, known = memory_bank(tokens, labels, most=MOST_PATCHES)
            self.bank = bank.to(devices[0]), known.to(devices[0])  # where the products are computed
            if int((labels != IGNORED).sum()) > MOST_PATCHES:
                self.notes.append(f"{KNN}: {MOST_PATCHES} of the training part's patches, chosen at random")
        if LINEAR in protocols:
            masks = torch.stack([parts.train.mask(n, image_size) for n in numbers])
            self.layers = [
                fit_linear_segmentation(tokens, grid, masks, seed=seed, device=devices[0]) for seed in range(seeds)
            ]

    def rows(self, name: str) -> list[EvaluationRow]:
        """Measure on the test part."""
        grid = (self.network.grid[0], self.network.grid[1])
        by_bank, by_layer = SegmentationCounts(), [SegmentationCounts() for _ in self.layers]
        for tokens, numbers in self._tokens(self.parts.test):
            masks = [self.parts.test.mask(n) for n in numbers.tolist()]
            if self.bank is not None:
                guesses = knn_segmentation(*self.bank, tokens, grid, k=self.k, temperature=self.temperature)
                for guess, mask in zip(guesses, masks, strict=True):
                    by_bank.add(guess, mask)
            for (fit, classes), counts in zip(self.layers, by_layer, strict=True):
                for one, mask in zip(tokens, masks, strict=True):
                    counts.add(linear_segmentation(fit, classes, one, grid, mask.shape), mask)
        counted = {KNN: [by_bank] if self.bank is not None else [], LINEAR: by_layer}
        return [_row(name, protocol, counted[protocol]) for protocol in self.protocols]

    def _tokens(self, part: MaskedImages) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield tokens [batch, N, D] and the numbers of their images."""
        loader = DataLoader(
            part.images, batch_size=self.batch_size, num_workers=self.workers, generator=torch.Generator()
        )
        for vectors, numbers in stream_features(replicate(self.network, self.devices), loader):
            assert numbers is not None  # the images' own
            yield vectors.view(len(vectors), self.network.count, self.network.width), numbers


def _row(name: str, protocol: str, counts: Sequence[SegmentationCounts]) -> EvaluationRow:
    metrics = [one.metrics() for one in counts]
    of_class = [one.iou() for one in counts]
    kinds = sorted({kind for one in of_class for kind in one})

    def score(values: list[float]) -> Score:
        return Score.over(values) if protocol == LINEAR else Score(values[0])

    return EvaluationRow(
        name,
        protocol,
        {metric: score([one[metric] for one in metrics]) for metric in metrics[0]},
        {str(kind): score([one.get(kind, 0.0) for one in of_class]) for kind in kinds},
    )
