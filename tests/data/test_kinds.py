"""Kinds of sources: those of plugins are opened as the core's are, and break only themselves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torchvision import datasets

from ssl_registry.cli.data_arguments import data_help
from ssl_registry.data import open_source
from ssl_registry.data.sources import SOURCES
from ssl_registry.errors import DataError, PluginError

Make = Callable[..., Path]

RAMP = """
from ssl_registry.data.kinds import SourceKind

def open_ramp(spec, options):
    import torch
    from ssl_registry.data import Source
    from ssl_registry.data.samples import Samples
    size = options.image_size or 8
    return Source(spec or "ramp", "image", (1, size, size), Samples(torch.zeros(12, 1, size, size)))

KIND = SourceKind("ramp", "ramps of grey", open=open_ramp, matches=lambda spec: spec.endswith(".ramp"))
"""


@pytest.fixture
def add(make_plugin: Make) -> Make:
    """Install a plugin that adds kinds of sources."""

    def install(distribution: str, names: list[str], code: str, **options: Any) -> Path:
        entries = dict.fromkeys(names, f"{distribution.replace('-', '_')}:KIND")
        return make_plugin(distribution, entries, code=code, group="ssl_registry.sources", **options)

    return install


def test_a_plugins_kind_is_chosen_by_name_and_by_what_is_written(add: Make) -> None:
    """``NAME:REST`` asks nothing else; what the core does not know is offered to plugins."""
    add("ramp-plugin", ["ramp"], RAMP)
    assert open_source("ramp:hill", image_size=4).input_shape == (1, 4, 4)
    assert open_source("ramp:hill").name == "hill"
    assert open_source("some/x.ramp").name == "some/x.ramp"
    assert open_source("ramp:x.parquet").name == "x.parquet"  # the name wins over the core's endings


def test_the_cores_kinds_have_names_too(tmp_path: Path) -> None:
    """A folder whose name looks like something else is opened by the kind's name."""
    (tmp_path / "x.parquet").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        open_source(f"folder:{tmp_path / 'x.parquet'}")


def test_a_known_word_imports_no_plugin(add: Make) -> None:
    """A broken plugin costs nothing where the core knows what is meant."""
    add("bad-plugin", ["bad"], "raise RuntimeError('imported')")
    assert len(open_source("digits").train) == 1300
    assert "bad_plugin" not in sys.modules


def test_a_broken_plugin_leaves_others_working_and_is_named(add: Make) -> None:
    """By the error of ``--data`` when it might have been meant, and when it is asked for by name."""
    add("bad-plugin", ["bad"], "raise RuntimeError('imported')", version="1.5")
    add("ramp-plugin", ["ramp"], RAMP)
    assert open_source("x.ramp").name == "x.ramp"
    with pytest.raises(DataError, match=r"no data 'hill'.*bad: bad-plugin 1.5 fails to import \(RuntimeError"):
        open_source("hill")
    with pytest.raises(PluginError, match=r"bad-plugin 1.5 fails to import"):
        open_source("bad:hill")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("KIND = 3", "bad_plugin:KIND of bad-plugin 1.0 is a int, not a SourceKind"),
        (RAMP.replace('"ramp", "ramps', '"other", "ramps'), "calls itself 'other'"),
        (RAMP.replace('spec.endswith(".ramp")', "1 / 0"), "division by zero"),
    ],
)
def test_a_wrong_kind_is_told(code: str, words: str, add: Make) -> None:
    """Whatever an entry point may name, and whatever its `matches` raises."""
    add("bad-plugin", ["ramp"], code)
    with pytest.raises(DataError) as told:
        open_source("hill")
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (RAMP.replace("    import torch\n", "    1 / 0\n"), r"'ramp' fails to open 'hill' \(ZeroDivisionError"),
        (RAMP.replace("    import torch\n", "    return 3\n"), "'ramp' gives a int, no Source"),
    ],
)
def test_a_failure_to_open_names_the_plugin(code: str, words: str, add: Make) -> None:
    """It is the plugin's mistake, and told as such."""
    add("ramp-plugin", ["ramp"], code)
    with pytest.raises(PluginError, match=words):
        open_source("ramp:hill")


