"""A picture of images and their views, to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

__all__ = ["draw_grid"]

CELL, GAP = 128, 4  # least side of a cell, and what lies between two, in pixels
HEAD = 20  # of the titles
PAPER, TEXT = (255, 255, 255), (70, 78, 90)


def draw_grid(rows: Sequence[Sequence[Tensor]], titles: Sequence[str]) -> Image.Image:
    """Draw a row for each sample: the sample itself, then its views.

    Args:
        titles: of the columns.
        rows: images [channels, height, width] in [0, 1], of which grey ones are shown grey and others by their first
            three channels.

    Returns:
        An RGB picture.
    """
    side = max(CELL, *(part.shape[-1] for row in rows for part in row))
    step = side + GAP
    width = max(len(row) for row in rows) * step + 2 * GAP  # the originals stand apart
    picture = Image.new("RGB", (width, HEAD + len(rows) * step), PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    places = [GAP + left * step + (GAP if left else 0) for left in range(len(titles))]
    for place, title in zip(places, titles, strict=True):
        pen.text((place, 3), title, TEXT, font)
    for top, row in enumerate(rows):
        for place, part in zip(places, row, strict=False):
            picture.paste(_image(part, side), (place, HEAD + top * step))
    return picture


def _image(image: Tensor, side: int) -> Image.Image:
    shown = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    pixels = (shown.clamp(0, 1) * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)
    high, wide = pixels.shape[:2]
    scale = side / max(high, wide)
    # Whole pixels stay visible where they are enlarged.
    how = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BILINEAR
    return Image.fromarray(pixels).resize((max(1, round(wide * scale)), max(1, round(high * scale))), how)
