"""Signals move along time and channels as they should; tables borrow from their own columns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from ssl_registry.views import SignalView, TableView, ViewPolicy, sample_keys
from ssl_registry.views.device.signal import mask_band, permute_segments, smooth_curves, warp_time
from ssl_registry.views.device.table import RowsOf

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
    """There is nothing to warp, and no frequency but the mean's."""
    x = torch.randn(2, 3, 1)
    for view in (SignalView(time_warp=0.5), SignalView(frequency_mask=1.0)):
        assert torch.equal(draw(view, x), x)
    assert draw(SignalView(magnitude_warp=0.5), x).shape == (2, 3, 1)


@pytest.mark.parametrize("time", [2, 6, 40, 101])
def test_curves_are_natural_cubic_splines(time):
    """As scipy's, through values that lie evenly from the first step to the last."""
    values = torch.randn(2, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = CubicSpline(np.arange(6), values.numpy(), axis=2, bc_type="natural")(np.linspace(0, 5, time))
    torch.testing.assert_close(smooth_curves(values, time), torch.from_numpy(wanted), atol=1e-5, rtol=1e-5)


def test_magnitude_warp_is_a_smooth_factor():
    """Around 1 with the told deviation, one curve for each channel, and never a jump between neighbors."""
    view = draw(SignalView(magnitude_warp=0.2), torch.full((300, 4, 101), 5.0)) / 5
    knots = view[:, :, ::20]  # where the curve has the numbers that were drawn
    assert abs(knots.mean() - 1) < 0.01
    assert abs(knots.std() - 0.2) < 0.01
    assert view.diff(dim=-1).abs().max() < 0.1
    assert len(view[:, :, 0].unique()) == 1200
    x = torch.randn(3, 2, 50)  # a factor leaves zeros where they are
    x[:, :, 10] = 0
    assert (draw(SignalView(magnitude_warp=0.5), x)[:, :, 10] == 0).all()


@pytest.mark.parametrize("time", [64, 65])
def test_one_band_of_frequencies_is_removed(time):
    """The same of all channels, of every width up to the share; the other frequencies and the mean stay."""
    x = torch.randn(400, 3, time, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).float() + 2
    view = draw(SignalView(frequency_mask=0.25), x)
    before, after = torch.fft.rfft(x), torch.fft.rfft(view)
    removed = after.abs() < 1e-3
    assert torch.equal(removed, removed[:, :1].expand_as(removed))
    torch.testing.assert_close(after[~removed], before[~removed], atol=1e-3, rtol=1e-4)
    assert not removed[:, :, 0].any()
    band = removed[:, 0]
    assert band.sum(1).unique().tolist() == list(range(9))  # 0.25 of 32 frequencies
    assert (band.int().diff(dim=1).abs().sum(1) + band[:, -1] <= 2).all()  # in one piece
    assert band.float().mean(0)[1:].min() > 0.01  # every frequency at times
    torch.testing.assert_close(mask_band(x, torch.zeros(400, 2), 0.25), x, atol=1e-5, rtol=1e-5)


def test_a_frequency_that_lies_in_the_band_is_gone():
    """By hand: of two sines one is left."""
    time = torch.arange(32) / 32
    slow, fast = (torch.sin(2 * torch.pi * k * time).view(1, 1, 32) for k in (2, 9))
    # Of 16 frequencies the band has at most 4: 0.99 draws 4, and 0.5 the start 1 + floor(0.5 * 13) = 7.
    found = mask_band(slow + fast, torch.tensor([[0.99, 0.5]]), 0.25)
    torch.testing.assert_close(found, slow, atol=1e-5, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_corruption_stays_in_its_column(share):
    """A replaced feature comes from the same column; the share is as told."""
    x = torch.arange(400.0)[:, None] + 10_000 * torch.arange(6.0)
    view = draw(TableView(corruption=share), x)
    assert torch.equal(view // 10_000, x // 10_000)
    changed = (view != x).float().mean()
    assert abs(changed - share * 399 / 400) < 0.05


ALL = SignalView(
    time_warp=0.2,
    permutation=4,
    scaling=0.1,
    magnitude_warp=0.1,
    frequency_mask=0.3,
    channel_dropout=0.2,
    jitter=0.1,
    copies=2,
)


def test_views_of_a_signal_depend_on_its_key_alone():
    """Alone, and in another order among others, a signal has the same two views; another key gives others."""
    policy, x, keys = ViewPolicy(views=(ALL,)), torch.randn(7, 3, 33), sample_keys(1, 2, [9, 4, 7, 30, 31, 2, 8])
    together = policy.draw(x, keys=keys)
    order = [5, 0, 3]
    for view, alone, few in zip(
        together, policy.draw(x[3:4], keys=keys[3:4]), policy.draw(x[order], keys=keys[order]), strict=True
    ):
        torch.testing.assert_close(alone, view[3:4], atol=1e-6, rtol=0)
        torch.testing.assert_close(few, view[order], atol=1e-6, rtol=0)
    assert not torch.allclose(together[0], together[1])
    assert not torch.allclose(policy.draw(x[3:4], keys=keys[4:5])[0], together[0][3:4])


def test_an_operation_that_is_switched_off_leaves_the_others_alone():
    """Scaling is the same with and without what else there is."""
    x, keys = torch.ones(4, 3, 20), sample_keys(0, 0, range(4))
    alone = ViewPolicy(views=(SignalView(scaling=0.3),)).draw(x, keys=keys)[0]
    among = ViewPolicy(views=(SignalView(scaling=0.3, time_warp=0.5, permutation=3),)).draw(x, keys=keys)[0]
    torch.testing.assert_close(among, alone)
    curve = ViewPolicy(views=(SignalView(magnitude_warp=0.3),)).draw(x, keys=keys)[0]
    both = ViewPolicy(views=(SignalView(magnitude_warp=0.3, scaling=0.3),)).draw(x, keys=keys)[0]
    torch.testing.assert_close(both, alone * curve)


def test_time_and_channels_are_not_confused():
    """A signal of as many channels as points of time: pieces and speed follow time, factors follow channels."""
    time, channels = torch.arange(6.0), torch.arange(6.0)[:, None]
    keys = sample_keys(0, 0, range(20))
    along_time = (time + 0 * channels).expand(20, 6, 6)
    for view in (SignalView(permutation=3), SignalView(time_warp=0.5), SignalView(permutation=3, time_warp=0.5)):
        (drawn,) = ViewPolicy(views=(view,)).draw(along_time, keys=keys)
        assert not torch.equal(drawn, along_time)
        assert torch.equal(drawn, drawn[:, :1].expand_as(drawn))
        # What is constant over time has nothing that could move.
        constant = (channels + 0 * time).expand(20, 6, 6)
        torch.testing.assert_close(ViewPolicy(views=(view,)).draw(constant, keys=keys)[0], constant)
    (drawn,) = ViewPolicy(views=(SignalView(frequency_mask=0.9),)).draw(along_time, keys=keys)
    torch.testing.assert_close(drawn, drawn[:, :1].expand_as(drawn))
    for view in (SignalView(scaling=0.3), SignalView(channel_dropout=0.5)):
        (drawn,) = ViewPolicy(views=(view,)).draw(torch.ones(20, 6, 6), keys=keys)
        assert torch.equal(drawn, drawn[:, :, :1].expand_as(drawn))
        assert len(drawn[:, :, 0].unique()) > 1


def table(rows=12, features=400):
    """Rows of which every value tells where it stood: row + 1000 * column."""
    return torch.arange(float(rows))[:, None] + 1000 * torch.arange(float(features))


@pytest.mark.parametrize("indices", [[3], [7, 0, 3], list(range(12))])
def test_corruption_takes_every_row_but_the_own_one(indices):
    """Of the whole table, whatever rows are in the batch, each about as often."""
    x, policy = table(), ViewPolicy(views=(TableView(corruption=1.0),))
    origin = RowsOf(x, np.array(indices))
    (view,) = policy.draw(x[indices], keys=sample_keys(0, 0, indices), origin=origin)
    assert torch.equal(view // 1000, x[indices] // 1000)
    for own, donors in zip(indices, view % 1000, strict=True):
        counts = donors.long().bincount(minlength=12)
        assert counts[own] == 0
        assert (counts[[row for row in range(12) if row != own]] > 10).all()  # 36 expected


def test_without_the_table_other_rows_of_the_batch_stand_in():
    """Never the own one; and a row that is alone stays as it is."""
    x, policy = table(5), ViewPolicy(views=(TableView(corruption=1.0),))
    (view,) = policy.draw(x, keys=sample_keys(0, 0, range(5)))
    assert (view != x).all()
    assert torch.equal(view // 1000, x // 1000)
    assert torch.equal(policy.draw(x[:1], keys=sample_keys(0, 0, [0]))[0], x[:1])


def test_views_of_a_row_depend_on_its_key_alone():
    """With the table, a row alone has the views that it has among others, bit for bit."""
    x, policy = table(), ViewPolicy(views=(TableView(corruption=0.6, copies=2),))
    keys = sample_keys(3, 1, range(12))
    together = policy.draw(x, keys=keys, origin=RowsOf(x, np.arange(12)))
    alone = policy.draw(x[4:5], keys=keys[4:5], origin=RowsOf(x, np.array([4])))
    assert all(torch.equal(one[4:5], other) for one, other in zip(together, alone, strict=True))
    assert not torch.equal(together[0], together[1])
