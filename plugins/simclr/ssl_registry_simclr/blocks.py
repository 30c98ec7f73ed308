"""NT-Xent and DCL over blocks of the similarity matrix: the mean loss, and its gradient while a block is at hand.

Two ways through the matrix. `by_rows` takes any rows against any keys, a block of rows at a time, in three
matrix products a block (similarities, gradient of rows, gradient of keys). `by_tiles` takes rows against
themselves, where the matrix is symmetric: it visits the tiles on and above the diagonal twice, once for
the rows' sums and once for the gradient, which is two products in all and half the memory traffic; one and a
half where few tiles are kept from the first visit to the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from math import sqrt

import torch
from torch import Tensor

__all__ = ["Visit", "by_rows", "by_tiles", "row_blocks"]

# Unit vectors have similarities in [-1/T, 1/T]. Below this width exp() of all of them, and sums of millions,
# are normal numbers of float32, and no maximum has to be subtracted first.
SAFE_WIDTH = 80.0
# Entries of the matrix that are held at once, on a CPU (16 MiB) and elsewhere.
ENTRIES = {"cpu": 1 << 22}
ENTRIES_DEFAULT = 1 << 24
# Side of a tile. On a CPU it stays in the cache; elsewhere it must keep the device busy.
TILE = {"cpu": 512}
TILE_DEFAULT = 4096


@dataclass(frozen=True)
class Visit:
    """What is asked of a pass over the similarities.

    Args:
        temperature: T.
        needs_grad: whether to make the gradient too.
        first: number of the key that is the first row; the row itself is no negative.
        block: rows in a block or side of a tile; default: chosen from the shapes and the device.
        decoupled: leave the other view of a row out of its sum, as DCL does.
    """

    temperature: float
    needs_grad: bool
    first: int = 0
    block: int | None = None
    decoupled: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether exp() of similarities over the temperature needs no shift."""
        return 2 / self.temperature < SAFE_WIDTH


