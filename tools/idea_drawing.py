"""Draw the idea of a method as SVG, from boxes in columns and arrows between them: one look for all methods.

Where the gradient flows is not said but follows: back from a loss, along arrows without a stop, to what is trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from idea_icons import HEIGHT, ICONS, WIDTH, frame

__all__ = ["Arrow", "Box", "Idea", "average", "draw", "flows", "frozen", "loss", "memory", "sample", "step", "trained"]

GAP, ROW, MARGIN = 34, 84, 16
CHARACTER = 6.4  # a letter's width at 12.5 pixels, roughly
FILL = {
    "trained": ("#d9e8fa", "#2d6cb5"),
    "average": ("#ece2f6", "#8454b8"),
    "frozen": ("#e6e9ec", "#6b7681"),
    "memory": ("#fbf1cf", "#b58a1b"),
    "step": ("#ffffff", "#5b6673"),
    "loss": ("#fbdfd3", "#cc5a2b"),
}
WORDS = {
    "trained": "trained by gradient",
    "average": "moving average of what is trained",
    "frozen": "never trained",
    "memory": "remembered from earlier",
}
NETWORKS = ("trained", "average", "frozen")
COLORS = {"gradient": "#2d6cb5", "none": "#6b7681", "data": "#20262d", "average": "#8454b8"}
BLOCKS = ("average", "frozen", "memory")  # no gradient passes through these


@dataclass(frozen=True)
class Box:
    """A sample, a network, what is remembered, a computation or a loss.

    Args:
        kind: sample, trained, average, frozen, memory, step or loss.
        text: lines, with "/" between.
        column, row: of its place; a row may lie between two.
        rows: how many rows it is high, from ``row`` on: networks through which several views go.
        icon: of a sample, a name of `idea_icons.ICONS`.
        parts: names in ``model.heads`` that it stands for.
        kept: whether it is the product, which is evaluated and exported.
    """

    kind: str
    text: str
    column: int
    row: float
    rows: int = 1
    icon: str = ""
    parts: tuple[str, ...] = ()
    kept: bool = False

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels."""
        lines = self.text.split("/")
        width = max(map(len, lines)) * CHARACTER
        if self.kind == "sample":
            return max(WIDTH, width), HEIGHT + 14 * len(lines)
        padding = {"loss": 30, "step": 18}.get(self.kind, 18 + 16 * self.kept)
        return max(76, width + padding), 18 + 15 * len(lines) + ROW * (self.rows - 1)


@dataclass(frozen=True)
class Arrow:
    """From one box to another; ``kind`` is ">", "|" (the gradient stops) or "~" (moving average)."""

    start: str
    kind: str
    end: str


@dataclass(frozen=True)
class Idea:
    """What is drawn of a method.

    Args:
        caption: one or two sentences, for the page and for those who do not see the picture.
        boxes: by name.
        arrows: chains of names, such as ``"x > f > loss; y | loss; f ~ t"``.
        left_out: names in ``model.heads`` without parameters that stand in a loss or an arrow.
    """

    caption: str
    boxes: Mapping[str, Box]
    arrows: str
    left_out: tuple[str, ...] = ()

    def list_arrows(self) -> list[Arrow]:
        """Read the chains."""
        found = []
        for chain in self.arrows.split(";"):
            words = re.split(r"\s+", chain.strip())
            for start, kind, end in zip(words[:-2:2], words[1::2], words[2::2], strict=True):
                if kind not in (">", "|", "~") or not {start, end} <= self.boxes.keys():
                    raise ValueError(f"{start} {kind} {end}: no such arrow between boxes {sorted(self.boxes)}")
                found.append(Arrow(start, kind, end))
        return found


def sample(text: str, column: int, row: float, icon: str) -> Box:
    """Return what the method sees, or compares with, with a picture of it."""
    return Box("sample", text, column, row, icon=icon)


def trained(text: str, column: int, row: float, *parts: str, rows: int = 1, kept: bool = False) -> Box:
    """Return a network that learns by gradient."""
    return Box("trained", text, column, row, rows, parts=parts, kept=kept)


def average(text: str, column: int, row: float, *parts: str, rows: int = 1, kept: bool = False) -> Box:
    """Return a moving average of a network."""
    return Box("average", text, column, row, rows, parts=parts, kept=kept)


def frozen(text: str, column: int, row: float, *parts: str, rows: int = 1) -> Box:
    """Return a network that stays as it is."""
    return Box("frozen", text, column, row, rows, parts=parts)


def memory(text: str, column: int, row: float, *parts: str) -> Box:
    """Return what is kept from earlier batches, or from the data."""
    return Box("memory", text, column, row, parts=parts)


