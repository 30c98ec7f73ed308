"""Why an image cannot be read, in words: what the file is instead, or what its reader says."""

from __future__ import annotations

import re

from PIL import UnidentifiedImageError

__all__ = ["why_broken"]

# What files begin with that are called like images and are none that can be read.
BEGINNINGS = (
    (rb"version https://git-lfs", "a pointer of Git LFS, not the image itself: git lfs pull fetches it"),
    (rb".{4}ftyp(heic|heix|heif|mif1|msf1)", "HEIC: convert it to .jpg or .png"),
    (rb".{4}ftyp(avif|avis)", "AVIF: convert it to .jpg or .png"),
    (rb".{4}ftyp", "a video"),
    (rb"%PDF", "a PDF"),
    (rb"PK\x03\x04", "a zip archive"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"\s*(<\?xml[^>]*>\s*)?<svg", "SVG, a drawing of lines: convert it to .png"),
    (rb"\s*<(!doctype html|html)", "a web page"),
)
LOOKED_AT = 512  # bytes that tell what a file is
OBJECT = re.compile(r"<[\w.]+ object at 0x[0-9a-f]+>")  # as Python writes what has no name


def why_broken(error: Exception, data: bytes | None) -> str:
    """Return why an image cannot be read.

    Args:
        error: that its reader raised.
        data: its bytes; None where they cannot be had.

    Example:
        >>> why_broken(UnidentifiedImageError("cannot identify image file <_io.BytesIO object at 0x7f00>"), b"hello")
        'no image that Pillow can read: text'
        >>> why_broken(FileNotFoundError(2, "No such file or directory"), None)
        'No such file or directory'
    """
    if data is not None and not data:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        what = _what(data or b"")
        return "no image that Pillow can read" + (f": {what}" if what else "")
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    words = " ".join(OBJECT.sub("the file", said).split())
    # Libraries raise anything; of what they say without a word the type alone tells something.
    return words if isinstance(error, OSError) and words else f"{type(error).__name__}: {words}".rstrip(": ")


def _what(data: bytes) -> str:
    """Return what a file is by its first bytes; "" where they do not tell."""
    start = data[:LOOKED_AT]
    for beginning, what in BEGINNINGS:
        if re.match(beginning, start, re.IGNORECASE | re.DOTALL):
            return what
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # a letter may be cut in two
            return ""
        text = start[: error.start].decode("utf-8")
    return "text" if text.isprintable() or all(one.isprintable() or one.isspace() for one in text) else ""
