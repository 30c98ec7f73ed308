"""An export replaces what an export wrote, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_registry.errors import ConfigError, SSLRegistryError
from ssl_registry.workflows.export.placing import MANIFEST, replaced_export


def put(folder: Path, **files: str) -> None:
    with replaced_export(folder) as beside:
        for name, text in files.items():
            path = beside / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


def texts(folder: Path) -> dict[str, str]:
    """Every file but the list of them."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def test_new_folder_and_empty_folder(tmp_path: Path) -> None:
    """Both are filled as a whole."""
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        put(tmp_path / name, config="1", parts__a="2")
        assert texts(tmp_path / name) == {"config": "1", "parts/a": "2"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "new"]


def test_what_is_beside_an_export_stays(tmp_path: Path) -> None:
    """A clone of a hub's folder keeps its history and its notes; files that the new export does not have go."""
    folder = tmp_path / "hub"
    put(folder, config="1", weights="1", card="1")
    (folder / ".git").mkdir()
    (folder / ".git/HEAD").write_text("main")
    (folder / "notes.md").write_text("mine")
    put(folder, config="2", weights="2")
    assert texts(folder) == {"config": "2", "weights": "2", ".git/HEAD": "main", "notes.md": "mine"}


@pytest.mark.parametrize("name", ["config.json", "notes.md", ".git"])
def test_folder_of_somebody_else(tmp_path: Path, name: str) -> None:
    """Whatever is in it, without the list of an export it is left alone."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text("mine")
    with pytest.raises(ConfigError, match="holds files that no export wrote"):
        put(folder, **{"config.json": "1"})
    assert texts(folder) == {name: "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_file_that_was_changed(tmp_path: Path) -> None:
    """A card that somebody edited is theirs from then on; without it the export goes on."""
    put(tmp_path / "hub", card="1", config="1")
    (tmp_path / "hub/card").write_text("edited")
    with pytest.raises(ConfigError, match=r"hub/card is not what was exported"):
        put(tmp_path / "hub", card="2", config="2")
    assert texts(tmp_path / "hub") == {"card": "edited", "config": "1"}
    (tmp_path / "hub/card").unlink()
    put(tmp_path / "hub", card="2", config="2")
    assert texts(tmp_path / "hub") == {"card": "2", "config": "2"}


def test_new_file_in_the_place_of_a_strangers(tmp_path: Path) -> None:
    """An export of another form does not take a name that somebody used."""
    put(tmp_path / "hub", config="1")
    (tmp_path / "hub/README.md").write_text("mine")
    with pytest.raises(ConfigError, match=r"README\.md was not written by an export"):
        put(tmp_path / "hub", **{"config": "2", "README.md": "2"})
    assert texts(tmp_path / "hub") == {"config": "1", "README.md": "mine"}


def test_links(tmp_path: Path) -> None:
    """A link to a folder is followed and stays a link; a link to nothing is told; a file that is a link is replaced."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    put(tmp_path / "link", config="1")
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "elsewhere").write_text("1")
    (tmp_path / "real/config").unlink()
    (tmp_path / "real/config").symlink_to(tmp_path / "elsewhere")
    put(tmp_path / "link", config="2")
    assert texts(tmp_path / "real") == {"config": "2"}
    assert (tmp_path / "elsewhere").read_text() == "1"
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(SSLRegistryError, match="nowhere cannot be written"):
        put(tmp_path / "nowhere", config="1")


def test_stopped_between_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the files are new: the next export knows all of them for its own."""
    put(tmp_path / "hub", a="1", b="1")
    moved: list[Path] = []
    replace = Path.replace

    def once(self: Path, target: Path) -> Path:
        if self.name in ("a", "b"):
            if moved:
                raise KeyboardInterrupt
            moved.append(self)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", once)
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path / "hub", a="2", b="2")
    monkeypatch.undo()
    assert sorted(texts(tmp_path / "hub").values()) == ["1", "2"]
    put(tmp_path / "hub", a="3", b="3")
    assert texts(tmp_path / "hub") == {"a": "3", "b": "3"}


@pytest.mark.parametrize(
    "manifest",
    [
        "{",
        "[]",
        '{"files": 3}',
        json.dumps({"files": {"../victim": ["0"]}}),
        json.dumps({"files": {"/etc/passwd": ["0"]}}),
        json.dumps({"files": {"sub/victim": ["0"]}}),
        json.dumps({"files": {"link/victim": ["0"]}}),
    ],
)
def test_hostile_list_of_files(tmp_path: Path, manifest: str) -> None:
    """A list that names files elsewhere, or is none, replaces and removes nothing."""
    folder = tmp_path / "hub"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/victim").write_text("mine")
    (tmp_path / "victim").write_text("mine")
    (folder / "link").symlink_to(tmp_path)
    (folder / MANIFEST).write_text(manifest)
    with pytest.raises(ConfigError):
        put(folder, config="1")
    assert (tmp_path / "victim").read_text() == (folder / "sub/victim").read_text() == "mine"


def test_full_disk(tmp_path: Path, small_disk: Callable[[int], None]) -> None:
    """The earlier export stays as it was."""
    put(tmp_path / "hub", config="1")
    small_disk(1000)
    with pytest.raises(SSLRegistryError, match="hub cannot be written"):
        put(tmp_path / "hub", config="2" * 2000)
    assert texts(tmp_path / "hub") == {"config": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]


def test_file_in_its_place(tmp_path: Path) -> None:
    """It is told."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is a file"):
        put(tmp_path / "file", config="1")
