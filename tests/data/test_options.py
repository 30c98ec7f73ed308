"""`DataOptions`: declared once, told in words where wrong, and read without torch."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch

from ssl_registry.data import DataOptions, open_source
from ssl_registry.data.options import NOT_FOR_ALL
from ssl_registry.data.sources import SOURCES
from ssl_registry.errors import ConfigError


def test_reading_them_imports_no_torch() -> None:
    """``--help`` is made from them."""
    code = "import sys; from ssl_registry.data import DataOptions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_option_has_a_description() -> None:
    """It is the help, the docs and the record."""
    assert all(field.description for field in DataOptions.model_fields.values())


def test_fields_change_options() -> None:
    """What is said beside them wins; the rest stays."""
    options = DataOptions(image_size=8, holdout=0.5)
    source = open_source("digits", options, image_size=10)
    assert source.input_shape == (1, 10, 10)
    assert DataOptions.of(options, image_size=10) == DataOptions(image_size=10, holdout=0.5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"imag_size": 8}, "no option 'imag_size'. Did you mean 'image_size'?"),
        ({"image_size": True}, "image_size=True"),
        ({"image_size": 0}, "image_size=0 is not accepted, it should be greater than or equal to 1"),
        ({"holdout": 1.0}, "holdout=1.0 is not accepted, it should be less than 1"),
        ({"modality": "sound"}, "it should be 'image', 'signal' or 'table'"),
    ],
)
def test_wrong_ones_are_told(wrong: dict[str, object], words: str) -> None:
    """With the name, and what it may be."""
    with pytest.raises(ConfigError) as told:
        open_source("digits", **wrong)
    assert words in str(told.value)


def test_they_survive_a_record() -> None:
    """A run writes them as plain values and reads them again."""
    options = DataOptions(data_root="data", standardize=((0.0,), (1.0,)))
    assert DataOptions(**options.model_dump(mode="json")) == options


@pytest.mark.parametrize(
    ("kind", "option", "words"),
    [
        (kind.name, option, words)
        for kind in SOURCES.own.values()
        for option, words in (
            ({"label_column": "a"}, "--data.label names a column of a table or an array; x has none, leave it out"),
            ({"drop_columns": ("a",)}, "--data.drop names columns of a table; x has none, leave it out"),
            ({"test_data": "y"}, "--data.test names a test part of one's own; x has its own, leave it out"),
            ({"modality": "signal"}, "modality='signal' is for array files and tables"),
        )
        if next(iter(option)) not in kind.takes
    ],
)
def test_what_means_nothing_to_a_source_is_refused(kind, option, words):
    """Before it is opened: a user who gives an option believes that it is done."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        open_source(f"{kind}:x", **option)


def test_kinds_say_what_they_take():
    """Tables take all; what has its own parts and no columns takes none."""
    takes = {kind.name: set(kind.takes) for kind in SOURCES.own.values()}
    assert takes["csv"] == takes["parquet"] == takes["hf"] == {"modality", *NOT_FOR_ALL}
    assert takes["digits"] == takes["scattered-digits"] == takes["torchvision"] == set()


def test_a_limit_takes_samples_of_every_class():
    """Evenly spaced, of both parts, with the labels that belong to them."""
    whole, part = open_source("digits"), open_source("digits", max_samples=130)
    assert (len(part.train), len(part.test)) == (130, 130)
    assert set(part.train.labels.tolist()) == set(range(10))
    x, label = part.train[13]
    expected, truth = whole.train[130]
    assert torch.equal(x, expected)
    assert label == truth
    assert len(open_source("digits", max_samples=10_000).train) == len(whole.train)
