"""Masks have the same number of patches in every sample, are repeatable, and lie where the papers put them."""

from __future__ import annotations

import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ssl_registry.nn import block_mask, multi_block_masks, random_mask

GRIDS = [(14, 14), (7, 7), (6, 10), (3, 20), (33,)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def neighbors(mask: torch.Tensor) -> float:
    """Return the share of masked patches whose right neighbor is masked too; [B, rows, columns]."""
    return (mask[:, :, 1:] & mask[:, :, :-1]).sum().item() / mask[:, :, :-1].sum().item()


@pytest.mark.parametrize("draw", [random_mask, block_mask])
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.4, 0.75, 0.95])
def test_exactly_the_ratio_is_masked(draw, grid, ratio):
    """Every sample has the rounded number of masked patches; indices and mask tell the same, in order."""
    keep, masked, mask = draw(8, grid, ratio, generator=generator())
    number = math.prod(grid)
    count = round(ratio * number)
    assert (keep.shape, masked.shape, mask.shape) == ((8, number - count), (8, count), (8, number))
    assert (keep.dtype, masked.dtype, mask.dtype) == (torch.int64, torch.int64, torch.bool)
    assert not mask.gather(1, keep).any()
    assert mask.gather(1, masked).all()
    assert torch.equal(torch.cat([keep, masked], 1).sort(1).values, torch.arange(number).expand(8, -1))
    assert (keep.diff() > 0).all()
    assert (masked.diff() > 0).all()


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: random_mask(4, (6, 8), 0.5, generator=g),
        lambda g: block_mask(4, (6, 8), 0.5, generator=g),
        lambda g: multi_block_masks(4, (6, 8), num_targets=2, generator=g),
    ],
)
def test_the_generator_decides(draw):
    """The same seed gives the same masks, another seed others, and torch's global numbers stay as they are."""
    before = torch.random.get_rng_state()
    first, again, other = draw(generator(0)), draw(generator(0)), draw(generator(1))
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_random_mask_is_even():
    """Each patch is masked in the wanted share of samples."""
    share = random_mask(20_000, (3, 4), 0.75, generator=generator()).mask.float().mean(0)
    assert share.sub(0.75).abs().max() < 0.015  # five standard deviations of a share of 20,000


def test_random_mask_of_a_signal():
    """A grid may have one axis."""
    assert random_mask(2, (18,), 0.5, generator=generator()).mask.shape == (2, 18)


def test_units_are_masked_whole():
    """SimMIM's units: each square of two by two patches is masked or not."""
    mask = random_mask(8, (6, 10), 0.6, unit=2, generator=generator()).mask.view(8, 3, 2, 5, 2)
    assert torch.equal(mask, mask[:, :, :1, :, :1].expand_as(mask))
    assert (mask.flatten(1).sum(1) == 4 * round(0.6 * 15)).all()


def test_blocks_hang_together():
    """In block masks neighbors are masked together far more often than at random."""
    in_blocks = block_mask(500, (14, 14), 0.4, generator=generator()).mask.view(-1, 14, 14)
    at_random = random_mask(500, (14, 14), 0.4, generator=generator()).mask.view(-1, 14, 14)
    assert neighbors(at_random) == pytest.approx(0.4, abs=0.02)
    assert neighbors(in_blocks) > 0.8


def test_a_block_has_at_least_the_least_patches():
    """Where so many patches are wanted as a block has at least, a sample has one block, and its rows are as wide."""
    mask = block_mask(200, (14, 14), 16 / 196, min_patches=16, aspect=0.5, generator=generator()).mask
    widths = mask.view(-1, 14, 14).sum(2)  # patches in each row
    full = widths.amax(1, keepdim=True)
    # All rows but the last, which may be cut, are as wide as the widest, unless a second block had to help out.
    one_block = ((widths == 0) | (widths == full)).sum(1) >= 13
    assert one_block.float().mean() > 0.7


def test_blocks_lie_evenly():
    """Every corner is masked at times, and no side of a rectangle more than the other."""
    share = block_mask(20_000, (6, 9), 0.4, generator=generator()).mask.float().mean(0).view(6, 9)
    assert share.min() > 0.1
    assert share.sub(share.flip(0)).abs().max() < 0.02
    assert share.sub(share.flip(1)).abs().max() < 0.02


def test_targets_are_rectangles():
    """A target is a block of K patches, row by row, of which the last row alone may be short."""
    targets = multi_block_masks(64, (14, 12), generator=generator()).targets
    size = round(0.175 * 14 * 12)
    assert targets.shape == (64, 4, size)
    rows, columns = targets // 12, targets % 12
    widths = columns.amax(-1) - columns.amin(-1) + 1
    heights = rows.amax(-1) - rows.amin(-1) + 1
    assert (widths * (heights - 1) < size).all()
    assert (widths * heights >= size).all()
    assert (heights / widths).min() > 0.75 * 0.7  # whole patches make the ratio a little wrong
    assert (heights / widths).max() < 1.5 * 1.4
    assert len(heights.unique()) > 1  # wide ones and high ones


