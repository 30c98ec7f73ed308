"""The digits that are in every installation."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from ssl_registry.data import open_source


def test_parts() -> None:
    """1,300 scans to train on, 497 held out, every digit in both in its share."""
    source = open_source("digits")
    assert (len(source.train), len(source.test)) == (1300, 497)
    assert source.classes == tuple("0123456789")
    whole = torch.bincount(torch.from_numpy(load_digits().target))
    held = torch.bincount(source.test.y)
    assert ((held / 497 - whole / 1797).abs() * 497 < 1).all()
    assert torch.equal(torch.bincount(source.train.y) + held, whole)


def test_same_in_every_run() -> None:
    """The hold-out is fixed: neither seed nor share moves it."""
    first, second = open_source("digits"), open_source("digits", seed=5, holdout=0.5)
    assert torch.equal(first.train.x, second.train.x)
    assert torch.equal(first.test.y, second.test.y)


def test_original_size_keeps_ink() -> None:
    """At 8 pixels a scan is its ink, from 0 to 16, on the scale of 0 to 255."""
    source = open_source("digits", image_size=8)
    scans = torch.cat([source.train.x, source.test.x]).flatten(1)
    expected = torch.from_numpy(load_digits().images).mul(255 / 16).round().to(torch.uint8).flatten(1)
    assert sorted(map(tuple, scans.tolist())) == sorted(map(tuple, expected.tolist()))


def test_resized_once() -> None:
    """The images are uint8 of the size asked for; mean and std are those of the train part."""
    for size in (16, 32):
        source = open_source("digits", image_size=size)
        assert source.input_shape == tuple(source.train[0][0].shape) == (1, size, size)
        assert source.train.x.dtype == torch.uint8
        pixels = source.train.x.double() / 255
        assert abs(source.mean[0] - float(pixels.mean())) < 1e-9
        assert abs(source.std[0] - float(pixels.std(correction=0))) < 1e-9


def test_no_mirror() -> None:
    """A mirrored digit is another sign."""
    assert open_source("digits").forbids == ("flip",)
