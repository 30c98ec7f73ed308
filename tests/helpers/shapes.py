"""Images of shapes on a textured ground, and their masks: what is right is known by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE, CELL = 32, 8


def shapes(count, seed=0, side=SIDE):
    """Return images [N, side, side, 3] and masks [N, side, side]: ground 0, dark squares 1, bright discs 2.

    Squares and discs lie on cells of 8 pixels; the ground is noise of a middle gray.
    """
    rng = np.random.default_rng(seed)
    images = rng.integers(100, 156, (count, side, side, 3), dtype=np.uint8)
    masks = np.zeros((count, side, side), np.uint8)
    inside = np.hypot(*np.mgrid[-3.5:4.5, -3.5:4.5]) < 4.1
    for image, mask in zip(images, masks, strict=True):
        cells = rng.permutation((side // CELL) ** 2)
        for number, cell in enumerate(cells[:5]):
            y, x = (CELL * part for part in divmod(cell, side // CELL))
            square = number < 3
            where = np.ones((CELL, CELL), bool) if square else inside
            mask[y : y + CELL, x : x + CELL][where] = 1 if square else 2
            low, high = (0, 40) if square else (210, 256)
            image[y : y + CELL, x : x + CELL][where] = rng.integers(low, high, (where.sum(), 3))
    return images, masks


def write_shapes(root: Path, parts=(("train", 24), ("val", 8)), *, palette=False, layout="{part}/{kind}") -> Path:
    """Write images/ and masks/ of some parts, as PNG."""
    for number, (part, count) in enumerate(parts):
        images, masks = shapes(count, seed=number)
        for n, (image, mask) in enumerate(zip(images, masks, strict=True)):
            for kind, array in (("images", image), ("masks", mask)):
                picture = Image.fromarray(array)
                if palette and kind == "masks":
                    picture = picture.convert("P")
                    picture.putdata(mask.flatten().tolist())
                    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
                file = root / layout.format(part=part, kind=kind) / f"{part}{n}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                picture.save(file)
    return root
