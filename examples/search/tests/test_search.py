"""Search: the index, the page, and how many of those found are right."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image


def test_the_bundled_images(run_script, tmp_path):
    """A hundred queries in two hundred images; shares in per cent; a page that needs no other file."""
    out = run_script("search", "--images", "200", "--image-size", "16", "--show", "5")
    assert "100 queries in 200 images" in out
    assert re.search(r"features [\d.]+%, raw pixels [\d.]+%, chance 1\d\.\d%", out), out
    page = (tmp_path / "runs/search/search.html").read_text()
    assert page.count("<div>") == 20
    assert page.count("data:image/png;base64,") == 20 * 6


def test_an_image_finds_itself(run_script, tmp_path):
    """In a folder of one's own, whatever the features: nothing is nearer than the image itself."""
    draw = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(30):
        image = Image.fromarray(draw.integers(0, 255, (4, 4, 3), dtype=np.uint8)).resize((30, 30))
        image.save(tmp_path / f"photos/{number}.png")
    out = run_script("search", "--data", "photos", "--query", "photos/3.png", "--image-size", "16", "--show", "2")
    assert "1 queries in 30 images" in out
    assert "photos/3.png: nearest is photos/3.png" in out
    with pytest.raises(SystemExit):
        run_script("search", "--data", "photos")
