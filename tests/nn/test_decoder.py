"""The decoder knows where each patch is, sees visible patches alone, and its positions are the papers'."""

from __future__ import annotations

import math

import pytest
import torch
from timm.layers import build_sincos2d_pos_embed
from torch._subclasses.fake_tensor import FakeTensorMode

from ssl_registry.nn import TokenDecoder, random_mask, sine_cosine_positions


def decoder(**options) -> TokenDecoder:
    torch.manual_seed(0)
    return TokenDecoder(6, 5, (3, 4), dim=16, depth=2, num_heads=2, **options).eval()


def visible(count: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return tokens of a choice of 7 of 12 patches, their indices, and the indices of the others."""
    keep, masked, _ = random_mask(2, (3, 4), (12 - count) / 12, generator=torch.Generator().manual_seed(0))
    return torch.randn(2, count, 6, generator=torch.Generator().manual_seed(1)), keep, masked


def test_predicts_what_was_asked_for():
    """A prediction for each wanted patch, in their order."""
    net, (tokens, keep, masked) = decoder(), visible()
    found = net(tokens, keep, masked)
    assert found.shape == (2, 5, 5)
    torch.testing.assert_close(net(tokens, keep, masked.flip(1)), found.flip(1))


def test_the_order_of_visible_patches_does_not_matter():
    """Patches come with their places, so shuffled ones (as MAE keeps them) give the same."""
    net, (tokens, keep, masked) = decoder(), visible()
    order = torch.randperm(7)
    torch.testing.assert_close(net(tokens[:, order], keep[:, order], masked), net(tokens, keep, masked))


def test_places_matter():
    """The same tokens in other places, or a question about another place, give something else."""
    net, (tokens, keep, masked) = decoder(), visible()
    found = net(tokens, keep, masked)
    assert not torch.allclose(net(tokens, keep.flip(1), masked), found, atol=1e-4)
    assert not torch.allclose(found[:, 0], found[:, 1], atol=1e-4)


def test_all_patches_in_order():
    """Without indices all patches are visible."""
    net, tokens = decoder(), torch.randn(2, 12, 6)
    everything = torch.arange(12).expand(2, -1)
    assert torch.equal(net(tokens, None, everything), net(tokens, everything, everything))


def test_prefix_takes_part_without_a_place():
    """A class token changes the prediction, and is none itself."""
    net, (tokens, keep, masked) = decoder(), visible()
    found = net(tokens, keep, masked, prefix=torch.randn(2, 1, 6))
    assert found.shape == (2, 5, 5)
    assert not torch.allclose(found, net(tokens, keep, masked), atol=1e-4)


def test_gradients_reach_every_parameter():
    """Nothing in it is idle, which DDP would wait for."""
    net, (tokens, keep, masked) = decoder().train(), visible()
    net(tokens, keep, masked).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_positions_are_no_parameter():
    """They are fixed, and no part of the state that is saved."""
    net = decoder()
    assert "positions" not in {*net.state_dict(), *dict(net.named_parameters())}


def test_positions_of_one_axis_are_the_formula():
    """Vaswani et al., section 3.5."""
    found = sine_cosine_positions((5,), 6)
    for place in range(5):
        angles = [place / 10000 ** (wave / 3) for wave in range(3)]
        torch.testing.assert_close(found[place], torch.tensor([*map(math.sin, angles), *map(math.cos, angles)]))


@pytest.mark.parametrize("grid", [(3, 4), (5, 2)])
def test_positions_are_those_of_timm(grid):
    """On rectangles too; timm has the sines of both axes before the cosines."""
    rows_sin, rows_cos, columns_sin, columns_cos = sine_cosine_positions(grid, 16).chunk(4, dim=1)
    theirs = build_sincos2d_pos_embed(list(grid), dim=16)
    torch.testing.assert_close(torch.cat([rows_sin, columns_sin, rows_cos, columns_cos], 1), theirs)


def test_width_must_fit():
    """A width that has no sine and cosine for each axis is named."""
    with pytest.raises(ValueError, match="dim=6 must be divisible by 4"):
        sine_cosine_positions((3, 4), 6)


def test_half_precision():
    """Under autocast it runs in bfloat16."""
    net, (tokens, keep, masked) = decoder(), visible()
    with torch.autocast("cpu", torch.bfloat16):
        assert net(tokens, keep, masked).dtype == torch.bfloat16


def test_nothing_stays_on_the_host():
    """On fake CUDA tensors all is on the device, and nothing waits for it."""
    with FakeTensorMode(), torch.device("cuda"):
        net = decoder()
        keep, masked, _ = random_mask(2, (3, 4), 0.5, device="cuda")
        assert net(torch.randn(2, 6, 6, device="cuda"), keep, masked).device.type == "cuda"
