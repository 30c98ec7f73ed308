"""Signals as traces: where the ink is, on which scale, and what the axes say."""

from __future__ import annotations

import numpy as np
import torch

from ssl_registry.views import traces
from ssl_registry.views.traces import draw_traces, thinned


def ink(picture, column, channel=0):
    """Return the heights of a channel's color in a cell, by column of pixels; NaN where there is none."""
    pixels = np.asarray(picture).astype(int)
    left = traces.LEFT + column * (traces.WIDTH + traces.GAP)
    cell = pixels[traces.HEAD : -traces.FOOT - traces.GAP, left : left + traces.WIDTH]
    blue = cell[..., 2] - cell[..., 0]  # of the first ink, and the second's opposite
    near = (blue if channel == 0 else -blue) > 60
    rows = np.arange(len(cell))[:, None]
    return np.where(near.any(0), (near * rows).sum(0) / np.maximum(near.sum(0), 1), np.nan)


def test_a_row_has_one_scale():
    """A view of half the amplitude is half as high beside its sample, channel under channel."""
    x = torch.stack([torch.linspace(-1, 1, 50), torch.linspace(1, -1, 50)])
    picture = draw_traces([[x, x / 2]], ["sample", "view 0"])
    whole, half = (np.nanmax(rows) - np.nanmin(rows) for rows in (ink(picture, 0), ink(picture, 1)))
    assert 0.45 < half / whole < 0.55
    first, second = (ink(picture, 0, channel) for channel in (0, 1))
    assert np.nanmean(first[:50]) > np.nanmean(first[-50:])
    assert np.nanmean(second[:50]) < np.nanmean(second[-50:])
    assert np.nanmax(first) < np.nanmin(second)


def test_shorter_views_end_earlier():
    """A crop that is not stretched has the same moments a pixel."""
    picture = draw_traces([[torch.zeros(1, 40) + 1, torch.zeros(1, 10) + 1]], ["sample", "view 0"])
    ends = [np.flatnonzero(np.isfinite(ink(picture, column)))[-1] for column in (0, 1)]
    assert 0.2 < ends[1] / ends[0] < 0.3


def test_axes_say_what_is_known(monkeypatch):
    """Moments, seconds or milliseconds; round numbers; the unit of the values, and what a band spans."""
    said = []
    monkeypatch.setattr(
        traces.ImageDraw.ImageDraw, "text", lambda self, place, words, *rest, **more: said.append(words)
    )
    x = torch.full((2, 96), 2.31)
    draw_traces([[x]], ["sample"], unit="volts")
    assert {"sample", "0", "20", "80", "+2.4", "-2.4"} <= set(said)
    assert said[-1] == "time in moments; values in volts; 2 channels from top to bottom"
    for rate, ticks, name in ((48, {"0", "0.5", "1.5"}, "s"), (9600, {"0", "2", "8"}, "ms")):
        said.clear()
        draw_traces([[x[:1]]], ["sample"], rate=rate)
        assert ticks <= set(said)
        assert said[-1] == f"time in {name}"


def test_nothing_is_drawn_of_nothing():
    """A flat signal, one moment, and a peak among many."""
    for x in (torch.zeros(1, 30), torch.ones(3, 1), torch.ones(1, 20_000)):
        assert draw_traces([[x]], ["sample"]).size[0] > traces.WIDTH
    values = np.zeros(10_000)
    values[1234] = 1.0
    values[5000] = np.nan
    places, found = thinned(values, 100)
    assert (np.diff(places) >= 0).all()
    assert found[places == 1234].tolist() == [1.0]
    assert np.isnan(found).sum() == 2
