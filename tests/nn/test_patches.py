"""Patches are cut in a transformer's order, put together exactly, and normalized as MAE's authors do."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ssl_registry.errors import BackboneError
from ssl_registry.nn import (
    denormalize_patches,
    normalize_patches,
    patch_sides,
    patchify,
    replace_patches,
    select_patches,
    unpatchify,
)


@pytest.mark.parametrize(
    ("shape", "patch", "grid"),
    [
        ((2, 3, 32, 48), 16, (2, 3)),
        ((2, 1, 8, 12), (4, 2), (2, 6)),
        ((3, 5, 14, 14), 7, (2, 2)),
        ((2, 9, 128), 8, (16,)),
        ((2, 14), (), (14,)),
    ],
)
def test_unpatchify_is_the_inverse(shape, patch, grid):
    """Any channels, rectangles, signals and tables come back exactly."""
    x = torch.randn(shape)
    patches = patchify(x, patch)
    assert patches.shape[:2] == (shape[0], torch.Size(grid).numel())
    assert torch.equal(unpatchify(patches, grid, patch), x)


def test_patches_are_in_the_order_of_a_patch_embedding():
    """A convolution of the patch's size and stride sees the same patches in the same order."""
    x, weight = torch.randn(2, 3, 8, 12), torch.randn(5, 3, 4, 4)
    embedded = F.conv2d(x, weight, stride=4).flatten(2).mT  # [B, N, 5], as timm embeds
    # Channels last within a patch, as MAE has it.
    torch.testing.assert_close(patchify(x, 4) @ weight.permute(0, 2, 3, 1).flatten(1).T, embedded)


def test_features_are_patches_of_one_value():
    """A table has no sides to cut; what does not fit it is refused."""
    assert patch_sides((5,), (5,)) == ()
    assert torch.equal(patchify(torch.arange(6.0).view(2, 3), ()), torch.arange(6.0).view(2, 3, 1))
    with pytest.raises(BackboneError, match=r"a grid of 4 tokens is not one for each of 5 features.*table_transformer"):
        patch_sides((5,), (4,))
    with pytest.raises(ValueError, match="patch_size=1 does not fit a table"):
        patchify(torch.zeros(2, 3), 1)
    with pytest.raises(ValueError, match="3 patches of 2 values are no table"):
        unpatchify(torch.zeros(2, 3, 2), (3,), ())


def test_patches_of_time_are_in_the_order_of_a_patch_embedding():
    """As for images: a convolution of the patch's length sees the same pieces, and channels are last within one."""
    x, weight = torch.randn(2, 3, 20), torch.randn(5, 3, 4)
    embedded = F.conv1d(x, weight, stride=4).mT
    torch.testing.assert_close(patchify(x, 4) @ weight.permute(0, 2, 1).flatten(1).T, embedded)


def test_normalized_by_the_unbiased_variance():
    """MAE divides by the root of torch's default variance plus 1e-6."""
    patches = torch.randn(2, 3, 5, dtype=torch.float64) * 4 + 7
    deviations = patches - patches.mean(-1, keepdim=True)
    wanted = deviations / (deviations.square().sum(-1, keepdim=True) / 4 + 1e-6).sqrt()
    torch.testing.assert_close(normalize_patches(patches), wanted)


def test_a_flat_patch_is_zero():
    """A patch of one value has no variance, and does not become infinite."""
    assert torch.equal(normalize_patches(torch.full((1, 1, 4), 3.0)), torch.zeros(1, 1, 4))


def test_each_sample_selects_its_own():
    """Indices are a sample's own, and their order is kept."""
    patches = torch.randn(2, 4, 3)
    found = select_patches(patches, torch.tensor([[3, 0], [1, 2]]))
    assert torch.equal(found, torch.stack([patches[0, [3, 0]], patches[1, [1, 2]]]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: patchify(torch.zeros(1, 3, 30, 32), 16), "divides each side"),
        (lambda: patchify(torch.zeros(1, 3, 32, 32), (16,)), "does not fit 2 axes"),
        (lambda: patchify(torch.zeros(1, 3), 16), "does not fit a table"),
        (lambda: unpatchify(torch.zeros(1, 5, 12), (2, 2), 2), "no grid"),
        (lambda: unpatchify(torch.zeros(1, 4, 13), (2, 2), 2), "no grid"),
        (lambda: normalize_patches(torch.zeros(1, 4, 1)), "at least two"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(call, words):
    """The message says what would fit."""
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(
    ("shape", "grid", "sides"),
    [((3, 32, 48), (4, 3), (8, 16)), ((9, 128), (16,), (8,)), ((3, 14, 14), (14, 14), (1, 1))],
)
def test_sides_of_patches(shape, grid, sides):
    """Each axis by itself; what they give is what `patchify` cuts into this grid."""
    assert patch_sides(shape, grid) == sides
    assert patchify(torch.zeros(1, *shape), sides).shape[1] == torch.Size(grid).numel()


@pytest.mark.parametrize(("shape", "grid"), [((3, 30, 32), (4, 4)), ((3, 32, 32), (4,))])
def test_patches_that_do_not_fill_the_sample_are_refused(shape, grid):
    """A padded border has no pixels to predict."""
    with pytest.raises(BackboneError, match="does not fill samples of"):
        patch_sides(shape, grid)


def test_denormalizing_is_the_inverse():
    """Of patches with any mean and deviation, flat ones too."""
    patches = torch.randn(2, 3, 5, dtype=torch.float64) * 4 + 7
    patches[0, 0] = 3.0
    torch.testing.assert_close(denormalize_patches(normalize_patches(patches), patches), patches)


def test_what_was_selected_goes_in_again():
    """Each sample's own patches, in the order of the indices; the others and the argument stay as they are."""
    patches, indices = torch.randn(2, 4, 3), torch.tensor([[3, 0], [1, 2]])
    before, values = patches.clone(), torch.randn(2, 2, 3)
    found = replace_patches(patches, indices, values)
    assert torch.equal(select_patches(found, indices), values)
    assert torch.equal(
        select_patches(found, torch.tensor([[1, 2], [0, 3]])), select_patches(before, torch.tensor([[1, 2], [0, 3]]))
    )
    assert torch.equal(patches, before)
