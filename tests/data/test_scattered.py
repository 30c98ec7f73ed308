"""Scattered digits: made of the bundled scans, the same in every run, and each part of its own scans."""

from __future__ import annotations

import pytest
import torch

from ssl_registry.data import open_source
from ssl_registry.data.sources.scattered import COPIES, scatter
from ssl_registry.errors import DataError
from ssl_registry.measures import knn_accuracy, pixels


@pytest.fixture(scope="module")
def source():
    return open_source("scattered-digits", image_size=16)


def test_parts(source) -> None:
    """Each scan of each part on three canvases, with its class; nothing of it depends on seed or share."""
    centered, other = open_source("digits"), open_source("scattered-digits", image_size=16, seed=5, holdout=0.5)
    assert source.input_shape == (1, 16, 16)
    assert source.train.y.tolist() == centered.train.y.tolist() * COPIES
    assert source.test.y.tolist() == centered.test.y.tolist() * COPIES
    assert torch.equal(source.train.x, other.train.x)
    assert torch.equal(source.test.x, other.test.x)
    assert source.forbids == ("flip",)


def test_canvases_differ(source) -> None:
    """No canvas is made twice, in one part or in both."""
    canvases = torch.cat([source.train.x, source.test.x]).flatten(1)
    assert len(torch.unique(canvases, dim=0)) == len(canvases)


def test_pixels_do_not_tell_them() -> None:
    """k-NN on pixels reads centered digits, and far fewer of these."""
    accuracy = {}
    for name in ("digits", "scattered-digits"):
        source = open_source(name, image_size=16)
        x, y = pixels(source.train.x), source.train.y
        accuracy[name] = knn_accuracy(x, y, pixels(source.test.x), source.test.y)
    assert accuracy["digits"] > 0.9
    assert accuracy["scattered-digits"] < 0.7


def test_a_digit_lies_whole_on_its_canvas() -> None:
    """Without clutter a full square covers a quarter of the canvas to nine sixteenths, wherever it lies."""
    square = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    canvases = scatter(square, torch.zeros(200, dtype=torch.long), 48, generator, pieces=0)
    covered = (canvases.flatten(1) > 76).float().mean(1)
    assert 0.2 < covered.amin() < 0.33
    assert 0.5 < covered.amax() < 0.65


@pytest.mark.parametrize("size", [8, 1000])
def test_sizes_that_are_refused(size) -> None:
    with pytest.raises(DataError, match="canvases of 16 to 512 pixels"):
        open_source("scattered-digits", image_size=size)
