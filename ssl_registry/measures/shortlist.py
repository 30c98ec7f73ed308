"""Nearest neighbours from a shortlist in bfloat16, rescored in float32, with a proof that nobody is missing.

On a CPU with bfloat16 instructions a product in bfloat16 takes a third of float32's time. It is wrong in the third
digit, which is enough to say who *cannot* be among the k nearest: with a bound e on its error, a sample whose product
is below (the exact similarity of the k-th of the shortlist) - e is out. Where some that are not on the shortlist are
not below that, the shortlist proves nothing and the row is left to float32.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Shortlist", "fast_bfloat16"]

# Similarities come in tiles of so many rows and columns: 64 MiB.
TEST_ROWS, TRAIN_ROWS = 512, 65_536
# Of so many samples the likeliest one is looked at first: a maximum is cheaper than a place in a ranking.
GROUP = 8
# Below this many training samples, float32 is as fast.
LEAST = 8192
# Rows that are rescored together, so that their neighbours' features stay in the cache.
RESCORED = 64
# Rows that are prepared together, for the same reason.
PREPARED = 1024


class Nearest(NamedTuple):
    """Similarities [m, k], largest first; rows of the training features [m, k]; whether they are proven [m]."""

    similarity: Tensor
    rows: Tensor
    proven: Tensor


def fast_bfloat16(device: torch.device) -> bool:
    """Tell whether products in bfloat16 run on instructions of their own there."""
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and _has_instructions()


def _has_instructions() -> bool:
    # Elsewhere oneDNN emulates them, and is slower than float32.
    return bool(torch.cpu._is_avx512_bf16_supported()) or bool(torch.cpu._is_amx_tile_supported())


class Shortlist:
    """Training features prepared for `nearest`.

    Args:
        train: [N, D], whose rows have lengths that float32 can square.
        scale: [N], one over those lengths.
    """

    def __init__(self, train: Tensor, scale: Tensor) -> None:
        self.train, self.scale = train, scale
        # Subtracting one vector from all changes no ranking, and what is smaller is rounded by less.
        with torch.autocast("cpu", enabled=False):
            self.mean = scale @ train / len(train)
        self.rounded = torch.empty(train.shape, dtype=torch.bfloat16)
        lengths, lost = [], []
        for start in range(0, len(train), PREPARED):
            rows = slice(start, start + PREPARED)
            exact = torch.addcmul(-self.mean, train[rows], scale[rows, None])
            self.rounded[rows] = exact
            lengths.append(exact.norm(dim=1).amax())
            lost.append(exact.sub_(self.rounded[rows]).norm(dim=1).amax())
        self.length, self.lost = float(torch.stack(lengths).amax()), float(torch.stack(lost).amax())
        # One buffer for all products: fresh memory for each chunk of test samples costs a sixth of the time.
        self.products = torch.empty(0, dtype=torch.bfloat16)

    def nearest(self, test: Tensor, k: int) -> Nearest:
        """Find the k nearest of each test sample.

        Args:
            test: [m, D], of length one.
            k: fewer than there are training samples.
        """
        with torch.autocast("cpu", enabled=False):
            return self._nearest(test, k)

    def _nearest(self, test: Tensor, k: int) -> Nearest:
        count = min(2 * k + 24, len(self.train))
        rounded = test.bfloat16()
        approximate, rows, outside = self._candidates(rounded, count)
        center = test @ self.mean
        lost = (test - rounded).norm(dim=1)
        # |ab - a'b'| <= |a - a'||b| + |a'||b - b'|, and the sum of D products in float32.
        bound = lost * self.length + (1 + lost) * self.lost + test.shape[1] * 2.0**-23 * self.length
        few = min(k + 12, count)
        similarity = self._rescore(test, rows[:, :few])
        best, order = similarity.topk(k, dim=1)
        found = rows[:, :few].gather(1, order)
        left_out = approximate[:, few] if few < count else outside
        proven = self._proves(best[:, -1] - center, torch.maximum(left_out, outside), bound)
        if few < count and not bool(proven.all()):
            again = (~proven).nonzero()[:, 0]
            similarity = self._rescore(test[again], rows[again])
            best[again], order = similarity.topk(k, dim=1)
            found[again] = rows[again].gather(1, order)
            proven[again] = self._proves(best[again, -1] - center[again], outside[again], bound[again])
        return Nearest(best, found, proven)

    @staticmethod
    def _proves(worst: Tensor, left_out: Tensor, bound: Tensor) -> Tensor:
        """Tell where nobody left out can be nearer than the worst one that was kept."""
        # The product was itself rounded to bfloat16.
        return left_out + left_out.abs() * 2.0**-8 + bound < worst

    def _candidates(self, test: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the products of the likeliest, largest first, their rows, and a bound on those of all others."""
        kept: list[tuple[Tensor, Tensor, Tensor]] = []
        room = len(test) * min(TRAIN_ROWS, len(self.rounded))
        if len(self.products) < room:
            self.products = torch.empty(room, dtype=torch.bfloat16)
        for start in range(0, len(self.rounded), TRAIN_ROWS):
            tile = self.rounded[start : start + TRAIN_ROWS]
            products = self.products[: len(test) * len(tile)].view(len(test), len(tile))
            torch.mm(test, tile.T, out=products)
            best, rows, outside = _largest(products, min(count, len(tile)))
            kept.append((best.float(), rows + start, outside.float()))
        best, rows = (torch.cat([part[index] for part in kept], 1) for index in (0, 1))
        outside = torch.stack([part[2] for part in kept]).amax(0)
        if best.shape[1] > count:
            best, order = best.topk(count + 1, dim=1)
            outside = torch.maximum(outside, best[:, -1])
            best, rows = best[:, :-1], rows.gather(1, order[:, :-1])
        return best, rows, outside

    def _rescore(self, test: Tensor, rows: Tensor) -> Tensor:
        """Return the similarities in float32 [m, c] to the training samples ``rows`` [m, c]."""
        similarity = torch.empty(rows.shape)
        for start in range(0, len(test), RESCORED):
            part = rows[start : start + RESCORED]
            features = self.train.index_select(0, part.reshape(-1)).view(*part.shape, -1)
            # In this order: with the features on the left the product takes ten times as long.
            products = torch.bmm(test[start : start + RESCORED, None], features.mT)[:, 0]
            similarity[start : start + RESCORED] = products * self.scale[part]
        return similarity


def _largest(values: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ``count`` largest of each row [m, count], sorted, their columns, and a bound [m] on all others.

    What stands in a group whose maximum is not among the largest maxima is not above the bound on those; so only the
    groups of the largest are ranked, and these are found in the same way.
    """
    width = values.shape[1]
    groups = width // GROUP
    if groups < 2 * count:
        best, columns = values.topk(count, dim=1)
        return best, columns, best[:, -1] if count < width else best.new_full((len(best),), -torch.inf)
    # Column c is in group c % groups; the last few columns are all looked at.
    maxima = values[:, : groups * GROUP].view(-1, GROUP, groups).amax(1)
    _, chosen, outside = _largest(maxima, count)
    columns = (chosen[:, :, None] + torch.arange(GROUP) * groups).flatten(1)
    rest = torch.arange(groups * GROUP, width).expand(len(values), -1)
    columns = torch.cat([columns, rest], 1)
    best, order = values.gather(1, columns).topk(count, dim=1)
    return best, columns.gather(1, order), torch.maximum(outside, best[:, -1])
