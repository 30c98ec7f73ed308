"""Which patches are masked: at random, in blocks, or as I-JEPA's context and targets.

All are drawn on the device, without waiting for it, and give every sample of a batch as many patches as the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["BlockMasks", "PatchMask", "block_mask", "multi_block_masks", "random_mask"]

# Blocks drawn for a sample, in multiples of what would cover the wanted share on average. With 6 none of 4000 samples
# ran out of blocks in grids of 7 x 7, 14 x 14 and 37 x 37 at ratios of 0.1 to 0.9, and 2 in 1000 in 8 x 24 at 0.9.
BLOCKS_TO_SPARE = 6


class PatchMask(NamedTuple):
    """One choice of masked patches for each sample of a batch.

    Args:
        keep: indices of the visible patches, [batch, N - M] int64, ascending.
        masked: indices of the masked patches, [batch, M] int64, ascending.
        mask: True where a patch is masked, [batch, N] bool.
    """

    keep: Tensor
    masked: Tensor
    mask: Tensor


class BlockMasks(NamedTuple):
    """I-JEPA's choice of patches for each sample of a batch.

    Args:
        context: indices of the visible patches, none of which is in a target, [batch, C] int64, ascending.
        targets: indices of the patches of each target, [batch, num_targets, K] int64, ascending.
    """

    context: Tensor
    targets: Tensor


def random_mask(
    batch_size: int,
    grid: Sequence[int],
    ratio: float,
    *,
    unit: int = 1,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> PatchMask:
    """Mask patches at random, each as likely as the others.

    Source: MAE (He et al., 2021, arXiv:2111.06377, section 3, masking); with ``unit`` SimMIM (Xie et al., 2021,
    arXiv:2111.09886, section 3.2), whose unit of 32 pixels is 2 with patches of 16.

    Args:
        batch_size: number of samples.
        grid: patches along each axis, (rows, columns) or (steps,).
        ratio: share of the patches that is masked; the number is rounded.
        unit: side of the squares that are masked together, in patches; it must divide the grid.
        generator: of the random numbers.
        device: of the result; by default the generator's.

    Returns:
        `PatchMask`.

    Raises:
        ValueError: if the ratio leaves no patch visible, or ``unit`` does not divide the grid.

    Example:
        >>> found = random_mask(2, (14, 14), 0.75)
        >>> found.keep.shape, found.masked.shape, found.mask.sum(1)
        (torch.Size([2, 49]), torch.Size([2, 147]), tensor([147, 147]))
    """
    if unit < 1 or any(side % unit for side in grid):
        raise ValueError(f"unit={unit} does not divide the grid {tuple(grid)}; give one that does")
    units = [side // unit for side in grid]
    count = _masked_count(math.prod(units), ratio)
    noise = torch.rand(batch_size, math.prod(units), generator=generator, device=_device(generator, device))
    mask = _smallest(noise, count)
    for axis in range(len(units) if unit > 1 else 0):
        mask = mask.view(batch_size, *grid[:axis], *units[axis:]).repeat_interleave(unit, 1 + axis)
    return _split(mask.reshape(batch_size, -1), count * unit ** len(units))


def block_mask(
    batch_size: int,
    grid: Sequence[int],
    ratio: float,
    *,
    min_patches: int = 16,
    aspect: float = 0.3,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> PatchMask:
    """Mask rectangular blocks, one after the other, until exactly the wanted number of patches is masked.

    A block has at least ``min_patches`` patches and at most the number that is wanted, and an aspect ratio between
    ``aspect`` and its inverse. The last block is cut where it would mask too many, at its top or its bottom. In a grid
    of one axis a block is a run of steps.

    Source: BEiT (Bao et al., 2021, arXiv:2106.08254, section 2.3, algorithm 1); iBOT (Zhou et al., 2021,
    arXiv:2111.07832) and DINOv2 (Oquab et al., 2023, arXiv:2304.07193) take the same. There the number differs a
    little from sample to sample.

    Args:
        batch_size, ratio, generator, device: as in `random_mask`.
        grid: (rows, columns) of patches, or (steps,).
        min_patches: of a block; where fewer are wanted in all, so many.
        aspect: the smallest ratio of a block's height to its width, from 0 to 1; a run of steps has none.

    Returns:
        `PatchMask`.

    Raises:
        ValueError: if the ratio leaves no patch visible, or another argument is out of range.

    Example:
        >>> block_mask(2, (14, 14), 0.4).mask.sum(1)
        tensor([78, 78])
        >>> block_mask(1, (16,), 0.5, min_patches=8).masked.diff()
        tensor([[1, 1, 1, 1, 1, 1, 1]])
    """
    rows, columns = _rows_and_columns(grid)
    if min_patches < 1 or not 0 < aspect <= 1:
        raise ValueError(f"min_patches={min_patches} must be at least 1, and aspect={aspect} in (0, 1]")
    count, device = _masked_count(rows * columns, ratio), _device(generator, device)
    score = block_scores(
        [count] * batch_size,
        grid,
        min_patches=min_patches,
        aspect=aspect,
        generator=generator,
        device=device,
    )
    return _split(_smallest(score, count), count)


def block_scores(
    counts: Sequence[int],
    grid: Sequence[int],
    *,
    min_patches: int,
    aspect: float,
    generator: torch.Generator | None,
    device: torch.device | str,
    largest: int | None = None,
) -> Tensor:
    """Draw blocks for each sample, and return the order in which they take its patches.

    Args:
        counts: of patches that are to be masked, of each sample.
        grid, min_patches, aspect, generator, device: as in `block_mask`.
        largest: the largest number that any sample of any batch has, which says how many blocks are drawn; default: of
            these samples.

    Returns:
        [batch, N]: the patches with the smallest values are those of the first blocks. All of a sample's differ.
    """
    rows, columns = _rows_and_columns(grid)
    number, batch = rows * columns, len(counts)
    every = {*counts} if largest is None else range(1, largest + 1)
    blocks = max((_blocks_to_draw(count, min(min_patches, count), number) for count in every), default=1)
    area, log_aspect, top, left = torch.rand(4, batch, blocks, generator=generator, device=device)
    most = _per_sample(counts, device)
    smallest = most.clamp(max=min_patches)
    area = smallest + area * (most - smallest)
    if len(grid) == 1:
        height, width = torch.ones_like(area), area.round()
    else:
        ratios = ((2 * log_aspect - 1) * math.log(1 / aspect)).exp()
        height, width = (area * ratios).sqrt().round(), (area / ratios).sqrt().round()
    inside = _rectangles(rows, columns, height, width, top, left)  # [B, blocks, rows, columns]
    order = torch.arange(blocks, device=device).view(-1, 1, 1)
    first = torch.where(inside, order, blocks).amin(1).flatten(1)  # the first block over each patch, [B, N]
    # Within a block row by row, from its top or from its bottom; what no block covers, if it must be, at random.
    drawn = torch.rand(batch, 1 + number, generator=generator, device=device)
    coin, noise = drawn[:, :1], drawn[:, 1:]
    place = torch.arange(number, device=device) / number
    within = torch.where(coin < 0.5, place, 1 - place - 1 / number)  # [B, N], in [0, 1) as the noise
    return first + torch.where(first < blocks, within, noise)


def _blocks_to_draw(count: int, smallest: int, number: int) -> int:
    mean_area = (smallest + count) / 2
    return 1 + math.ceil(-BLOCKS_TO_SPARE * math.log1p(-count / number) * number / max(mean_area, 1))


def multi_block_masks(
    batch_size: int,
    grid: Sequence[int],
    *,
    num_targets: int = 4,
    target_scale: float = 0.175,
    target_aspect: tuple[float, float] = (0.75, 1.5),
    context_scale: tuple[float, float] = (0.85, 1.0),
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> BlockMasks:
    """Draw I-JEPA's target blocks, which may overlap, and a context block without what is in a target.

    In a grid of one axis all blocks are runs of steps.

    Source: I-JEPA (Assran et al., 2023, arXiv:2301.08243, section 3 and appendix A). There a target has a share of
    0.15 to 0.2 of the patches, and context and targets are cut to the smallest of the batch. Here the numbers are
    constants: a target has ``target_scale`` of the patches, and the context as many as are sure to remain,
    N - num_targets * K. Where more do, one side of the context is cut off, a random one.

    Args:
        batch_size, generator, device: as in `random_mask`.
        grid: (rows, columns) of patches, or (steps,).
        num_targets: target blocks of a sample.
        target_scale: share of the patches that a target has; the number K is rounded.
        target_aspect: least and largest ratio of a target's height to its width. Where the block does not come out
            at K patches, the end of its last row is left out. A run of steps has no such ratio.
        context_scale: least and largest share of the patches that the square context block has, targets included.

    Returns:
        `BlockMasks`.

    Raises:
        ValueError: if the targets could cover the whole grid, or an argument is out of range.

    Example:
        >>> found = multi_block_masks(2, (14, 14))
        >>> found.context.shape, found.targets.shape
        (torch.Size([2, 60]), torch.Size([2, 4, 34]))
    """
    rows, columns = _rows_and_columns(grid)
    number, device = rows * columns, _device(generator, device)
    if num_targets < 1 or not 0 < target_aspect[0] <= target_aspect[1]:
        raise ValueError(
            f"num_targets={num_targets} must be at least 1, target_aspect={target_aspect} two positive ones"
        )
    if not 0 < context_scale[0] <= context_scale[1] <= 1:
        raise ValueError(f"context_scale={context_scale} must be two shares in (0, 1], the smaller first")
    size = round(target_scale * number)
    context = number - num_targets * size
    if size < 1 or context < 1:
        raise ValueError(
            f"{num_targets} targets of {size} patches are no choice in a grid of {number}, some of which must remain "
            "for the context; change num_targets or target_scale"
        )

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    low, high = map(math.log, target_aspect)
    ratios = (low + draw(batch_size, num_targets) * (high - low)).exp()
    # At least so high that the width does not exceed the grid's, and so wide that K patches are inside.
    height = (size * ratios).sqrt().round().clamp(math.ceil(size / columns), rows)
    width = (size / height).ceil()
    height = (size / width).ceil()
    if len(grid) == 1:
        height, width = torch.ones_like(ratios), torch.full_like(ratios, size)
    inside = _rectangles(rows, columns, height, width, *draw(2, batch_size, num_targets)).flatten(2)  # [B, T, N]
    everywhere = torch.arange(number, device=device)
    targets = torch.where(inside, everywhere, number).topk(size, largest=False, sorted=True).indices  # row by row
    taken = torch.zeros(batch_size, number, dtype=torch.bool, device=device).scatter_(1, targets.flatten(1), True)

    area = number * (context_scale[0] + draw(batch_size, 1) * (context_scale[1] - context_scale[0]))
    side = area.round() if len(grid) == 1 else area.sqrt().round()
    block = _rectangles(rows, columns, side, side, *draw(2, batch_size, 1)).flatten(1)  # [B, N]
    angle = draw(batch_size, 1) * 2 * math.pi
    along = angle.cos() * (everywhere // columns) + angle.sin() * (everywhere % columns)  # [B, N]
    # Inside of the block and of no target first, and of those what lies first along a random direction.
    far = 2 * (rows + columns)
    score = along + far * ~block + 2 * far * taken
    return BlockMasks(_split(~_smallest(score, context), number - context).keep, targets)


def _rectangles(rows: int, columns: int, height: Tensor, width: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Return rectangles as masks, [..., rows, columns].

    Args:
        rows, columns: of the grid.
        height, width: whole numbers, cut to the grid, [...].
        top, left: where in the room that is left, in [0, 1), [...].
    """

    def between(sides: int, length: Tensor, where: Tensor) -> Tensor:
        length = length.clamp(1, sides).unsqueeze(-1)
        start = (where.unsqueeze(-1) * (sides - length + 1)).floor()
        position = torch.arange(sides, device=length.device)
        return (position >= start) & (position < start + length)

    return between(rows, height, top).unsqueeze(-1) & between(columns, width, left).unsqueeze(-2)


