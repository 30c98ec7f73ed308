"""`view_block_masks`: of several views of a batch some are masked, each at a ratio of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_registry.nn.masks import block_scores

__all__ = ["ViewMasks", "masked_counts", "view_block_masks"]

GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples, without their whole parts, are spread the most evenly over [0, 1)


class ViewMasks(NamedTuple):
    """Masked patches of the views of a batch, in a number that the host knows.

    Args:
        mask: True where a patch is masked, [views * batch, N] bool, one view after the other.
        places: the masked patches' numbers in [views * batch * N], [M] int64, ascending.
        weights: of each masked patch, [M]: 1 / (masked patches of its view * views * batch), so that a weighted sum is
            the mean over a view's masked patches, and over all views.
    """

    mask: Tensor
    places: Tensor
    weights: Tensor


def view_block_masks(
    views: int,
    batch_size: int,
    grid: Sequence[int],
    *,
    probability: float = 0.5,
    ratio: tuple[float, float] = (0.1, 0.5),
    min_patches: int = 4,
    aspect: float = 0.3,
    first: int = 0,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> ViewMasks:
    """Mask rectangular blocks of patches in a share of the views; exactly `masked_counts` of each.

    Where the blocks lie is drawn from ``generator``, on the device and without waiting for it.

    Args:
        views, batch_size, probability, ratio, first: as in `masked_counts`.
        grid: (rows, columns) of patches.
        min_patches, aspect, generator, device: as in `block_mask`.

    Returns:
        `ViewMasks`.

    Raises:
        ValueError: if the grid is not one of rows and columns, a view would be masked as a whole, or a value is out of
            range.

    Example:
        >>> found = view_block_masks(2, 4, (14, 14))
        >>> found.mask.shape, found.places.shape, found.weights.sum()
        (torch.Size([8, 196]), torch.Size([272]), tensor(0.5000))
    """
    if len(grid) != 2 or min(grid) < 1:
        raise ValueError(f"blocks need a grid of (rows, columns), not {tuple(grid)}")
    number = grid[0] * grid[1]
    counts = masked_counts(views, batch_size, number, probability=probability, ratio=ratio, first=first)
    if device is None:
        device = "cpu" if generator is None else generator.device
    score = block_scores(
        counts,
        (grid[0], grid[1]),
        min_patches=min_patches,
        aspect=aspect,
        generator=generator,
        device=device,
        largest=max(1, round(ratio[1] * number)),
    )
    wanted = torch.tensor(counts, dtype=torch.int64).to(device, non_blocking=True)
    mask = score.argsort(1).argsort(1) < wanted.unsqueeze(1)  # [views * batch, N]
    # The host knows how many are masked; nonzero() would wait for the device.
    places = (~mask).flatten().to(torch.uint8).argsort(stable=True)[: sum(counts)]
    weights = 1 / (wanted.clamp(min=1) * max(len(counts), 1))  # [views * batch]
    return ViewMasks(mask, places, weights[places // number])


def masked_counts(
    views: int, batch_size: int, patches: int, *, probability: float, ratio: tuple[float, float], first: int = 0
) -> list[int]:
    """Say how many patches of each view are masked: of some none, of the others shares that cover a range evenly.

    Sources: Zhou et al., 2021, arXiv:2111.07832 (iBOT), pre-training setup: each large view is masked with
    probability 0.5, at a ratio from 0.1 to 0.5; Oquab et al., 2023, arXiv:2304.07193 (DINOv2), the authors' code:
    exactly half of the views, at ratios that are spread evenly over a batch. Here both follow from a sample's place in
    the batch, which shuffling makes a random one. So the sum, and with it the shapes, are the same in each batch of a
    size, and the host knows them without asking the device.

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
    if not 0 < probability <= 1 or not 0 < low <= high < 1:
        raise ValueError(f"probability={probability} must be in (0, 1], ratio={ratio} two shares, the smaller first")
    if round(high * patches) >= patches:
        raise ValueError(f"a ratio of {high} masks all of the {patches} patches of a view; give a smaller one")
    counts = []
    for view in range(views):
        for place in range(first + view, first + view + batch_size):
            before, after = math.floor(place * probability), math.floor((place + 1) * probability)
            share = low + (high - low) * (((before + 0.5) * GOLDEN) % 1)
            counts.append(max(1, round(share * patches)) if after > before else 0)
    return counts
