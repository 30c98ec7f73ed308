"""Numbers as people write them in tables: $1,234.50, 1.234,50 €, 12 %, 1'000, (5) for minus five."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

__all__ = ["begins_with_digit", "read_number", "unit_of"]

CURRENCIES = "$€£¥₹"
# A space, a narrow or unbreakable one, a comma or an apostrophe between groups of three.
GROUPED = re.compile(r"[+-]?\d{1,3}([ ,'\u00a0\u202f\u2019]\d{3})+(\.\d+)?")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
POINT_AND_COMMA = str.maketrans(".,", ",.")


def read_number(cell: str, *, decimal_comma: bool = False) -> tuple[float, str] | None:
    """Return a number and its sign of a currency or of per cent, "" without one; None for what is no number.

    Args:
        cell: as it was written.
        decimal_comma: a comma stands before the decimals, and a point between groups of three.

    >>> [read_number(cell) for cell in ("$1,234.50", "12 %", "1'000", "(5)", "-€ 3", "5 kg", "1,2")]
    [(1234.5, '$'), (12.0, '%'), (1000.0, ''), (-5.0, ''), (-3.0, '€'), None, None]
    >>> [read_number(cell, decimal_comma=True) for cell in ("1.234,50 €", "1,2", "1.2")]
    [(1234.5, '€'), (1.2, ''), None]
    """
    text, sign = cell.strip(), 1.0
    if decimal_comma:
        text = text.translate(POINT_AND_COMMA)
    if text.startswith("(") and text.endswith(")"):  # as accountants write what is below zero
        text, sign = text[1:-1].strip(), -1.0
    if text[:1] in ("-", "+") and text[1:2] in CURRENCIES:
        text, sign = text[1:], -sign if text[0] == "-" else sign
    found = [character for character in text if character in CURRENCIES + "%"]
    if len(found) > 1:
        return None
    unit = found[0] if found else ""
    if unit == "%" and text.startswith("%"):
        return None
    text = text.removeprefix(unit) if unit and text.startswith(unit) else text.removesuffix(unit)
    text = text.strip()
    if GROUPED.fullmatch(text):
        text = re.sub(r"[ ,'\u00a0\u202f\u2019]", "", text)
    return (sign * float(text), unit) if NUMBER.fullmatch(text) else None


def unit_of(cells: Collection[str]) -> tuple[str, bool] | None:
    """Return the one sign that all cells have, and whether a comma stands before their decimals.

    A point before the decimals is tried first: where all cells allow both, such as 1,234, it is that.

    Returns:
        None if one of the cells is no number in either way, or they have several signs.

    Example:
        >>> unit_of(["$5", "$7,000"]), unit_of(["1.234,50 €", "7 €"])
        (('$', False), ('€', True))
        >>> unit_of(["$5", "€5"]), unit_of(["$5", "none"])
        (None, None)
    """
    for decimal_comma in (False, True):
        found = [read_number(cell, decimal_comma=decimal_comma) for cell in cells]
        units = {one[1] for one in found if one is not None}
        if None not in found and len(units) == 1:
            return units.pop(), decimal_comma
    return None


def begins_with_digit(cells: Iterable[str]) -> bool:
    """Whether all cells begin as numbers do: words that may be meant as quantities.

    >>> begins_with_digit(["5 kg", "7 kg"]), begins_with_digit(["red", "7"])
    (True, False)
    """
    return all(re.match(r"[+-]?[\d.]*\d", cell) for cell in cells)