def _smallest(score: Tensor, count: int) -> Tensor:
    """Return True for the ``count`` smallest scores of each row of [batch, N]."""
    chosen = score.topk(count, largest=False, sorted=False).indices
    return torch.zeros_like(score, dtype=torch.bool).scatter_(1, chosen, True)


def _split(mask: Tensor, count: int) -> PatchMask:
    """Return the indices beside a mask of ``count`` patches a sample; nonzero() would wait for the device."""
    order = mask.to(torch.uint8).argsort(dim=1, stable=True)
    visible = mask.shape[1] - count
    return PatchMask(order[:, :visible], order[:, visible:], mask)


def _masked_count(number: int, ratio: float) -> int:
    count = round(number * ratio)
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio={ratio} must be at least 0 and below 1")
    if count >= number:
        raise ValueError(
            f"ratio={ratio} of a grid of {number} leaves no patch visible; the backbone needs larger inputs or smaller "
            "patches"
        )
    return count


def _per_sample(counts: Sequence[int], device: torch.device | str) -> Tensor:
    """Return numbers of the host as [batch, 1] on a device, which is not waited for."""
    if len(set(counts)) == 1:
        return torch.full((len(counts), 1), float(counts[0]), device=device)
    return torch.tensor(counts, dtype=torch.float32).unsqueeze(1).to(device, non_blocking=True)


def _rows_and_columns(grid: Sequence[int]) -> tuple[int, int]:
    """Return the sides of a grid; steps of time are one row."""
    if len(grid) not in (1, 2) or min(grid) < 1:
        raise ValueError(f"blocks need a grid of (rows, columns) or (steps,), not {tuple(grid)}")
    return (1, grid[0]) if len(grid) == 1 else (grid[0], grid[1])


def _device(generator: torch.Generator | None, device: torch.device | str | None) -> torch.device | str:
    if device is not None:
        return device
    return "cpu" if generator is None else generator.device
