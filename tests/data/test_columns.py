"""What a column is by its name."""

from __future__ import annotations

import pytest

from ssl_registry.data import DataOptions
from ssl_registry.data.columns import read_roles
from ssl_registry.errors import DataError


def roles(*names: str, **options: object):
    return read_roles(names, DataOptions(**options), where="x.csv")


@pytest.mark.parametrize("name", ["label", "Label", " LABEL", "target", "class", "Class", "y", "fine_label", "labels"])
def test_names_of_labels(name: str) -> None:
    """In any case; the docs say so."""
    assert roles("a", name).label == name


def test_a_second_label_is_no_feature() -> None:
    """It would give the first one away; it is left out and told."""
    found = roles("a", "Label", "fine_label", "target")
    assert (found.label, found.features) == ("Label", ("a",))
    assert [name for name, why in found.left_out if why == "a second label"] == ["fine_label", "target"]


@pytest.mark.parametrize("name", ["__index_level_0__", "Unnamed: 0", "", "level_0", "Unnamed: 0.1", "rownames"])
def test_an_index_is_no_feature(name: str) -> None:
    """What pandas and R write beside the data."""
    found = roles(name, "a")
    assert (found.features, found.left_out) == (("a",), ((name, "an index"),))


@pytest.mark.parametrize("name", ["is_test", "Is_Test", "IS TEST", "split", "Part"])
def test_names_of_parts(name: str) -> None:
    """By marks or by words."""
    found = roles("a", name)
    assert (found.part, found.features) == (name, ("a",))


def test_moments_of_signals() -> None:
    """Sample and time in any case; y is a channel there, and a feature's name may be time elsewhere."""
    found = roles("Sample", "TIME", "x", "y")
    assert (found.sample, found.time, found.label, found.features) == ("Sample", "TIME", None, ("x", "y"))
    assert roles("time", "a").features == ("time", "a")


@pytest.mark.parametrize("name", ["recording", "Trial ID", "sample_id", "series"])
def test_names_of_signals_beside_time(name: str) -> None:
    """Without a column of time they are features, and where no other name is to be guessed."""
    found = roles(name, "time", "x", "y", "activity")
    assert (found.sample, found.time, found.label, found.guessed) == (name, "time", None, True)
    assert roles(name, "x", "label").sample is None
    assert read_roles([name, "time", "x"], DataOptions(), where="x.csv", guess=False).sample is None


def test_the_user_names_the_column_of_signals() -> None:
    """Any; time and y are read accordingly."""
    found = roles("person", "timestamp", "x", "y", sample_column="Person")
    assert (found.sample, found.time, found.label, found.guessed) == ("person", "timestamp", None, False)
    with pytest.raises(DataError, match=r"no column 'persn', which --data\.sample names"):
        roles("person", "x", sample_column="persn")


@pytest.mark.parametrize("name", ["id", "Id", "ID", "PassengerId", "row_id", "index", "patient id"])
def test_names_that_may_number_the_rows(name: str) -> None:
    """Their values decide."""
    assert roles(name, "a").identifiers == (name,)


@pytest.mark.parametrize("name", ["humid", "grid", "width", "valid"])
def test_names_that_merely_end_so(name: str) -> None:
    """They are features."""
    assert roles(name, "a").identifiers == ()


def test_the_user_says_it() -> None:
    """A label of any name, columns to leave out; the usual names of labels are no features all the same."""
    found = roles("a", "b", "price", "class", label_column="Price", drop_columns="b")
    assert (found.label, found.features) == ("price", ("a",))
    assert found.left_out == (("b", "dropped by --data.drop"), ("class", "a second label"))


@pytest.mark.parametrize("options", [{"label_column": "prise"}, {"drop_columns": ("prise",)}])
def test_a_column_that_is_not_there(options: dict[str, object]) -> None:
    """It is told with the nearest one."""
    with pytest.raises(DataError, match=r"no column 'prise', which --data\.\w+ names\. Did you mean 'price'.*a, price"):
        roles("a", "price", **options)


def test_two_columns_of_one_name() -> None:
    """Also where a space makes them differ."""
    with pytest.raises(DataError, match="two columns of one name, 'a'"):
        roles("a", "a ")


@pytest.mark.parametrize(
    "name",
    [
        "t",
        "t_ms",
        "time_ms",
        "Time (s)",
        "time[s]",
        "ts",
        "seconds",
        "ms",
        "millis",
        "Elapsed",
        "elapsed (s)",
        "epoch (ms)",
        "timestamp (+0700)",
        "Unix Timestamp",
        "time_utc",
        "T [µs]",
        "timestamp_ns",
        "date",
    ],
)
def test_names_that_may_be_time(name: str) -> None:
    """Their values decide, so they are features until then."""
    assert roles("sample", name, "x").times == (name,)


@pytest.mark.parametrize("name", ["temp", "test", "times_seen", "tmin", "lifetime", "x", "gyr_z", "timeout", "s"])
def test_names_that_are_not_time(name: str) -> None:
    """Channels of such names are never asked about."""
    assert roles("sample", name, "a").times == ()
