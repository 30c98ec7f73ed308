"""Why an image cannot be read is told in words."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from ssl_registry.data import open_source
from ssl_registry.data.images.encoded import tell_broken
from ssl_registry.data.images.why_broken import why_broken
from ssl_registry.errors import DataError

NOT_KNOWN = UnidentifiedImageError("cannot identify image file <_io.BytesIO object at 0x7f3a>")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"hello", "no image that Pillow can read: text"),
        ("größer".encode() * 90, "no image that Pillow can read: text"),
        (b"", "the file is empty"),
        (b"\x00\x01\xff" * 99, "no image that Pillow can read"),
        (b"<!DOCTYPE html><html>404</html>", "no image that Pillow can read: a web page"),
        (b"\0\0\0\x18ftypheic\0\0", "no image that Pillow can read: HEIC: convert it to .jpg or .png"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "no image that Pillow can read: a pointer of Git LFS"),
        (b"%PDF-1.7", "no image that Pillow can read: a PDF"),
        (b'<?xml version="1.0"?>\n<svg width="9">', "no image that Pillow can read: SVG"),
    ],
)
def test_what_a_file_is_instead(data: bytes, words: str) -> None:
    """By its first bytes, where they tell."""
    assert why_broken(NOT_KNOWN, data).startswith(words)
    assert "object at" not in why_broken(NOT_KNOWN, data)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError("image file is truncated (3 bytes not processed)"), "image file is truncated (3 bytes not processed)"),
        (PermissionError(13, "Permission denied", "/x/a.png"), "Permission denied"),
        (ValueError("bad <_io.BytesIO object at 0x7f3a>"), "ValueError: bad the file"),
        (ValueError(), "ValueError"),
    ],
)
def test_what_a_reader_says(error: Exception, words: str) -> None:
    """Without Python's addresses, and without the name of an error that its words tell."""
    assert why_broken(error, b"x") == words


def test_the_line_that_counts() -> None:
    """One image is one, and of several the first is named."""
    assert tell_broken({"a.png": "why"}, "list").startswith(
        "1 image could not be read and another took its place: a.png (why)"
    )
    assert tell_broken({"a.png": "why", "b.png": "x"}, "list").startswith(
        "2 images could not be read and others took their"
    )


def test_a_folder_without_any_image_says_why(tmp_path: Path) -> None:
    """By its first file."""
    (tmp_path / "a.png").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"are they images\? The first: no image that Pillow can read: text"):
        open_source(str(tmp_path))


def test_a_file_that_is_cut(tmp_path: Path) -> None:
    """As Pillow words it."""
    noise = BytesIO()
    Image.effect_noise((64, 64), 90).save(noise, "PNG")
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(noise.getvalue()[:1000])
    source = open_source(str(tmp_path), image_size=8)
    assert source.train[1].shape == (1, 8, 8)
    assert source.train.broken[str(tmp_path / "b.png")].startswith("image file is truncated")
