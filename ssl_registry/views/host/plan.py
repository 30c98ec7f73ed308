"""`Planner`: what will be drawn from each photograph of a batch, told from its sides before it is decoded."""

from __future__ import annotations

from typing import NamedTuple

from ssl_registry.views.keys import Keys, stream, uniform
from ssl_registry.views.parameters import (
    AREAS,
    CORNER,
    FLIP,
    STREAM,
    Box,
    ImageParameters,
    Ranges,
    box_of_one,
    draw_all_but_boxes,
    draw_box_shapes,
)

__all__ = ["Plan", "Planner"]

# A reduced decoding must leave every box this many times larger than its view, for the antialiased resize after it.
SPARE = 2


class Plan(NamedTuple):
    """What will be drawn from a photograph of a size: a row of parameters, a size and a box for each view; how small to
    decode."""

    size: tuple[int, int]
    drawn: ImageParameters
    sizes: list[tuple[int, int]]
    boxes: list[Box]
    shrink: int


class Planner:
    """Plans the views of a batch of photographs. What does not depend on their sizes is drawn for all of them at once.

    Args:
        ranges: of the policy's views.
        sides: of the views in pixels; None for the photograph's own height and width.
        keys: of the samples, [B].
    """

    def __init__(self, ranges: Ranges, sides: list[int | None], keys: Keys) -> None:
        self._ranges, self._sides = ranges, sides
        bits = stream(keys, STREAM * len(sides)).reshape(len(keys), len(sides), STREAM)
        shares = uniform(bits)
        self._drawn = draw_all_but_boxes(ranges, bits, shares)
        areas, aspects = draw_box_shapes(shares[..., AREAS:FLIP], ranges)
        self._shapes = areas.tolist(), aspects.tolist(), shares[..., CORNER:FLIP].tolist()

    def plan(self, row: int, height: int, width: int) -> Plan:
        """Tell what will be drawn from one of the photographs, and at which size to decode it.

        Args:
            row: of its key.
            height, width: of the photograph, in pixels.
        """
        areas, aspects, corners = (each[row] for each in self._shapes)
        boxes = [
            box_of_one(areas[view], aspects[view], corners[view], height, width, self._ranges.crop_ratio[view].tolist())
            if crops
            else _square(height, width)
            for view, crops in enumerate(self._ranges.crops)
        ]
        sizes = [(side, side) if side else (height, width) for side in self._sides]
        return Plan((height, width), self._drawn.part(row), sizes, boxes, _shrink(boxes, sizes))


def _square(height: int, width: int) -> Box:
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def _shrink(boxes: list[Box], sizes: list[tuple[int, int]]) -> int:
    """Return by how much the photograph may be reduced while it is decoded."""
    smallest = min(min(box[2] / size[0], box[3] / size[1]) for box, size in zip(boxes, sizes, strict=True))
    return next((shrink for shrink in (8, 4, 2) if smallest >= SPARE * shrink), 1)
