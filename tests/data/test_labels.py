"""Classes from labels of any type, and what is held out of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_registry.data.arrays.labels import encode_labels, stratified_holdout
from ssl_registry.errors import DataError


@pytest.mark.parametrize(
    ("labels", "codes", "classes"),
    [
        (np.array([3, 7, 3]), [0, 1, 0], ("3", "7")),
        (np.array([[2.0], [1.0]]), [1, 0], ("1", "2")),
        (np.array(["b", "a"]), [1, 0], ("a", "b")),
        (np.array([b"b", b"a"]), [1, 0], ("a", "b")),
        (np.array([True, False]), [1, 0], ("False", "True")),
    ],
)
def test_labels_become_numbers(labels: np.ndarray, codes: list[int], classes: tuple[str, ...]) -> None:
    """Whole numbers, whole floats in a column, text and booleans are classes in sorted order."""
    found, names = encode_labels([labels], where="f: y")
    assert found[0].tolist() == codes
    assert found[0].dtype == np.int64
    assert names == classes


def test_parts_share_classes() -> None:
    """A class that only one part has takes its place in both."""
    codes, classes = encode_labels([np.array([5, 9]), np.array([7, 9, 9])], where="f: y")
    assert [part.tolist() for part in codes] == [[0, 2], [1, 2, 2]]
    assert classes == ("5", "7", "9")


def test_names_keep_numbers() -> None:
    """With names, labels are positions among them, also where a class has no sample."""
    codes, classes = encode_labels([np.array([2, 0], np.uint8)], where="f: y", names=["a", "b", "c"])
    assert codes[0].tolist() == [2, 0]
    assert classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (np.eye(3), None, r"shape \(3, 3\).*argmax"),
        (np.array([0.5]), None, "fractions"),
        (np.array([np.nan]), None, "fractions or NaN"),
        (np.array([1j]), None, "dtype complex128"),
        (np.array([], int), None, "is empty"),
        (np.array([0, 2]), ["a", "b"], "from 0 to 1; they are int64 from 0 to 2"),
    ],
)
def test_what_is_no_class_is_told(labels: np.ndarray, names: list[str] | None, message: str) -> None:
    """The error names the place and what was expected."""
    with pytest.raises(DataError, match=f"f: y.*{message}"):
        encode_labels([labels], where="f: y", names=names)


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.floats(0.01, 0.99), st.integers(0, 5))
def test_holdout_is_stratified(labels: list[int], share: float, seed: int) -> None:
    """Each class of two or more is in both parts, by its share; nothing is lost or doubled."""
    array = np.array(labels)
    train, test = stratified_holdout(array, share, seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    for label in set(labels):
        count, held = labels.count(label), int((array[test] == label).sum())
        assert held == (0 if count == 1 else min(max(round(share * count), 1), count - 1))


def test_holdout_depends_on_its_seed_alone() -> None:
    """The same seed holds the same samples out."""
    labels = np.arange(100) % 4
    assert stratified_holdout(labels, 0.2, 1)[1].tolist() == stratified_holdout(labels, 0.2, 1)[1].tolist()
    assert stratified_holdout(labels, 0.2, 1)[1].tolist() != stratified_holdout(labels, 0.2, 2)[1].tolist()


def test_no_share_holds_nothing_out() -> None:
    """A share of 0 leaves everything in the train part."""
    assert len(stratified_holdout(np.zeros(5, int), 0.0, 0)[1]) == 0
