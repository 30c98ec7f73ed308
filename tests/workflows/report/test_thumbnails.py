"""Samples as pictures: what is seen of images, signals and tables."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_registry.workflows.report.thumbnails import WAVE, sprite, thumbnail


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
    rows = [np.flatnonzero(alpha[:, column]).mean() for column in (5, 48, 90)]
    assert rows[0] > rows[1] > rows[2]
    assert alpha[0, 0] == 0


def test_a_row_of_a_table_is_bars():
    """Up for what is above zero, down for what is below."""
    alpha = np.asarray(thumbnail(torch.tensor([1.0, -1.0]), 96))[..., 3]
    left, right = alpha[:, 20], alpha[:, 70]
    assert np.flatnonzero(left).mean() < WAVE[1] / 2 < np.flatnonzero(right).mean()


def test_a_flat_signal_and_an_empty_row_are_drawn():
    """No division by zero."""
    assert thumbnail(torch.zeros(2, 50), 96).size == WAVE
    assert thumbnail(torch.zeros(5), 96).size == WAVE


def test_many_pictures_are_one_image():
    """Row by row, each where the page looks for it."""
    samples = [torch.full((1, 4, 4), index * 10, dtype=torch.uint8) for index in range(7)]
    made = sprite(samples, 32, columns=3)
    sheet = Image.open(io.BytesIO(base64.b64decode(made.url.partition(",")[2]))).convert("RGBA")
    assert (made.columns, made.count, sheet.size) == (3, 7, (12, 12))
    assert [sheet.getpixel((index % 3 * 4 + 1, index // 3 * 4 + 1))[0] for index in range(7)] == list(range(0, 70, 10))
