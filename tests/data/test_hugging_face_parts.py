"""Splits of Hugging Face data sets: which are parts, and labels that are kept secret."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from ssl_registry.data import DataOptions, Source
from ssl_registry.data.decisions import Decisions
from ssl_registry.data.sources.arrow import source_from_tables
from ssl_registry.data.sources.hugging_face import choose_parts
from ssl_registry.errors import DataError


def images(*labels: Any, names: list[str] | None = None) -> pa.Table:
    cells = []
    for number in range(len(labels)):
        stream = BytesIO()
        Image.new("L", (4, 4), number).save(stream, "PNG")
        cells.append({"bytes": stream.getvalue(), "path": None})
    table = pa.table({"image": cells, "label": list(labels)})
    if names is None:
        return table
    features = json.dumps({"info": {"features": {"label": {"names": names}}}})
    return table.replace_schema_metadata({b"huggingface": features.encode()})


def opened(options: DataOptions | None = None, **tables: pa.Table) -> Source:
    options, told = options or DataOptions(image_size=4), Decisions()
    return source_from_tables("set", choose_parts("set", tables, options, told), options, told)


NAMES = ["cat", "dog"]


def test_a_labelled_validation_part_wins_over_a_secret_test_part() -> None:
    """ImageNet's form; what is not used is told."""
    source = opened(
        train=images(0, 1, 0, names=NAMES), validation=images(1, 0, names=NAMES), test=images(-1, -1, names=NAMES)
    )
    assert source.test.labels.tolist() == [1, 0]
    assert "'test' (a part of 2 samples)" in source.decided


def test_a_secret_test_part_alone_is_not_used() -> None:
    """A share of the train part is held out."""
    source = opened(train=images(*[0, 1] * 5, names=NAMES), test=images(-1, -1, names=NAMES))
    assert (len(source.train), len(source.test)) == (8, 2)
    assert "a test part of 2 samples without labels" in source.decided


def test_train_labels_that_are_secret() -> None:
    """Self-supervision needs none."""
    source = opened(train=images(-1, -1, -1, names=NAMES))
    assert (source.classes, len(source.train), source.train.labels) == (None, 3, None)


def test_an_unsupervised_part_is_trained_on() -> None:
    """IMDb's and STL10's form."""
    source = opened(train=images(0, 1, names=NAMES), unsupervised=images(-1, -1, -1, names=NAMES), test=images(1, 0))
    assert source.train.labels.tolist() == [0, 1, -1, -1, -1]
    assert len(source.test) == 2


def test_another_order_of_classes() -> None:
    """Numbers of the test part are brought to those of the train part, by name."""
    source = opened(train=images(0, 1, names=NAMES), test=images(0, 1, names=["dog", "cat"]))
    assert source.test.labels.tolist() == [1, 0]
    with pytest.raises(DataError, match="set: test has the class 'cow', the training part has not; it has: cat, dog"):
        opened(train=images(0, 1, names=NAMES), test=images(0, 1, names=["cow", "cat"]))


def test_lists_of_labels_beside_images() -> None:
    """They are left out and told."""
    source = opened(train=images([0, 1], [1], []))
    assert (source.classes, len(source.train)) == (None, 3)
    assert "'label' (lists of labels)" in source.decided


def test_the_test_part_by_name() -> None:
    """Any split; one that is not there is told."""
    tables = {"train": images(0, 1), "odd": images(1, 0)}
    assert len(opened(DataOptions(image_size=4, test_data="odd"), **tables).test) == 2
    with pytest.raises(DataError, match=r"no part 'even', which --data\.test names; it has: train, odd"):
        opened(DataOptions(image_size=4, test_data="even"), **tables)


def test_parts_that_nobody_can_tell() -> None:
    """Without a train part the user must say."""
    with pytest.raises(DataError, match="no part 'train'; it has: a, b"):
        opened(a=images(0), b=images(1))


@pytest.mark.parametrize("marks", [("is_test", [0, 1, 0, 1]), ("split", ["train", "test", "train", "val"])])
def test_a_column_of_parts_beside_images(marks: tuple[str, list[Any]]) -> None:
    """As in a table without images; rows keep their numbers."""
    source = opened(train=images(0, 1, 1, 0).append_column(marks[0], [marks[1]]))
    assert [source.train.row(i) for i in range(len(source.train))] == [0, 2]
    assert source.test.row(0) == 1
    assert source.test.labels[0] == 1