def step(text: str, column: int, row: float, *parts: str, rows: int = 1) -> Box:
    """Return a computation without weights."""
    return Box("step", text, column, row, rows, parts=parts)


def loss(text: str, column: int, row: float, *parts: str, rows: int = 1) -> Box:
    """Return a loss."""
    return Box("loss", text, column, row, rows, parts=parts)


def flows(idea: Idea) -> dict[Arrow, str]:
    """Tell of each arrow whether the ``gradient`` flows back along it, ``none`` does, or it carries ``data`` alone."""
    arrows = idea.list_arrows()
    kind = {name: box.kind for name, box in idea.boxes.items()}

    def reached(start: Iterable[str], steps: Iterable[tuple[str, str]]) -> set[str]:
        found, steps = set(start), list(steps)
        while more := {b for a, b in steps if a in found} - found:
            found |= more
        return found

    open_ones = [a for a in arrows if a.kind == ">" and kind[a.start] not in BLOCKS]
    to_a_loss = reached((n for n in kind if kind[n] == "loss"), ((a.end, a.start) for a in open_ones))
    learning = reached((n for n in kind if kind[n] == "trained"), ((a.start, a.end) for a in open_ones))
    computed = reached((n for n in kind if kind[n] in NETWORKS), ((a.start, a.end) for a in arrows if a.kind != "~"))
    told = {}
    for arrow in arrows:
        if arrow.kind == "~":
            told[arrow] = "average"
        elif arrow in open_ones and arrow.start in learning and arrow.end in to_a_loss:
            told[arrow] = "gradient"
        else:
            told[arrow] = "none" if arrow.kind == "|" or arrow.start in computed else "data"
    return told


@dataclass(frozen=True)
class Place:
    """Where a box is, in pixels: its middle and its size, of a sample those of its icon, and where its text ends."""

    x: float
    y: float
    width: float
    height: float
    bottom: float

    @property
    def left(self) -> float:
        """Of its edge."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Of its edge."""
        return self.x + self.width / 2


def places(boxes: Mapping[str, Box]) -> dict[str, Place]:
    """Lay boxes out: columns as wide as what stands in them, rows of one height."""
    widths = [0.0] * (1 + max(box.column for box in boxes.values()))
    for box in boxes.values():
        widths[box.column] = max(widths[box.column], box.size[0])
    lefts = [MARGIN + sum(widths[:i]) + GAP * i for i in range(len(widths))]
    middles = {name: ROW * (box.row + (box.rows - 1) / 2) for name, box in boxes.items()}
    heights = {name: HEIGHT if box.kind == "sample" else box.size[1] for name, box in boxes.items()}
    top = min(middles[name] - heights[name] / 2 for name in boxes) - MARGIN
    found = {}
    for name, box in boxes.items():
        y, height = middles[name] - top, heights[name]
        width = WIDTH if box.kind == "sample" else widths[box.column]
        x = lefts[box.column] + widths[box.column] / 2
        found[name] = Place(x, y, width, height, y - height / 2 + box.size[1])
    return found


