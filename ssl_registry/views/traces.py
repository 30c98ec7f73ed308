"""A picture of signals and their views as traces over time, with axes and units."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

__all__ = ["INKS", "draw_traces", "thinned"]

WIDTH, HEIGHT = 260, 110  # of a cell, in pixels; the height grows with the channels
LEAST_BAND = 26  # height of a channel
GAP, LEFT, HEAD, FOOT = 10, 52, 22, 40
OVERSAMPLE = 3  # lines are drawn finer and then scaled down: PIL draws hard edges
PAPER, CELL, LINE, TEXT = (255, 255, 255), (246, 247, 249), (205, 210, 217), (70, 78, 90)
# Of channels, one after the other: a palette that is told apart without colors, too (Okabe and Ito).
INKS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 120, 190), (150, 110, 20))
MOST_TICKS = 5


def draw_traces(
    rows: Sequence[Sequence[Tensor]], titles: Sequence[str], *, rate: float | None = None, unit: str = ""
) -> Image.Image:
    """Draw a row for each sample, a band for each channel; all bands of a row have one scale.

    Args:
        rows: signals [channels, time]; those of a row have as many channels, and may be of several lengths.
        titles: of the columns.
        rate: moments in a second; None if it is not known, and time is counted in moments.
        unit: of the values, in words.

    Returns:
        An RGB picture.
    """
    channels, longest = len(rows[0][0]), max(part.shape[1] for row in rows for part in row)
    band = max(LEAST_BAND, HEIGHT // channels)
    high, columns = band * channels, len(titles)
    size = LEFT + columns * (WIDTH + GAP), HEAD + len(rows) * (high + GAP) + FOOT
    picture = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    for column, title in enumerate(titles):
        pen.text((LEFT + column * (WIDTH + GAP), 5), title, TEXT, font)
    for number, row in enumerate(rows):
        top = HEAD + number * (high + GAP)
        limit = _limit(row)
        for column, signal in enumerate(row):
            picture.paste(_cell(signal, longest, limit, band), (LEFT + column * (WIDTH + GAP), top))
        for channel in range(channels):
            middle = top + channel * band + band // 2
            pen.text((LEFT - 6, middle), _words(0.0), TEXT, font, anchor="rm")
            if channel == 0 or band >= 2 * LEAST_BAND:
                pen.text((LEFT - 6, middle - band // 2 + 5), f"+{_words(limit)}", TEXT, font, anchor="rm")
                pen.text((LEFT - 6, middle + band // 2 - 5), f"-{_words(limit)}", TEXT, font, anchor="rm")
    bottom = size[1] - FOOT - GAP + 2
    name, scale = ("moments", 1.0) if rate is None else ("s", 1 / rate) if longest >= rate else ("ms", 1000 / rate)
    for column in range(columns):
        left = LEFT + column * (WIDTH + GAP)
        for tick in _ticks((longest - 1) * scale):
            x = left + (tick / scale + 0.5) / longest * WIDTH
            pen.line((x, bottom, x, bottom + 3), LINE)
            pen.text((x, bottom + 5), _words(tick), TEXT, font, anchor="ma")
    told = [f"time in {name}", *([f"values in {unit}"] if unit else [])]
    told += [f"{channels} channels from top to bottom"] if channels > 1 else []
    pen.text((LEFT, size[1] - 17), "; ".join(told), TEXT, font)
    return picture


def _cell(signal: Tensor, longest: int, limit: float, band: int) -> Image.Image:
    channels, time = signal.shape
    wide, high = WIDTH * OVERSAMPLE, band * channels * OVERSAMPLE
    cell = Image.new("RGB", (wide, high), CELL)
    pen = ImageDraw.Draw(cell)
    x = (np.arange(time) + 0.5) / longest * wide
    for channel, values in enumerate(signal.double().cpu().numpy()):
        middle = (channel + 0.5) * band * OVERSAMPLE
        pen.line((0, middle, wide, middle), LINE, OVERSAMPLE)
        half = (band / 2 - 2) * OVERSAMPLE
        places, values = thinned(values, wide)
        points = np.column_stack([x[places], middle - values / limit * half])
        pen.line([tuple(point) for point in points.tolist()], INKS[channel % len(INKS)], OVERSAMPLE, joint="curve")
    return cell.resize((WIDTH, band * channels), Image.Resampling.LANCZOS)


def thinned(values: NDArray[np.float64], groups: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return of a long trace the lowest and the highest value of each of some groups, so that no peak is lost.

    Args:
        values: [T]; NaN where nothing is drawn, which stays so for a group that holds one.
        groups: their number, about one for each pixel; a trace of no more than twice as many values stays as it is.

    Returns:
        Places and values of what is left, in order.
    """
    places = np.arange(len(values))
    if len(values) <= 2 * groups:
        return places, values
    kept: list[int] = []
    found: list[float] = []
    for part in np.array_split(places, groups):
        inside = values[part]
        gap = bool(np.isnan(inside).any())
        ends = (0, len(part) - 1) if gap else sorted([int(inside.argmin()), int(inside.argmax())])
        kept += [int(part[end]) for end in ends]
        found += [np.nan, np.nan] if gap else values[kept[-2:]].tolist()
    return np.array(kept), np.array(found)


def _limit(row: Sequence[Tensor]) -> float:
    """Return what all values of a row lie within, to either side, rounded up to two digits."""
    largest = max(float(part.abs().max()) for part in row)
    if not largest or not math.isfinite(largest):
        return 1.0
    digit = 10.0 ** (math.floor(math.log10(largest)) - 1)
    return math.ceil(largest / digit - 1e-9) * digit


def _ticks(end: float) -> Iterator[float]:
    """Return round numbers from 0 to an end: some five."""
    if end <= 0:
        return iter([0.0])
    rough = end / MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    return (count * step for count in range(math.floor(end / step + 1e-9) + 1))


def _words(number: float) -> str:
    return f"{number:.6g}"
