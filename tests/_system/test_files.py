"""Files are written whole or not at all."""

from __future__ import annotations

import pytest

from ssl_registry._system.atomic import whole_file
from ssl_registry.errors import SSLRegistryError


def test_file_takes_its_place(tmp_path):
    """It is written beside, folders included, and replaces what was there."""
    path = tmp_path / "new" / "file"
    for text in ("one", "two"):
        with whole_file(path) as file:
            file.write(text.encode())
        assert path.read_text() == text
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_failure_leaves_what_was_there(tmp_path):
    """An error in the midst passes through, and nothing half-written stays."""
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyError), whole_file(path) as file:
        {}[file.write(b"half")]
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_full_disk(tmp_path, small_disk):
    """It is told in one line, and the old file stays."""
    path = tmp_path / "file"
    path.write_text("old")
    small_disk(1000)
    with pytest.raises(SSLRegistryError, match=r"cannot be written: .*nothing was changed"), whole_file(path) as file:
        file.write(bytes(2000))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_link_is_followed(tmp_path):
    """What it points to is replaced, and it stays a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real/file")
    with whole_file(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real/file").read_text() == "new"