def row_blocks(rows: Tensor, keys: Tensor, block: int | None = None) -> list[slice]:
    """Cut rows into blocks whose similarities to all keys fit in a cache, or keep a device busy."""
    return _slices(len(rows), block or max(64, _entries(rows) // len(keys)))


def by_rows(
    rows: Tensor, keys: Tensor, visit: Visit, share: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Compute the mean loss of rows against keys, and its gradients.

    Args:
        rows: unit vectors, [2B, d]; row i and row i + B are the two views of a sample.
        keys: unit vectors, [K, d], among them the rows, from ``visit.first`` on and in their order.
        visit: what is asked.
        share: how much each row's similarity to its other view counts, [2B]; default: 1. A constant to the gradient.

    Returns:
        The loss, and the gradients of rows and keys or None.
    """
    count = len(rows)
    number = torch.arange(count, device=rows.device)
    itself = number + visit.first
    other = (number + count // 2) % count + visit.first
    losses = rows.new_empty(count)
    grad_rows = torch.empty_like(rows) if visit.needs_grad else None
    grad_keys = torch.zeros_like(keys) if visit.needs_grad else None
    scaled = rows / visit.temperature
    blocks = row_blocks(rows, keys, visit.block)
    memory = rows.new_empty(blocks[0].stop, len(keys))
    for some in blocks:
        line = number[: some.stop - some.start]
        weights = torch.mm(scaled[some], keys.T, out=memory[: len(line)])  # [b, K]
        positive = weights[line, other[some]]
        weights[line, itself[some]] = -torch.inf
        if visit.decoupled:
            weights[line, other[some]] = -torch.inf
        top = None
        if not visit.is_safe:
            top = weights.amax(1)
            weights.sub_(top[:, None])
            positive.sub_(top)
        sums = weights.exp_().sum(1)
        losses[some] = sums.log() - (positive if share is None else positive * share[some])
        if share is not None and top is not None:
            losses[some] += (1 - share[some]) * top
        if grad_rows is not None and grad_keys is not None:
            # softmax = weights / sums. Dividing on the narrow side of both products spares a pass over b x K.
            inverse = 1 / sums[:, None]
            torch.mm(weights, keys, out=grad_rows[some]).mul_(inverse)
            grad_keys.addmm_(weights.T, rows[some] * inverse)
    if grad_rows is not None and grad_keys is not None:
        scale = 1 / (visit.temperature * count)
        grad_rows.sub_(_weighted(keys[other], share)).mul_(scale)
        grad_keys.index_add_(0, other, _weighted(rows, share), alpha=-1).mul_(scale)
    return losses.mean(), grad_rows, grad_keys


def by_tiles(rows: Tensor, visit: Visit, share: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Compute the mean loss of rows among themselves, and its gradient.

    Args:
        rows: unit vectors, [2B, d]; row i and row i + B are the two views of a sample.
        visit: what is asked; only for a temperature that ``visit.is_safe``.
        share: as for `by_rows`; the same for both views of a sample.

    Returns:
        The loss, and the gradient or None.
    """
    count, half = len(rows), len(rows) // 2
    scaled = rows / sqrt(visit.temperature)
    side = min(_tile(rows, visit), count)
    tiles = list(_upper(count, side))
    keeps = visit.needs_grad and len(tiles) * side * side <= _entries(rows)
    memory = rows.new_empty(len(tiles) if keeps else 1, side * side)
    sums = rows.new_zeros(count)
    positive = rows.new_empty(half)
    for place, (high, wide) in zip(cycle(memory), tiles, strict=False):
        tile = _similarities(scaled, high, wide, place)
        if (found := _positives(tile, high, wide, half)) is not None:
            start = max(high.start, wide.start - half)
            positive[start : start + len(found)] = found
        _exponentiate(tile, high, wide, half if visit.decoupled else None)
        sums[high].add_(tile.sum(1))
        if high != wide:
            sums[wide].add_(tile.sum(0))
    loss = sums.log().mean() - (positive if share is None else positive * share[:half]).mean()
    if not visit.needs_grad:
        return loss, None

    # G is the softmax less the positives. A row is a key too, so its gradient is that of (G + G^T) rows; and
    # because the similarities are symmetric, softmax plus transpose is exp(s_ij) * (1/sums_i + 1/sums_j).
    inverse = 1 / sums
    factors = torch.empty_like(memory[0])
    grad = torch.zeros_like(rows)
    for place, (high, wide) in zip(cycle(memory), tiles, strict=False):
        if keeps:
            tile = _view(place, high, wide)
        else:
            tile = _similarities(scaled, high, wide, place)
            _exponentiate(tile, high, wide, half if visit.decoupled else None)
        both = _view(factors, high, wide)
        tile.mul_(torch.add(inverse[high, None], inverse[None, wide], out=both))
        grad[high].addmm_(tile, rows[wide])
        if high != wide:
            grad[wide].addmm_(tile.T, rows[high])
    grad.sub_(_weighted(rows.roll(half, 0), share), alpha=2)
    return loss, grad.mul_(1 / (visit.temperature * count))


def _entries(rows: Tensor) -> int:
    return ENTRIES.get(rows.device.type, ENTRIES_DEFAULT)


def _tile(rows: Tensor, visit: Visit) -> int:
    return visit.block or TILE.get(rows.device.type, TILE_DEFAULT)


def _slices(count: int, block: int) -> list[slice]:
    return [slice(start, min(start + block, count)) for start in range(0, count, block)]


def _upper(count: int, side: int) -> Iterator[tuple[slice, slice]]:
    """Yield the tiles on and above the diagonal, as slices of rows and of columns."""
    slices = _slices(count, side)
    for i, high in enumerate(slices):
        for wide in slices[i:]:
            yield high, wide


def _view(memory: Tensor, high: slice, wide: slice) -> Tensor:
    """Return the beginning of ``memory`` as a tile, [high, wide]."""
    shape = high.stop - high.start, wide.stop - wide.start
    return memory[: shape[0] * shape[1]].view(shape)


def _similarities(scaled: Tensor, high: slice, wide: slice, memory: Tensor) -> Tensor:
    """Compute a tile in ``memory``."""
    return torch.mm(scaled[high], scaled[wide].T, out=_view(memory, high, wide))


def _positives(tile: Tensor, high: slice, wide: slice, half: int) -> Tensor | None:
    """Return the entries (i, i + half) of the matrix that this tile has, or None."""
    offset = high.start + half - wide.start
    has_some = high.start - high.stop < offset < wide.stop - wide.start
    return tile.diagonal(offset) if has_some else None


def _exponentiate(tile: Tensor, high: slice, wide: slice, half: int | None) -> None:
    """Take exp() in place; a row is no negative of itself, nor, where ``half`` is given, its other view."""
    tile.exp_()
    if high == wide:
        _clear(tile, 0)
    if half is not None:
        _clear(tile, high.start + half - wide.start)
        if high == wide:  # below the diagonal no other tile is visited
            _clear(tile, -half)


def _clear(tile: Tensor, offset: int) -> None:
    """Set a diagonal to 0, if the tile has it; by indices, since torch.compile refuses to change views by strides."""
    first, last = max(0, -offset), min(len(tile), tile.shape[1] - offset)
    if first < last:
        line = torch.arange(first, last, device=tile.device)
        tile[line, line + offset] = 0


def _weighted(vectors: Tensor, share: Tensor | None) -> Tensor:
    return vectors if share is None else vectors * share[:, None]
