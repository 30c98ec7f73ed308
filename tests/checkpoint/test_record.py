"""A record is typed, bounded, and upgraded where an older version wrote it."""

from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from ssl_registry import registry
from ssl_registry.checkpoint.record import FORMAT, RECORD_KEY, UPGRADES, BackboneRecord, read_record
from ssl_registry.errors import CheckpointError
from ssl_registry.model.module import make_record
from ssl_registry.views import ImageView, SignalView, ViewPolicy

# As the version before the first release wrote it, with views in its spelling.
FORMAT_1 = {
    "format": 1,
    "core_version": "0.1.0",
    "method": "simclr",
    "distribution": "ssl-registry-simclr",
    "version": "0.1.0",
    "config": {"temperature": 0.2},
    "backbone": {
        "name": None,
        "class": "net.Tiny",
        "input_shape": [3, 32, 32],
        "low_resolution": False,
        "pooling": "avg",
        "kwargs": {},
    },
    "recipe": {
        "views": [
            {"kind": "image", "copies": 2, "jitter": 0.8, "brightness": 0.4, "grey": 0.2},
            {"kind": "signal", "jitter": 0.1},
        ],
        "image_size": 32,
        "mean": [0.5, 0.5, 0.5],
        "std": None,
        "standardised": None,
    },
    "overridden": ["projection_head"],
    "seed": 7,
}


def test_format_1_is_upgraded() -> None:
    """A recipe is a view policy, with the fields' names of today; a signal's jitter keeps its name."""
    record = read_record({RECORD_KEY: FORMAT_1})
    assert record.format == FORMAT
    assert record.backbone.title == "net.Tiny"
    assert record.overridden == ("projection_head",)
    image = ImageView(copies=2, color_jitter=0.8, brightness=0.4, grayscale=0.2)
    assert record.view_policy.views == (image, SignalView(jitter=0.1))


def test_every_older_format_has_a_step() -> None:
    """The chain leads from each format to the next, up to the newest."""
    assert sorted(UPGRADES) == list(range(1, FORMAT))


def test_upgrading_leaves_what_was_given() -> None:
    """The checkpoint in memory is not changed."""
    before = copy.deepcopy(FORMAT_1)
    read_record({RECORD_KEY: FORMAT_1})
    assert before == FORMAT_1


def test_what_is_written_is_read() -> None:
    """A record comes back equal, tuples of arguments included."""
    model = registry.create("simclr", backbone="resnet10t", image_size=32, backbone_kwargs={"layers": (1, 1, 1, 1)})
    record = make_record(model)
    assert read_record({RECORD_KEY: record.model_dump()}) == record
    assert record.backbone.kwargs == {"layers": (1, 1, 1, 1)}


def test_arguments_that_no_file_holds() -> None:
    """A class among the arguments is no plain value: such a backbone is asked for when the checkpoint is reopened."""
    model = registry.create("simclr", backbone="resnet10t", image_size=32, backbone_kwargs={"act_layer": nn.SiLU})
    assert model.backbone_record.name is None
    assert model.backbone_record.title == "resnet10t"


@pytest.mark.parametrize(
    "kwargs",
    [
        {"x=__import__('os').system('true'),y": None},
        {"lambda": 1},
        {"a b": 1},
        {"": 1},
        {1: 2},
        {"ｘ": 1},  # another letter than x, which Python takes for x
        {"act_layer": print},
        {"depth": 10**30},
    ],
)
def test_names_of_arguments_are_identifiers(kwargs: dict[object, object]) -> None:
    """What is no keyword of a call, or no plain value, is in no record."""
    with pytest.raises(ValidationError):
        BackboneRecord(name="resnet18", input_shape=(3, 8, 8), kwargs=kwargs)


def nested(levels: int) -> object:
    """Return lists in lists that refer to each other: few in memory, two to the power of ``levels`` when walked."""
    value: object = "x"
    for _ in range(levels):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"bomb": nested(60)}},
        {"config": {"deep": nested(0), "long": "x" * 2_000_000}},
        {"backbone": {**FORMAT_1["backbone"], "input_shape": [3, 10**6, 10**6]}},
        {"backbone": {**FORMAT_1["backbone"], "input_shape": [3, True, "8"]}},
        {"recipe": {"views": [{"kind": "image", "copies": 10**9}]}},
        {"recipe": {"views": [{"kind": "image", "size": 10**9}]}},
        {"seed": 2**70},
        {"seed": True},
        {"extra": 1},
        {"format": [1]},
        {"format": "1" * 1000},
        {"distribution": "--index-url=http://localhost x"},
    ],
)
def test_what_no_record_holds(changes: dict[str, object]) -> None:
    """Too much, too large, of another type, or a name of nothing: one line, at once."""
    with pytest.raises(CheckpointError) as failure:
        read_record({RECORD_KEY: FORMAT_1 | changes})
    assert len(str(failure.value)) < 1000


def test_record_of_another_kind() -> None:
    """No mapping, or none at all."""
    for content in ({}, {RECORD_KEY: 3}, {RECORD_KEY: torch.zeros(2)}):
        with pytest.raises(CheckpointError, match="not written by ssl-registry"):
            read_record(content)


def test_policy_of_a_record_is_the_models() -> None:
    """The views come back as they were, with what the source changed."""
    model = registry.create("simclr", backbone="resnet10t", image_size=32)
    model.view_policy = ViewPolicy(views=(ImageView(flip=0.5),), image_size=16, mean=(0.1,) * 3)
    assert read_record({RECORD_KEY: make_record(model).model_dump()}).view_policy == model.view_policy


@pytest.mark.parametrize(
    ("version", "words"),
    [("99.0", r"written by ssl-registry 99\.0, .*pip install --upgrade"), ("0.0.1", "damaged"), (None, "damaged")],
)
def test_a_field_that_is_not_known(version, words):
    """Of a newer version it is no damage: the way out is to upgrade."""
    record = {**copy.deepcopy(FORMAT_1), "core_version": version, "mood": "good"}
    with pytest.raises(CheckpointError, match=words):
        read_record({RECORD_KEY: record})
