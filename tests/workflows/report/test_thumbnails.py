"""Samples as pictures: what is seen of images, signals and tables."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_registry.workflows.report.thumbnails import WAVE, limits_of, sprite, thumbnail


@pytest.mark.parametrize("channels", [1, 2, 3, 13])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_of_any_depth(channels, dtype):
    """One channel is grey, three and more show the first three; floats in [0, 1] are bytes / 255."""
    image = torch.arange(channels * 64).view(channels, 8, 8).remainder(256).to(torch.uint8)
    drawn = np.asarray(thumbnail(image if dtype == torch.uint8 else image / 255, 32))[..., :3]
    shown = [0, 1, 2] if channels >= 3 else [0, 0, 0]
    assert np.array_equal(drawn, image[shown].permute(1, 2, 0).numpy())


def test_large_images_are_scaled_down():
    """To the side that was asked for, in proportion."""
    assert thumbnail(torch.zeros(3, 100, 200), 50).size == (50, 25)


def test_a_signal_is_a_wave():
    """Its ink is high where its values are, on nothing: it is read on white and on black."""
    alpha = np.asarray(thumbnail(torch.linspace(-1, 1, 200).view(1, -1), 96))[..., 3]
    assert alpha.shape == WAVE[::-1]
    rows = [np.flatnonzero(alpha[:, column]).mean() for column in (5, 60, 114)]
    assert rows[0] > rows[1] > rows[2]
    assert alpha[0, 0] == 0


def test_a_row_of_a_table_is_bars():
    """Up for what is above zero, down for what is below."""
    alpha = np.asarray(thumbnail(torch.tensor([1.0, -1.0]), 96))[..., 3]
    left, right = alpha[:, 25], alpha[:, 88]
    assert np.flatnonzero(left).mean() < WAVE[1] / 2 < np.flatnonzero(right).mean()


def test_a_flat_signal_and_an_empty_row_are_drawn():
    """No division by zero."""
    assert thumbnail(torch.zeros(2, 50), 96).size == WAVE
    assert thumbnail(torch.zeros(5), 96).size == WAVE


def test_pictures_of_a_row_share_a_scale():
    """Half as high is drawn half as high, beside what has the room."""
    high = torch.sin(torch.linspace(0, 20, 100)).view(1, -1)
    limits = limits_of([high, high / 2])
    tall, low = (np.flatnonzero(np.asarray(thumbnail(x, 96, limits))[..., 3].any(1)) for x in (high, high / 2))
    assert np.ptp(low) / np.ptp(tall) == pytest.approx(0.5, abs=0.1)
    bars = [np.asarray(thumbnail(torch.tensor([x]), 96, (-2.0, 2.0)))[..., 3].any(1).sum() for x in (2.0, 1.0)]
    assert bars[1] / bars[0] == pytest.approx(0.5, abs=0.1)
    assert np.asarray(thumbnail(torch.full((1, 9), torch.nan), 96)).any()  # all hidden


def test_hidden_time_is_a_gap_on_gray():
    """Gray from top to bottom where a signal is NaN, and no ink."""
    x = torch.zeros(2, 100)
    x[:, 50:] = torch.nan
    drawn = np.asarray(thumbnail(x, 96)).astype(int)
    assert (drawn[:, 70:, 3] > 0).all()
    assert np.ptp(drawn[:, 70:110, :3]) == 0
    assert (drawn[-1, 5:50, 3] == 0).all()


def test_no_peak_of_a_long_signal_is_lost():
    """One value among a hundred thousand is seen."""
    x = torch.zeros(1, 100_000)
    x[0, 33_333] = 1.0
    alpha = np.asarray(thumbnail(x, 96))[..., 3]
    assert np.flatnonzero(alpha[: WAVE[1] // 2].any(0)).mean() == pytest.approx(WAVE[0] / 3, abs=2)


def test_many_pictures_are_one_image():
    """Row by row, each where the page looks for it."""
    samples = [torch.full((1, 4, 4), index * 10, dtype=torch.uint8) for index in range(7)]
    made = sprite(samples, 32, columns=3)
    sheet = Image.open(io.BytesIO(base64.b64decode(made.url.partition(",")[2]))).convert("RGBA")
    assert (made.columns, made.count, sheet.size) == (3, 7, (12, 12))
    assert [sheet.getpixel((index % 3 * 4 + 1, index // 3 * 4 + 1))[0] for index in range(7)] == list(range(0, 70, 10))
