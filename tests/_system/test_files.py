"""Files and folders are written whole or not at all."""

from __future__ import annotations

import pytest

from ssl_registry._system.atomic import whole_file, whole_folder
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


def test_folder_takes_its_place(tmp_path):
    """What was there before is replaced as a whole."""
    path = tmp_path / "folder"
    for name in ("one", "two"):
        with whole_folder(path) as beside:
            (beside / name).write_text(name)
        assert [file.name for file in path.iterdir()] == [name]
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_folder_on_a_full_disk(tmp_path, small_disk):
    """The old folder stays as it was."""
    path = tmp_path / "folder"
    with whole_folder(path) as beside:
        (beside / "old").write_text("old")
    small_disk(1000)
    with pytest.raises(SSLRegistryError, match="cannot be written"), whole_folder(path) as beside:
        (beside / "new").write_bytes(bytes(2000))
    assert [file.name for file in path.iterdir()] == ["old"]
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]
