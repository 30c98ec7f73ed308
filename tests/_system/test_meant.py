"""A path that should be a run's: what it may be instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_registry._system.meant import what_was_meant
from ssl_registry.checkpoint.io import find_checkpoint
from ssl_registry.errors import CheckpointError, ConfigError
from ssl_registry.runs.finetuned import find_finetuned
from ssl_registry.workflows.report.facts import read_facts


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Photographs in class folders, a table, and runs at two depths."""
    for name in ("photos/cat/1.png", "photos/dog/2.JPG", "photos/notes.txt", "gait/a.csv", "table.csv", "empty/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("runs/first", "runs/digits/second", "runs/.lost"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
    (tmp_path / "runs/first/metrics.csv").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("photos", ". It holds images: samples go behind --data, as in --data "),
        ("gait", ". It holds data: samples go behind --data"),
        ("photos/dog/2.JPG", ". It is an image: samples"),
        ("table.csv", ". It is a file of data: samples"),
        ("runs", ". It holds runs: give one of them, such as {place}/runs/first"),
        ("runs/frist", ". Did you mean '{place}/runs/first'?"),
        ("rusn/first", ". Did you mean '{place}/runs/first'?"),
        ("runs/digits/secnd", ". Did you mean '{place}/runs/digits/second'?"),
        ("first", ". Did you mean '{place}/runs/first'?"),
    ],
)
def test_what_was_meant(place: Path, name: str, words: str) -> None:
    """Samples, a folder of runs, a slip in a name, and a folder that was left out."""
    assert what_was_meant(place / name).startswith(words.format(place=place))


@pytest.mark.parametrize("name", ["empty", "elsewhere", "runs/first", "photos/notes.txt", "x" * 300])
def test_nothing_is_guessed(place: Path, name: str) -> None:
    """Where nothing is near."""
    assert what_was_meant(place / name) == ""


def test_checkpoints_of_any_name_are_opened(place: Path) -> None:
    """Other toolboxes end theirs in many ways."""
    for name in ("moco.pth.tar", "x.ckpt", "weights.pt", "w"):
        (place / name).touch()
        assert find_checkpoint(place / name) == place / name


@pytest.mark.parametrize("opener", [find_checkpoint, find_finetuned, read_facts])
def test_all_that_open_runs_say_it(place: Path, opener: Callable[[Path], object]) -> None:
    """`evaluate` and `--from`, `predict`, and `report`."""
    with pytest.raises((CheckpointError, ConfigError), match="It holds images: samples go behind --data"):
        opener(place / "photos")
