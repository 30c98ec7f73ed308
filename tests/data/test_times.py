"""The column of time of recordings: by its name and by values that rise; and what the line tells of channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssl_registry.data import open_source
from ssl_registry.data.source import Source


def walks(
    path: Path, *, columns: dict[str, list[float]] | None = None, shuffled: bool = False, **options: object
) -> Source:
    """Write two sessions of 20 and 30 rows with three channels, and open them."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"session": ["a"] * 20 + ["b"] * 30})
    for name, values in (columns or {}).items():
        frame[name] = values
    for axis in "xyz":
        frame[f"acc_{axis}"] = generator.normal(size=50).round(3)
    if shuffled:
        frame = frame.sample(frac=1, random_state=0)
    frame.to_csv(path / "x.csv", index=False)
    return open_source(str(path / "x.csv"), sample_column="session", window_length=10, **options)


EVEN = [20.0 * at for at in (*range(20), *range(30))]  # it begins anew in each session
UNEVEN = [float(at * at) for at in EVEN]


@pytest.mark.parametrize("name", ["t", "t_ms", "Time (s)", "ms", "elapsed", "ts", "Unix Timestamp"])
@pytest.mark.parametrize("values", [EVEN, UNEVEN])
def test_time_of_any_usual_name(tmp_path: Path, name: str, values: list[float]) -> None:
    """It orders the rows and is no channel; the line names it, and the channels."""
    source = walks(tmp_path, columns={name: values})
    assert source.input_shape == (3, 10)
    assert f"signals by 'session', in order of '{name}'; 3 channels: acc_x, acc_y, acc_z;" in source.decided


def test_dates_of_any_usual_name(tmp_path: Path) -> None:
    """Not only numbers."""
    dates = pd.date_range("2024-01-01", periods=50, freq="s").strftime("%Y-%m-%d %H:%M:%S").tolist()
    assert "in order of 'ts'; 3 channels" in walks(tmp_path, columns={"ts": dates}).decided


def test_rows_in_disorder(tmp_path: Path) -> None:
    """An even time orders them."""
    ordered = walks(tmp_path, columns={"t_ms": EVEN})
    shuffled = walks(tmp_path, columns={"t_ms": EVEN}, shuffled=True)
    assert shuffled.input_shape == (3, 10)
    assert sorted(shuffled.train.x[:, 0, 0].tolist()) == pytest.approx(sorted(ordered.train.x[:, 0, 0].tolist()))


def test_what_does_not_rise_is_a_channel(tmp_path: Path) -> None:
    """Though it is called like time; the line says so and names the option."""
    source = walks(tmp_path, columns={"t": [float(at % 7) for at in range(50)]})
    assert source.input_shape == (4, 10)
    assert "4 channels: t, acc_x, acc_y, acc_z" in source.decided
    assert "'t' is a channel, though it is called like time" in source.decided
    assert "--data.drop t " in source.decided


def test_second_columns_of_time_are_left_out(tmp_path: Path) -> None:
    """Beside `time`, or beside each other."""
    source = walks(tmp_path, columns={"t_ms": EVEN, "time": EVEN, "elapsed": UNEVEN})
    assert source.input_shape == (3, 10)
    assert "in order of 'time'" in source.decided
    assert "'t_ms' (a second column of time), 'elapsed' (a second column of time)" in source.decided


def test_words_in_a_column_time_are_told(tmp_path: Path) -> None:
    """They order nothing; another column may."""
    words = [f"{at} o'clock" for at in range(50)]
    source = walks(tmp_path, columns={"time": words, "t_ms": EVEN})
    assert "in order of 't_ms'" in source.decided
    assert "'time' (neither numbers nor dates, which would order the rows)" in source.decided


def test_a_counter_of_another_name_is_told(tmp_path: Path) -> None:
    """It stays a channel: only the user knows."""
    source = walks(tmp_path, columns={"frame": EVEN})
    assert source.input_shape == (4, 10)
    assert "'frame' rises by the same step in each recording, as a counter does: --data.drop frame" in source.decided
    dropped = walks(tmp_path, columns={"frame": EVEN}, drop_columns=("frame",))
    assert dropped.input_shape == (3, 10)
    assert "counter" not in dropped.decided


def test_many_channels_are_counted(tmp_path: Path) -> None:
    """The first ones are named."""
    more = {f"c{number}": np.random.default_rng(number).normal(size=50).tolist() for number in range(6)}
    assert "9 channels: c0, c1, c2, c3 and 5 more" in walks(tmp_path, columns=more).decided


def test_recordings_are_told_apart_beside_time_of_any_name(tmp_path: Path) -> None:
    """Where it rises within them; in a table of other rows they are features."""
    rising = pd.DataFrame(
        {"trial": [0] * 5 + [1] * 5, "t_ms": [*range(5), *range(5)], "x": [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]}
    )
    rising.to_csv(tmp_path / "x.csv", index=False)
    source = open_source(str(tmp_path / "x.csv"))
    assert (source.modality, source.input_shape) == ("signal", (1, 5))
    rising.assign(t_ms=rising["x"]).to_csv(tmp_path / "x.csv", index=False)
    assert open_source(str(tmp_path / "x.csv")).modality == "table"
