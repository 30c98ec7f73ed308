"""A sample as a small picture, whatever its kind, and many of them in one image."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ssl_registry.views.traces import thinned

__all__ = ["BARS", "CHANNELS", "Limits", "Sprite", "limits_of", "sprite", "thumbnail"]

Limits = tuple[float, float]

WAVE = (120, 56)
CHANNELS, BARS = 6, 48  # the most that are drawn
INK = (91, 141, 239, 255)  # a blue that is read on white and on black
# Of the other channels of a signal: as bright as it.
INKS = (INK, (226, 120, 60, 220), (50, 165, 120, 220), (200, 110, 175, 220), (150, 150, 60, 220), (130, 130, 140, 220))
HIDDEN = (128, 128, 128, 70)  # behind what is hidden of a signal
# Finer than this a waveform is drawn, and then scaled down: PIL draws hard edges.
OVERSAMPLE = 3


@dataclass(frozen=True)
class Sprite:
    """Pictures of one size, row by row in one image.

    Args:
        url: the image, as a ``data:`` address.
        width, height: of each picture, in pixels.
        columns: pictures a row.
        count: pictures.
        smooth: whether enlarging may blur them; false for tiny images.
    """

    url: str
    width: int
    height: int
    columns: int
    count: int
    smooth: bool


def limits_of(samples: Sequence[Tensor]) -> Limits:
    """Return the least and the largest value of signals or rows of a table that stand side by side.

    Example:
        >>> limits_of([torch.tensor([1.0, 2.0]), torch.tensor([-1.0, torch.nan])])
        (-1.0, 2.0)
    """
    values = torch.cat([sample.detach().float().cpu().flatten() for sample in samples])
    values = values[values.isfinite()]
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def thumbnail(sample: Tensor, side: int, limits: Limits | None = None) -> Image.Image:
    """Draw a sample.

    Args:
        sample: an image [channels, height, width], uint8 or float in [0, 1]; a signal [channels, time], drawn as waves;
            or a table's row [features], drawn as bars. Where a signal is NaN there is a gap on gray.
        side: the longest side of an image's picture, in pixels; smaller images keep their size.
        limits: the values that a signal's or a row's picture has room for; default: its own.
    """
    sample = sample.detach().cpu()
    if sample.ndim == 3:
        return _image(sample, side)
    canvas = Image.new("RGBA", (WAVE[0] * OVERSAMPLE, WAVE[1] * OVERSAMPLE), (0, 0, 0, 0))
    draw = ImageDraw.Draw(canvas)
    if sample.ndim == 2:
        _waves(draw, sample.float(), *canvas.size, limits or limits_of([sample]))
    else:
        _bars(draw, sample.float(), *canvas.size, limits or limits_of([sample]))
    return canvas.resize(WAVE, Image.Resampling.LANCZOS)


def _image(sample: Tensor, side: int) -> Image.Image:
    x = sample if sample.dtype == torch.uint8 else (sample.float().clamp(0, 1) * 255).round().to(torch.uint8)
    # Two channels, or more than three (satellites): what the eye can take is the first one, or the first three.
    x = x[:3] if len(x) >= 3 else x[:1]
    array = x.permute(1, 2, 0).numpy()
    picture = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture.convert("RGBA")


def _waves(draw: ImageDraw.ImageDraw, signal: Tensor, width: int, height: int, limits: Limits) -> None:
    """Draw up to six channels over each other, the first in front."""
    low, high = limits
    scale = (height - 6) / max(high - low, 1e-9)
    step = (width - 1) / max(signal.shape[1] - 1, 1)
    for index in torch.nonzero(signal[0].isnan()).flatten().tolist():
        draw.rectangle(((index - 0.5) * step, 0, (index + 0.5) * step, height), fill=HIDDEN)
    for channel, ink in reversed(list(zip(signal[:CHANNELS], INKS, strict=False))):
        places, values = thinned(channel.double().numpy(), width)
        for run in np.split(np.arange(len(places)), np.flatnonzero(np.diff(np.isnan(values))) + 1):
            if not np.isnan(values[run[0]]):
                points = [(places[n] * step, 3 + (high - values[n]) * scale) for n in run]
                draw.line(points, fill=ink, width=OVERSAMPLE, joint="curve")


def _bars(draw: ImageDraw.ImageDraw, row: Tensor, width: int, height: int, limits: Limits) -> None:
    """Draw a bar for each of up to 48 features, up and down from the middle."""
    values = row[:BARS]
    largest = max(*map(abs, limits), 1e-9)
    slot, middle = width / len(values), height / 2
    for index, value in enumerate(values.tolist()):
        end = middle - value / largest * (middle - 2)
        box = (index * slot + 1, min(middle, end), (index + 1) * slot - 1, max(middle, end, min(middle, end) + 1))
        draw.rectangle(box, fill=INK)


def sprite(
    samples: Sequence[Tensor], side: int, columns: int | None = None, limits: Sequence[Limits] | None = None
) -> Sprite:
    """Draw many samples into one image.

    Args:
        samples: of one kind.
        side: see `thumbnail`.
        columns: pictures a row; default: about as many as rows.
        limits: of each sample, see `thumbnail`.

    Example:
        >>> made = sprite([torch.zeros(1, 8, 8)] * 5, 32)
        >>> made.columns, made.count, made.smooth, made.url[:22]
        (3, 5, False, 'data:image/webp;base64')
    """
    pictures = [thumbnail(sample, side, limits[n] if limits else None) for n, sample in enumerate(samples)]
    width = max(picture.width for picture in pictures)
    height = max(picture.height for picture in pictures)
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    sheet = Image.new("RGBA", (columns * width, math.ceil(len(pictures) / columns) * height), (0, 0, 0, 0))
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % columns * width, index // columns * height))
    tiny = samples[0].ndim == 3 and width <= 48
    file = io.BytesIO()
    sheet.save(file, "WEBP", lossless=tiny or samples[0].ndim != 3, quality=80)
    url = "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    return Sprite(url, width, height, columns, len(pictures), not tiny)