@pytest.mark.parametrize("grid", [(14, 14), (8, 20), (5, 5), (16,)])
def test_context_is_apart_from_targets(grid):
    """No patch of the context is in a target, and every sample has as many."""
    context, targets = multi_block_masks(256, grid, generator=generator())
    number = math.prod(grid)
    size = round(0.175 * number)
    assert context.shape == (256, number - 4 * size)
    assert (context.diff() > 0).all()
    assert not (context[:, :, None] == targets.flatten(1)[:, None]).any()


def runs(mask: torch.Tensor) -> list[list[int]]:
    """Return the lengths of the runs of True in each row of [B, N]."""
    words = ["".join(map(str, row)) for row in mask.int().tolist()]
    return [[len(run) for run in word.split("0") if run] for word in words]


def test_blocks_of_time_are_runs():
    """Where a block has all that is wanted, one run; else at least four steps each, but for the one that was cut."""
    one = block_mask(200, (32,), 0.25, min_patches=8, generator=generator()).mask
    assert sum(found == [8] for found in runs(one)) > 150  # a second block helps out where the first did not suffice
    several = block_mask(300, (64,), 0.4, min_patches=4, generator=generator()).mask
    found = runs(several)
    assert sum(len([run for run in lengths if run < 4]) <= 1 for lengths in found) > 290
    assert len({len(lengths) for lengths in found}) > 1
    share = block_mask(20_000, (16,), 0.5, min_patches=4, generator=generator()).mask.float().mean(0)
    assert share.min() > 0.1
    assert share.sub(share.flip(0)).abs().max() < 0.02


def test_targets_of_time_are_runs():
    """Of exactly K steps; the context of the whole is what is in none of them, cut at one end."""
    context, targets = multi_block_masks(400, (40,), context_scale=(1.0, 1.0), generator=generator())
    assert targets.shape == (400, 4, 7)
    assert (targets.diff() == 1).all()
    assert {0, 33} <= set(targets[..., 0].flatten().tolist())  # from the first step to the last
    assert len(set(targets[0, :, 0].tolist())) > 1
    taken = torch.zeros(400, 40, dtype=torch.bool).scatter_(1, targets.flatten(1), True)
    left = (~taken).int()
    for row, kept in zip(left.tolist(), context.tolist(), strict=True):
        free = [step for step, is_free in enumerate(row) if is_free]
        first = free.index(kept[0])
        assert free[first : first + len(kept)] == kept  # neighbors among what is free: nothing is cut out of the middle


def test_context_is_inside_of_its_block():
    """With a small context block and room enough, no context patch is far from the others."""
    found = multi_block_masks(
        64, (20, 20), num_targets=1, target_scale=0.9, context_scale=(0.9, 0.9), generator=generator()
    )
    # 40 of the 400 patches remain: all of them, wherever they are.
    assert found.context.shape == (64, 40)
    cut = multi_block_masks(
        200, (20, 20), num_targets=2, target_scale=0.4, context_scale=(1.0, 1.0), generator=generator()
    )
    # What is cut lies on one side, so neighbors stay together.
    mask = torch.zeros(200, 400, dtype=torch.bool).scatter_(1, cut.context, True).view(-1, 20, 20)
    assert neighbors(mask) > 0.6


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: random_mask(2, (4, 4), 1.0), "ratio=1.0 must be at least 0 and below 1"),
        (lambda: random_mask(2, (1, 1), 0.75), "of a grid of 1 leaves no patch visible"),
        (lambda: random_mask(2, (4, 4), -0.1), "ratio=-0.1"),
        (lambda: random_mask(2, (4, 5), 0.5, unit=2), "unit=2 does not divide"),
        (lambda: block_mask(2, (4, 4, 4), 0.5), r"\(rows, columns\) or \(steps,\), not \(4, 4, 4\)"),
        (lambda: block_mask(2, (4, 4), 0.5, min_patches=0), "min_patches=0"),
        (lambda: block_mask(2, (4, 4), 0.5, aspect=2.0), "aspect=2.0"),
        (lambda: multi_block_masks(2, (4, 4), num_targets=8), "change num_targets or target_scale"),
        (lambda: multi_block_masks(2, (4, 4), target_aspect=(2.0, 1.0)), "target_aspect"),
        (lambda: multi_block_masks(2, (4, 4), context_scale=(0.5, 1.5)), "context_scale"),
    ],
)
def test_what_does_not_fit_is_refused(call, words):
    """An argument out of range is named."""
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    "draw",
    [
        lambda **k: random_mask(4, (6, 8), 0.5, unit=2, **k),
        lambda **k: block_mask(4, (6, 8), 0.5, **k),
        lambda **k: multi_block_masks(4, (6, 8), num_targets=2, **k),
    ],
)
def test_nothing_waits_for_the_device(draw):
    """On fake CUDA tensors, where a value that is asked for is an error, all is drawn on the device."""
    with FakeTensorMode():
        assert {part.device.type for part in draw(device="cuda")} == {"cuda"}
