"""Scattered digits: the bundled scans at random places, sizes and angles on a canvas with clutter.

Centred digits of one size are an easy set: raw pixels tell them apart. What a photograph shows is neither centred nor
alone, and this set is made so from what every installation has.
"""

from __future__ import annotations

from dataclasses import replace
from math import pi, radians

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.data.arrays.memory import Part, source_in_memory
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import Source
from ssl_registry.data.sources.digits import LARGEST, digits
from ssl_registry.errors import DataError

__all__ = ["scatter", "scattered_digits"]

CANVAS, SMALLEST = 24, 16  # pixels
COPIES = 3  # canvases made of each scan
SIDE = (0.5, 0.75)  # of a digit, as a share of the canvas
ANGLE = 30.0  # degrees, to either side: farther a 6 becomes a 9
PIECES = 4  # of clutter on each canvas
PIECE = 3  # pixels of the scan, 8 x 8, that a piece is cut from
INK = (0.6, 1.0)  # how bright a digit or a piece is, of its scan
CHUNK = 1024  # canvases at a time, to spare memory


def scattered_digits(spec: str, options: DataOptions) -> Source:
    """Open 3,900 canvases to train on and 1,491 held out, made of the scans that `digits` trains on and holds out.

    Each scan is on three canvases, with its class; four pieces of other scans of the same part lie about it. The
    canvases are the same in every run. The idea of clutter cut from other digits is that of Mnih et al., 2014,
    arXiv:1406.6247.

    Args:
        spec: has no meaning here.
        options: ``image_size`` is the side of the canvas, 24 pixels by default.

    Raises:
        DataError: for sides of fewer than 16 pixels or more than 512.

    Example:
        >>> source = scattered_digits("scattered-digits", DataOptions(image_size=16))
        >>> source.input_shape, len(source.train), len(source.test)
        ((1, 16, 16), 3900, 1491)
    """
    size = options.image_size or CANVAS
    if not SMALLEST <= size <= LARGEST:
        raise DataError(
            f"scattered digits lie on canvases of {SMALLEST} to {LARGEST} pixels; image_size={size} is none"
        )
    scans = digits("digits", DataOptions(image_size=8))
    parts = []
    for seed, part in enumerate((scans.train, scans.test)):
        x, y = part.tensors()  # type: ignore[union-attr]  # the digits have both parts, and labels
        assert y is not None
        rows = torch.arange(len(x)).repeat(COPIES)
        canvases = scatter(x, rows, size, torch.Generator().manual_seed(seed))
        parts.append(Part(canvases.numpy(), y[rows].numpy(), "scattered digits", "digits"))
    source = source_in_memory("scattered-digits", *parts, options=DataOptions())
    return replace(source, forbids=("flip",))


def scatter(scans: Tensor, rows: Tensor, size: int, generator: torch.Generator, *, pieces: int = PIECES) -> Tensor:
    """Place scans at random on canvases, among pieces of others.

    Args:
        scans: uint8 [N, 1, 8, 8].
        rows: which scan is on which canvas, [M].
        size: side of a canvas in pixels.
        generator: of all that is random.
        pieces: of clutter on each canvas.

    Returns:
        uint8 [M, 1, size, size].
    """
    done = []
    for chunk in torch.split(rows, CHUNK):
        count = len(chunk)
        sides = _uniform(count, *SIDE, generator)
        canvas = _placed(scans[chunk], sides, size, generator)
        for _ in range(pieces):
            others = torch.randint(len(scans), (count,), generator=generator)
            cut = _cut(scans[others], generator)
            canvas = torch.maximum(canvas, _placed(cut, sides, size, generator, anywhere=True))
        done.append((canvas * 255).round().to(torch.uint8))
    return torch.cat(done)


def _placed(scans: Tensor, sides: Tensor, size: int, generator: torch.Generator, *, anywhere: bool = False) -> Tensor:
    """Return canvases [M, 1, size, size] in [0, 1], each with one scan, as large as ``sides`` [M] tells.

    Args:
        scans: uint8 [M, 1, 8, 8].
        sides: of the scans, as shares of the canvas.
        size: of the canvas in pixels.
        generator: of place, angle and ink.
        anywhere: at any angle, and over the edge too.
    """
    count = len(scans)
    most = pi if anywhere else radians(ANGLE)
    angle = _uniform(count, -most, most, generator)
    room = torch.ones(count) if anywhere else 1 - sides  # a digit lies on the canvas, but for the corners of its square
    x, y = ((_uniform(count, -1, 1, generator) * room) for _ in range(2))
    cos, sin = angle.cos() / sides, angle.sin() / sides
    # From the canvas's coordinates, -1 to 1, back to the scan's.
    theta = torch.stack([cos, sin, -cos * x - sin * y, -sin, cos, sin * x - cos * y], 1).view(count, 2, 3)
    grid = F.affine_grid(theta, [count, 1, size, size], align_corners=False)
    ink = F.grid_sample(scans.float() / 255, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    return ink.clamp(0, 1) * _uniform(count, *INK, generator)[:, None, None, None]


def _cut(scans: Tensor, generator: torch.Generator) -> Tensor:
    """Keep a small square of each scan [M, 1, 8, 8], where it is, and nothing else."""
    count, side = len(scans), scans.shape[-1]
    corner = torch.randint(side - PIECE + 1, (2, count), generator=generator)
    within = torch.arange(side)
    rows, columns = ((within >= at[:, None]) & (within < at[:, None] + PIECE) for at in corner)
    kept: Tensor = scans * (rows[:, None, :, None] & columns[:, None, None, :])
    return kept


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)