def draw(name: str, idea: Idea) -> str:
    """Return the SVG."""
    where, told = places(idea.boxes), flows(idea)
    width = max(place.right for place in where.values()) + MARGIN
    bottom = max(place.bottom for place in where.values()) + MARGIN
    parts = [_arrow(idea, where, arrow, color) for arrow, color in told.items()]
    parts += [_box(box, where[key]) for key, box in idea.boxes.items()]
    legend, height = _legend(idea, set(told.values()), width, bottom)
    parts += legend
    heads = "".join(
        f'<marker id="{key}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8Z" fill="{color}"/></marker>'
        for key, color in COLORS.items()
        if key in told.values()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="system-ui, sans-serif" font-size="12.5">\n'
        f"<title>{escape(name)}: {escape(idea.caption)}</title>\n<defs>{heads}</defs>\n"
        f'<rect width="100%" height="100%" rx="8" fill="#f8f9fb"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _box(box: Box, place: Place) -> str:
    lines = box.text.split("/")
    if box.kind == "sample":
        top = place.y - place.height / 2
        icon = f'<g transform="translate({place.left:.1f} {top:.1f})">{frame(ICONS[box.icon]())}</g>'
        return icon + _text(lines, place.x, top + HEIGHT + 12, 14)
    fill, line = FILL[box.kind]
    radius = 16 if box.kind == "loss" else 4
    edge = 2.6 if box.kept else 1.2
    shape = (
        f'<rect x="{place.left:.1f}" y="{place.y - place.height / 2:.1f}" width="{place.width:.1f}" '
        f'height="{place.height:.1f}" rx="{radius}" fill="{fill}" stroke="{line}" stroke-width="{edge}"/>'
    )
    star = f'<text x="{place.right - 15:.1f}" y="{place.y - place.height / 2 + 14:.1f}" fill="{line}">★</text>'
    text = _text(lines, place.x - 6 * (box.kept and box.rows == 1), place.y + 4.5 - 7.5 * (len(lines) - 1), 15)
    return shape + text + (star if box.kept else "")


def _text(lines: list[str], x: float, y: float, pitch: float) -> str:
    return "".join(
        f'<text x="{x:.1f}" y="{y + i * pitch:.1f}" text-anchor="middle" fill="#20262d">{escape(line)}</text>'
        for i, line in enumerate(lines)
    )


def _rows(box: Box) -> list[float]:
    return [box.row + i for i in range(box.rows)]


def _arrow(idea: Idea, where: Mapping[str, Place], arrow: Arrow, flow: str) -> str:
    """Draw an arrow: once for each row that both boxes have, else from each row of its start."""
    start, end = idea.boxes[arrow.start], idea.boxes[arrow.end]
    a, b = where[arrow.start], where[arrow.end]
    style = f'fill="none" stroke="{COLORS[flow]}" stroke-width="1.6" marker-end="url(#{flow})"'
    style += {"none": ' stroke-dasharray="5 4"', "average": ' stroke-dasharray="2 3"'}.get(flow, "")
    if start.column == end.column:
        down = 1 if b.y > a.y else -1
        y1, y2 = a.y + down * a.height / 2, b.y - down * b.height / 2
        return f'<path d="M{a.x:.1f} {y1:.1f}L{b.x:.1f} {y2 - 2 * down:.1f}" {style}/>'
    if start.kind == "step" and start.rows > 1:  # what it computes is one thing
        starts = [min(max(b.y, a.y - a.height / 2 + 8), a.y + a.height / 2 - 8)]
    else:
        rows = [row for row in _rows(start) if row in _rows(end)] or _rows(start)
        starts = [a.y + ROW * (row - start.row - (start.rows - 1) / 2) for row in rows]
    paths = []
    for y1 in starts:
        room = max(0.0, b.height / 2 - 10)
        y2 = min(max(y1, b.y - room), b.y + room)
        x1, x2 = a.right + 1, b.left - 2
        bend = GAP * 0.9
        between = [
            box
            for key, box in idea.boxes.items()
            if start.column < box.column < end.column and abs(where[key].y - y1) < where[key].height / 2 + 4
        ]
        # Along the row of its start and then over to its end, or the other way round where something is in between.
        near, far = (x1, x1 + bend) if between else (x2 - bend, x2)
        middle = (near + far) / 2
        curve = f"C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {far:.1f} {y2:.1f}"
        paths.append(f'<path d="M{x1:.1f} {y1:.1f}H{near:.1f}{curve}H{x2:.1f}" {style}/>')
        if arrow.kind == "|":
            x = x1 + 7
            paths.append(f'<path d="M{x:.1f} {y1 - 7:.1f}v14m4 0v-14" stroke="#cc2b2b" stroke-width="2" fill="none"/>')
    return "".join(paths)


def _legend(idea: Idea, told: set[str], width: float, top: float) -> tuple[list[str], float]:
    """Explain the colors and lines that this picture has, in as many lines as they take; return where it ends."""
    used = {box.kind for box in idea.boxes.values()}
    items = []
    for kind, words in WORDS.items():
        if kind in used:
            fill, edge = FILL[kind]
            items.append((f'<rect width="14" height="12" rx="2" fill="{fill}" stroke="{edge}"/>', words))
    for flow, words, dashes in (("gradient", "gradient flows back", ""), ("none", "no gradient", "5 4")):
        if flow in told:
            dash = f' stroke-dasharray="{dashes}"' if dashes else ""
            items.append((f'<path d="M0 6H18" stroke="{COLORS[flow]}" stroke-width="1.8"{dash}/>', words))
    items.append(('<text y="11">★</text>', "what you keep"))
    x, y, parts = float(MARGIN), top, []
    for mark, words in items:
        wide = 24 + 5.9 * len(words) + 14
        if x + wide > width and x > MARGIN:
            x, y = float(MARGIN), y + 19
        parts.append(
            f'<g transform="translate({x:.0f} {y:.0f})" font-size="11" fill="#444c55">{mark}'
            f'<text x="22" y="10">{words}</text></g>'
        )
        x += wide
    return parts, y + 12 + MARGIN
