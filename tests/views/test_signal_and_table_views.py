"""Signals move along time and channels as they should; tables borrow from their own columns."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_registry.views import SignalView, TableView, ViewPolicy
from ssl_registry.views.device.signal import permute_segments, warp_time

properties = settings(deadline=None, derandomize=True, max_examples=40)


def draw(view, x, seed=0):
    return ViewPolicy(views=(view,)).draw(x, torch.Generator().manual_seed(seed))[0]


@properties
@given(batch=st.integers(1, 4), channels=st.integers(1, 4), time=st.integers(6, 30), pieces=st.integers(2, 6))
def test_permutation_moves_whole_pieces_of_time(batch, channels, time, pieces):
    """Every channel of a sample is rearranged alike, nothing is lost, and pieces stay in one piece."""
    x = torch.arange(float(time)) + 1000 * torch.arange(float(channels))[:, None]
    x = x.expand(batch, channels, time)
    view = draw(SignalView(permutation=pieces), x, seed=time)
    assert torch.equal(view.sort(-1).values, x)
    order = view[:, :1]
    assert torch.equal(view - order, (1000 * torch.arange(float(channels)))[None, :, None].expand_as(view))
    assert ((order.diff(dim=-1) != 1).sum(-1) < pieces).all()


def test_permutation_by_hand():
    """Two cuts, three pieces, a known order."""
    x = torch.arange(6.0).view(1, 1, 6)
    ranks = torch.tensor([[2, 0, 1]])
    assert permute_segments(x, torch.tensor([[1 / 3, 2 / 3]]), ranks).flatten().tolist() == [2, 3, 4, 5, 0, 1]


def test_scaling_has_one_factor_for_each_channel():
    """The ratio to the input is constant over time and differs between channels and samples."""
    x = torch.rand(5, 3, 20) + 1
    ratio = draw(SignalView(scaling=0.3), x) / x
    torch.testing.assert_close(ratio, ratio[:, :, :1].expand_as(ratio))
    assert len(ratio[:, :, 0].unique()) == 15


def test_channel_dropout_silences_whole_channels():
    """A channel is silent from beginning to end, or untouched; about as many as told."""
    x = torch.rand(200, 5, 8) + 1
    view = draw(SignalView(channel_dropout=0.3), x)
    silent = (view == 0).all(-1)
    assert torch.equal(view[~silent], x[~silent])
    assert abs(silent.float().mean() - 0.3) < 0.08


def test_jitter_has_the_told_deviation():
    """Noise is added independently to every value."""
    x = torch.zeros(50, 4, 50)
    assert abs(draw(SignalView(jitter=0.2), x).std() - 0.2) < 0.01


def test_time_warp_keeps_ends_and_order():
    """A ramp stays a rising ramp from its first to its last value, alike in all channels."""
    x = torch.linspace(0, 1, 40).expand(6, 3, 40)
    view = draw(SignalView(time_warp=0.5), x)
    torch.testing.assert_close(view[..., 0], x[..., 0])
    torch.testing.assert_close(view[..., -1], x[..., -1], atol=1e-4, rtol=0)
    assert (view.diff(dim=-1) > 0).all()
    assert torch.equal(view[:, 0], view[:, 2])
    assert not torch.allclose(view, x, atol=0.01)


def test_even_speed_warps_nothing():
    """With the same speed everywhere the signal is itself."""
    x = torch.randn(2, 3, 17)
    torch.testing.assert_close(warp_time(x, torch.full((2, 4), 1.7)), x, atol=1e-5, rtol=1e-5)


def test_a_signal_of_one_sample():
    """There is nothing to warp."""
    x = torch.randn(2, 3, 1)
    assert torch.equal(draw(SignalView(time_warp=0.5), x), x)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_corruption_stays_in_its_column(share):
    """A replaced feature comes from the same column; the share is as told."""
    x = torch.arange(400.0)[:, None] + 10_000 * torch.arange(6.0)
    view = draw(TableView(corruption=share), x)
    assert torch.equal(view // 10_000, x // 10_000)
    changed = (view != x).float().mean()
    assert abs(changed - share * 399 / 400) < 0.05