def test_conflicts_of_names_are_told(add: Make) -> None:
    """With another plugin, and with the core, whose own goes on being used."""
    add("first-ramp", ["ramp"], RAMP)
    add("second-ramp", ["ramp"], RAMP)
    add("own-digits", ["digits"], "raise RuntimeError('imported')")
    add("own-scheme", ["https"], "raise RuntimeError('imported')")
    found = {info.distribution: info for info in SOURCES.entries()}
    assert {info.status for info in found.values()} == {"conflict"}
    assert "uninstall all but one of first-ramp, second-ramp" in found["first-ramp"].problem
    assert "the core has a source of this name" in found["own-digits"].problem
    assert len(open_source("digits").train) == 1300
    with pytest.raises(PluginError, match="several distributions have it"):
        open_source("ramp:hill")


def test_two_plugins_that_match_are_a_choice(add: Make) -> None:
    """The message says how to choose."""
    add("ramp-plugin", ["ramp"], RAMP)
    add("hill-plugin", ["hill"], RAMP.replace('"ramp", "ramps', '"hill", "ramps'))
    with pytest.raises(DataError, match=r"say which: hill:x.ramp or ramp:x.ramp"):
        open_source("x.ramp")


def test_help_lists_plugins_without_importing_them(add: Make) -> None:
    """By the summary of their distribution."""
    add("odd-plugin", ["odd"], "raise RuntimeError('imported')", summary="Ramps, 100% grey.", version="2.3")
    assert "odd:... (Ramps, 100% grey.; odd-plugin 2.3)" in data_help()
    assert all(kind.described in data_help() for kind in SOURCES.own.values())
    assert "odd_plugin" not in sys.modules


def test_asking_what_is_meant_imports_no_torch() -> None:
    """Every kind of the core is asked in a fresh process."""
    code = (
        "import sys; from ssl_registry.data.sources import SOURCES;"
        "SOURCES.describe(); asked = [kind.matches('CIFAR10') for kind in SOURCES.own.values()];"
        "sys.exit(not any(asked) or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_of_torchvision_are_its_classes() -> None:
    """They are read from its source text, and found in the package."""
    found = {name: getattr(datasets, name) for name in datasets.__all__}
    classes = {name for name, cls in found.items() if isinstance(cls, type) and issubclass(cls, datasets.VisionDataset)}
    names = set(SOURCES.own["torchvision"].names())
    assert names < classes
    assert classes - names == {"DatasetFolder", "ImageFolder", "VisionDataset", "FakeData"}


def test_docs_list_every_kind() -> None:
    """The table of docs/data.md has each kind's words, as help and errors do."""
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for kind in SOURCES.own.values():
        written = ", ".join(f"`{word}`" for word in kind.written)
        extra = f"`{kind.extra}`" if kind.extra else ""
        assert f"| {kind.help} | {written} | {extra} |".replace("  ", " ") in page.replace("  ", " "), kind.name


def test_nearest_path_comes_before_data_sets(tmp_path, monkeypatch):
    """What lies on the disk is meant before torchvision's `PhotoTour`."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/table.csv").write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)
    for wrong, meant in (("photo/", "photos/"), ("photo", "photos/"), ("deep/tabel.csv", "deep/table.csv")):
        with pytest.raises(DataError, match=f"no file or folder '{wrong}'.*Did you mean '{meant}'") as raised:
            open_source(wrong)
        assert "PhotoTour" not in str(raised.value)
    with pytest.raises(DataError, match="Did you mean 'CIFAR10'"):
        open_source("CIFAR-10")


def test_a_missing_path_is_told_shortly(tmp_path, monkeypatch):
    """Where an absolute path was given, nothing of the current folder; the list of all sources is in the help."""
    (tmp_path / "Photos").mkdir()
    monkeypatch.chdir("/")
    with pytest.raises(DataError) as raised:
        open_source(str(tmp_path / "fotos"))
    told = str(raised.value)
    assert told.startswith(f"there is no file or folder '{tmp_path}/fotos'. Did you mean '{tmp_path}/Photos/'? ")
    assert "ssl-registry train METHOD --help" in told
    assert len(told) - 2 * len(str(tmp_path)) < 330
    for name in ("none.parquet", "none.tar"):
        with pytest.raises(DataError, match=f"no (file|shard) '{tmp_path}/{name}'(?! in)"):
            open_source(str(tmp_path / name))


def test_a_missing_relative_path_names_the_folder(tmp_path, monkeypatch):
    """Which is often another one than was thought."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"no file or folder 'deep/none' in {tmp_path}"):
        open_source("deep/none")
