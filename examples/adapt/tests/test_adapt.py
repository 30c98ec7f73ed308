"""Adapting a network: three trainings in a row, each from what the one before has written."""

from __future__ import annotations

import re

import numpy as np
import pytest
import timm
import torch
from PIL import Image


@pytest.mark.slow  # three trainings on thousands of images
def test_with_the_stand_in(run_script):
    """Six rows of figures, and how large both networks are."""
    out = run_script("adapt", "--image-size", "16", "--draws", "2")
    rows = re.findall(r"^(\S.*?) +[\d.]+ ± [\d.]+$", out, re.MULTILINE)
    assert rows == [
        "raw pixels",
        "resnet10t, untrained",
        "resnet10t, as it came",
        "resnet10t, adapted",
        "test_resnet, untrained",
        "test_resnet, distilled from it",
    ]
    large, small = map(float, re.findall(r": ([\d.]+) million weights", out))
    assert large > 5 * small


def test_with_weights_and_images_of_ones_own(run_script, tmp_path):
    """Without class folders nothing is measured."""
    draw = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(20):
        Image.fromarray(draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"photos/{number}.png")
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.pth")
    words = ("--weights", "weights.pth", "--backbone", "test_resnet", "--image-size", "32")
    out = run_script("adapt", "--data", "photos", *words)
    assert "nothing is measured" in out
    assert (tmp_path / "runs/adapt/small/checkpoints/last.ckpt").is_file()
