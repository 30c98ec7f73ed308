"""Samples that a method does not take: the error says how the data must be read, or which methods take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssl_registry import registry
from ssl_registry.cli import main
from ssl_registry.contract.needs import Needs
from ssl_registry.data import open_source
from ssl_registry.data.source import Source
from ssl_registry.training.other_modality import methods_for, remedy

SIGNALS, TABLES = Needs(modalities=("signal",)), Needs(modalities=("table",))


def walks(folder: Path, column: str, time: str = "t_ms", **more: object) -> str:
    """Write a row a moment: three recordings of ten rows."""
    frame = pd.DataFrame(
        {column: np.repeat(["a", "b", "c"], 10), time: np.tile(np.arange(10), 3), "x": np.arange(30) ** 2 % 7 / 2}
    )
    frame.assign(**more).to_csv(folder / "walks.csv", index=False)
    return str(folder / "walks.csv")


def images() -> Source:
    return open_source("digits")


@pytest.mark.parametrize("column", ["session", "who", "Person ID"])
@pytest.mark.parametrize("time", ["t_ms", "step"])
def test_the_column_that_tells_recordings_apart_is_named(tmp_path: Path, column: str, time: str) -> None:
    """By its values: each in one long run of rows."""
    source = open_source(walks(tmp_path, column, time))
    assert source.likely_sample == column
    assert f"--data.sample {column} makes recordings of the rows" in remedy(SIGNALS, source, registry=registry)
    assert (f"where rows make signals: --data.sample {column} tells these apart" in source.decided) == (time == "t_ms")


def test_of_several_the_one_in_which_time_rises(tmp_path: Path) -> None:
    """A person with two sessions has times twice."""
    source = open_source(walks(tmp_path, "walk", person=np.repeat(["p", "q"], [20, 10])))
    assert source.likely_sample == "walk"


def test_no_column_repeats_so(tmp_path: Path) -> None:
    """Then the message says what there is to say."""
    generator = np.random.default_rng(0)
    pd.DataFrame({"a": generator.normal(size=30), "b": ["x", "y", "z"] * 10}).to_csv(tmp_path / "x.csv", index=False)
    source = open_source(str(tmp_path / "x.csv"))
    assert source.likely_sample is None
    told = remedy(SIGNALS, source, registry=registry)
    assert "--data.sample COLUMN" in told
    assert "--modality signal" in told


def test_methods_for_the_samples_are_named() -> None:
    """Those that take nothing else first."""
    names = methods_for("image", registry)
    told = remedy(TABLES, images(), registry=registry)
    assert f"Methods that take images: {', '.join(names[:5])} and more (ssl-registry list)" in told
    assert "--data.sample" not in told
    assert "scarf" not in names
    assert set(methods_for("table", registry)[:2]) == {"scarf", "vime"}


def test_nothing_is_said_where_the_samples_are_taken() -> None:
    """No plugin is imported for it."""
    assert remedy(Needs(), images(), registry=registry) == ""


@pytest.mark.parametrize("command", ["train", "views"])
def test_the_command_line_names_no_argument_of_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """But options and methods."""
    out = str(tmp_path / ("run" if command == "train" else "views.png"))
    assert main([command, "ts2vec", "--data", walks(tmp_path, "session"), "--out", out]) == 2
    said = capsys.readouterr().err
    assert "ts2vec does not take tables; it takes signals. " in said
    assert "--data.sample session" in said
    assert "input_shape" not in said
