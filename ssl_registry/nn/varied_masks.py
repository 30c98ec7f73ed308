"""`varied_block_masks`: some views masked and others not, each masked one at a ratio of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_registry.nn.masks import block_scores

__all__ = ["VariedMask", "masked_counts", "varied_block_masks"]

GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples, without their whole parts, are spread the most evenly over [0, 1)


class VariedMask(NamedTuple):
    """Masked patches of some rows of a batch, in a number that the host knows.

    Args:
        mask: True where a patch is masked, [rows, N] bool.
        index: the masked patches' places in [rows * N], [M] int64, ascending.
        weights: of each masked patch, [M]: 1 / (masked patches of its row * rows), so that a weighted sum is
            the mean over a row's masked patches, and over all rows.
    """

    mask: Tensor
    index: Tensor
    weights: Tensor


def masked_counts(
    views: int, batch_size: int, patches: int, *, probability: float, ratio: tuple[float, float], first: int = 0
) -> list[int]:
    """Say how many patches of each view are masked: of some views none, of the others shares that cover a range evenly.

    Sources: Zhou et al., 2021, arXiv:2111.07832 (iBOT), pre-training setup: each large view is masked with
    probability 0.5, at a ratio from 0.1 to 0.5; Oquab et al., 2023, arXiv:2304.07193 (DINOv2), the authors' code, which
    masks exactly half of the views at ratios that are spread evenly over a batch. Here both follow from a sample's place
    in the batch, and shuffling makes them random: the sum is the same in each batch, so that shapes are, and the host
    knows it without asking the device.

    Args:
        views: of a sample.
        batch_size: samples.
        patches: of a view.
        probability: share of the views that is masked; of two views at 0.5 a sample has one of each.
        ratio: the least and the largest share of a masked view's patches.
        first: place of the first sample in the global batch: ranks that share a batch out mask as one that has it all.

    Returns:
        ``views * batch_size`` numbers, one view after the other.

    Raises:
        ValueError: if a value is out of range, or a view would be masked as a whole.

    Example:
        >>> masked_counts(2, 4, 100, probability=0.5, ratio=(0.1, 0.5))
        [0, 22, 0, 47, 22, 0, 47, 0]
    """
    low, high = ratio
    if not 0 <= probability <= 1 or not 0 < low <= high < 1:
        raise ValueError(
            f"probability={probability} must lie in [0, 1], and ratio={ratio} be two shares in (0, 1), the smaller first"
        )
    if round(high * patches) >= patches:
        raise ValueError(f"a ratio of {high} masks all of the {patches} patches of a view; give a smaller one")
    counts = []
    for view in range(views):
        for place in range(first + view, first + view + batch_size):
            before, after = math.floor(place * probability), math.floor((place + 1) * probability)
            share = low + (high - low) * (((before + 0.5) * GOLDEN) % 1)
            counts.append(max(1, round(share * patches)) if after > before else 0)
    return counts


def varied_block_masks(
    counts: Sequence[int],
    grid: Sequence[int],
    *,
    min_patches: int = 4,
    aspect: float = 0.3,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    largest: int | None = None,
) -> VariedMask:
    """Mask rectangular blocks until exactly the wanted number of each row's patches is masked.

    Args:
        counts: masked patches of each row, such as those of `masked_counts`; fewer than the grid has.
        grid, min_patches, aspect, generator, device: as in `block_mask`.
        largest: the largest number of masked patches that any row of any batch has; with it a row's random numbers do
            not depend on the other rows' counts. Default: that of these rows.

    Returns:
        `VariedMask`.

    Raises:
        ValueError: if a row would be masked as a whole, or the grid is not one of rows and columns.

    Example:
        >>> found = varied_block_masks([0, 3, 5], (4, 4))
        >>> found.mask.sum(1), found.index.shape, found.weights.sum()
        (tensor([0, 3, 5]), torch.Size([8]), tensor(0.6667))
    """
    if len(grid) != 2 or min(grid) < 1:
        raise ValueError(f"blocks need a grid of (rows, columns), not {tuple(grid)}")
    number = grid[0] * grid[1]
    if not all(0 <= count <= (number - 1 if largest is None else min(largest, number - 1)) for count in counts):
        raise ValueError(f"counts={list(counts)} must be at least 0, and at most largest={largest} and {number - 1}")
    if device is None:
        device = "cpu" if generator is None else generator.device
    size = {"min_patches": min_patches, "aspect": aspect}
    score = block_scores(counts, (grid[0], grid[1]), **size, generator=generator, device=device, largest=largest)
    wanted = torch.tensor(list(counts)).to(device, non_blocking=True)
    mask = score.argsort(1).argsort(1) < wanted.unsqueeze(1)  # [rows, N]
    # The host knows how many are masked; nonzero() would wait for the device.
    index = (~mask).flatten().to(torch.uint8).argsort(stable=True)[: sum(counts)]
    weights = 1 / (wanted.clamp(min=1) * max(len(counts), 1))  # [rows]
    return VariedMask(mask, index, weights[index // number])
