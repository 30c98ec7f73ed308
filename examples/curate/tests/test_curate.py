"""Near-duplicates and outliers: what is planted, what is written, and what is told of it."""

from __future__ import annotations

import csv
import re

import numpy as np
from PIL import Image


def pairs(folder):
    return list(csv.reader((folder / "runs/curate/pairs.csv").read_text().splitlines()))


def test_the_made_folder(run_script, tmp_path):
    """Six duplicates and two outliers to a hundred images; pictures, tables, and how many were found."""
    out = run_script("curate", "--images", "100", "--image-size", "16")
    assert "among 108 images" in out
    assert len(re.findall(r"of 6 found, \d+ wrong +\d+ of 2 found, \d+ wrong", out)) == 2, out
    for name in ("pairs.png", "outliers.png"):
        with Image.open(tmp_path / "runs/curate" / name) as picture:
            assert picture.width > 200
    assert pairs(tmp_path)[0] == ["distance", "image", "near-duplicate"]


def test_a_folder_of_ones_own(run_script, tmp_path):
    """An image that lies there twice is found by any features, and the first run's are used again."""
    draw = np.random.default_rng(0)
    for name in ("holiday", "other"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    for number in range(40):
        image = Image.fromarray(draw.integers(0, 255, (4, 4, 3), dtype=np.uint8)).resize((20, 24))
        image.save(tmp_path / f"photos/holiday/{number}.png")
        if number == 7:
            image.save(tmp_path / "photos/other/copy.png")
    words = ("--data", "photos", "--image-size", "16")
    out = run_script("curate", *words)
    assert {"photos/other/copy.png", "photos/holiday/7.png"} <= set(pairs(tmp_path)[1]), out
    assert "planted" not in out
    again = run_script("curate", *words, "--run", "runs/curate/run", "--out", "again")
    assert again.splitlines()[-2] == out.splitlines()[-2]
