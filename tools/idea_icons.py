"""Small pictures of samples for `idea_drawing`: an image, its patches, a signal, its spectrum, a row of a table."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["HEIGHT", "ICONS", "WIDTH"]

WIDTH, HEIGHT = 56, 42  # of every icon, in pixels
SKY, SUN, NEAR, FAR = "#cfe6fb", "#f2b632", "#4f8f5b", "#86b98d"
LINE, HIDDEN, CHANGED = "#5b6673", "#59626d", "#e2803a"
CELLS = (4, 3)  # columns and rows of patches

# Which of the 4 x 3 patches are hidden, row by row.
FEW = "..x. x... ..x."
MOST = "xx.x .xxx xxx."
BLOCK = ".... .xx. .xx."
FOUR = "x..x .... .xx."


def landscape(tint: str = SKY, shift: float = 0.0, zoom: float = 1.0) -> str:
    """Return a hill, another one and the sun; ``shift`` and ``zoom`` make a crop of it."""
    transform = f"translate({-shift * WIDTH:.4g} {(1 - zoom) * HEIGHT:.4g}) scale({zoom:.4g})"
    return (
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{tint}"/><g transform="{transform}">'
        f'<circle cx="42" cy="11" r="6" fill="{SUN}"/><path d="M0 30L18 12L38 42H0Z" fill="{FAR}"/>'
        f'<path d="M14 42L38 20L60 42Z" fill="{NEAR}"/></g>'
    )


def frame(content: str) -> str:
    """Cut what stands over, and draw the edge."""
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">{content}'
        f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" fill="none" stroke="{LINE}"/></svg>'
    )


def patches(hidden: str, fill: str) -> str:
    """Return the landscape in patches, some of them covered."""
    columns, rows = CELLS
    width, height = WIDTH / columns, HEIGHT / rows
    cells = [(x, y) for y, row in enumerate(hidden.split()) for x, cell in enumerate(row) if cell == "x"]
    covers = "".join(
        f'<rect x="{x * width:g}" y="{y * height:g}" width="{width:g}" height="{height:g}" fill="{fill}"/>'
        for x, y in cells
    )
    grid = "".join(f"M{x * width:g} 0V{HEIGHT}" for x in range(1, columns))
    grid += "".join(f"M0 {y * height:g}H{WIDTH}" for y in range(1, rows))
    return landscape() + covers + f'<path d="{grid}" stroke="#ffffff" stroke-width="1.4" fill="none"/>'


def inverse(hidden: str) -> str:
    """Return the patches that are left."""
    return hidden.translate(str.maketrans("x.", ".x"))


def curve(noise: float = 0.0, start: float = 0.0, stop: float = 1.0, gaps: bool = False) -> str:
    """Return a signal, or a part of it where it was."""
    points = []
    for step in range(57):
        if not start <= step / 56 <= stop:
            continue
        wiggle = noise * math.sin(step * 2.9) * math.cos(step * 1.7)
        points.append((step, 21 - 11 * math.sin(step / 5.2) - 4 * math.sin(step / 2.1) + 9 * wiggle))
    path = "M" + "L".join(f"{x:g} {y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="7 5"' if gaps else ""
    return (
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        f'<path d="{path}" fill="none" stroke="#2d6cb5" stroke-width="1.7"{dashes}/>'
    )


def windows(*spans: tuple[float, float]) -> str:
    """Return a signal with some windows marked."""
    marks = "".join(
        f'<rect x="{a * WIDTH:g}" y="3" width="{(b - a) * WIDTH:g}" height="{HEIGHT - 6}" fill="{CHANGED}" '
        f'fill-opacity=".25" stroke="{CHANGED}"/>'
        for a, b in spans
    )
    return curve() + marks


def bars(heights: str, changed: str = "") -> str:
    """Return bars of the given heights (digits); those that are ``changed`` (their numbers) stand out."""
    width = WIDTH / len(heights)
    found = [
        f'<rect x="{i * width + 1.5:g}" y="{HEIGHT - 3 - 4 * int(h):g}" width="{width - 3:g}" height="{4 * int(h)}" '
        f'fill="{CHANGED if str(i) in changed else "#2d6cb5"}"/>'
        for i, h in enumerate(heights)
    ]
    return f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>' + "".join(found)


def row(changed: str = "") -> str:
    """Return the cells of a table's row, some of them with values from elsewhere."""
    shades = ("#d6e4f3", "#9cc0e4", "#5f96cf", "#bcd5ed", "#7caad9", "#e7eff8")
    width = WIDTH / len(shades)
    cells = [
        f'<rect x="{i * width:g}" y="12" width="{width:g}" height="18" stroke="#ffffff" '
        f'fill="{CHANGED if str(i) in changed else shade}"/>'
        for i, shade in enumerate(shades)
    ]
    return f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>' + "".join(cells)


def text(content: str) -> str:
    """Return a few letters."""
    return (
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        f'<text x="{WIDTH / 2:g}" y="26" text-anchor="middle" font-size="14" fill="#20262d">{content}</text>'
    )


def several(icon: str) -> str:
    """Return four small ones side by side."""
    half = f'<g transform="scale(.44)">{icon}</g>'
    places = [(2, 2), (29, 2), (2, 22), (29, 22)]
    return f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>' + "".join(
        f'<g transform="translate({x} {y})">{half}</g>' for x, y in places
    )


ICONS: dict[str, Callable[[], str]] = {
    "image": landscape,
    "view 1": lambda: landscape("#cfe6fb", 0.35, 1.5),
    "view 2": lambda: landscape("#f6dcc3", 0.05, 1.7),
    "large crops": lambda: landscape("#f6dcc3", 0.1, 1.3),
    "small crops": lambda: several(landscape("#e5d8f3", 1.1, 2.4)),
    "patches": lambda: patches("", SKY),
    "few masked": lambda: patches(FEW, HIDDEN),
    "block masked": lambda: patches(BLOCK, HIDDEN),
    "most masked": lambda: patches(FOUR, HIDDEN),
    "visible patches": lambda: patches(MOST, "#ffffff"),
    "hidden patches": lambda: patches(inverse(MOST), "#ffffff"),
    "masked patches": lambda: patches(inverse(FOUR), "#ffffff"),
    "context": lambda: patches(BLOCK, "#ffffff"),
    "targets": lambda: patches(inverse(BLOCK), "#ffffff"),
    "signal": curve,
    "noisy signal": lambda: curve(noise=0.9),
    "crop 1": lambda: curve(stop=0.7, gaps=True),
    "crop 2": lambda: curve(start=0.3, gaps=True),
    "window": lambda: windows((0.3, 0.52)),
    "near windows": lambda: windows((0.2, 0.42), (0.38, 0.6)),
    "other windows": lambda: windows((0.72, 0.94)),
    "spectrum": lambda: bars("2584312"),
    "changed spectrum": lambda: bars("2504362", changed="5"),
    "steps": lambda: bars("46357264"),
    "row": row,
    "changed row": lambda: row("134"),
    "replaced": lambda: text("010110"),
    "number": lambda: text("no. 17"),
}
