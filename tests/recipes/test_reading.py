"""A recipe's file: blocks with sources, and what is wrong in one, in words."""

from __future__ import annotations

import pytest

from ssl_registry.errors import ConfigError
from ssl_registry.recipes import adapt, read_recipe

GOOD = """
method: byol
summary: For a test.
settings:
  - source: a paper
    batch_size: 256
    learning_rate: 3e-1
    momentum: 0.99
    trainer: {precision: 16-mixed}
  - source: another
    trainer: {gradient_clip_val: 1.0}
scaling:
  - source: the first
    learning_rate: linear
    momentum: power
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "r.yaml"
        path.write_text(text)
        return path

    return write


def test_blocks_are_merged_and_sources_kept(write):
    """Each option has its own block's source, inside nested groups too; 3e-1 is a number."""
    recipe = read_recipe(write(GOOD))
    assert recipe.settings["trainer"] == {"precision": "16-mixed", "gradient_clip_val": 1.0}
    assert recipe.settings["learning_rate"] == 0.3
    assert recipe.sources["trainer.precision"] == "a paper"
    assert recipe.sources["trainer.gradient_clip_val"] == "another"
    assert recipe.scaling == {"learning_rate": "linear", "momentum": "power"}


def test_a_users_file_may_be_one_block(write):
    """No list, no method, no source."""
    recipe = read_recipe(write("settings: {batch_size: 32}"))
    assert (recipe.method, recipe.settings) == (None, {"batch_size": 32})
    assert recipe.sources == {"batch_size": "no source given"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch_size: 32", "no key 'batch_size'"),
        ("setings: {batch_size: 32}", "Did you mean 'settings'"),
        ("method: byol", "needs settings"),
        ("settings: [3]", "list of blocks"),
        ("settings: [{batch_size: 32}, {batch_size: 64}]", "batch_size twice"),
        ("settings: {out: runs/x}", "out belongs to one run"),
        ("settings: {batch_size: 32, learning_rate: 1.0}\nscaling: {learning_rate: cubic}", "no rule 'cubic'"),
        ("settings: {batch_size: 32}\nscaling: {learning_rate: linear}", "no number among the settings"),
        ("settings: {learning_rate: 1.0}\nscaling: {learning_rate: linear}", "needs a batch_size"),
        ("- 1", "must hold a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_mistakes(write, text, words):
    """Each names the file and what is wrong."""
    path = write(text)
    with pytest.raises(ConfigError, match=words) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)


def settings_of(recipe, **given):
    return {**recipe.settings, **given}


def test_batch_is_shared_out_among_processes(write):
    """The recipe's batch counts all of them; what a step sees stays the same, so nothing else changes."""
    recipe = read_recipe(write(GOOD))
    changes = adapt(recipe, settings_of(recipe), (), copies=4)
    assert {option: value for option, (value, _) in changes.items()} == {"batch_size": 64}


def test_a_given_batch_scales_the_rest(write):
    """512 in each of two processes are four times 256: four times the rate, the fourth power of the momentum."""
    recipe = read_recipe(write(GOOD))
    changes = adapt(recipe, settings_of(recipe, batch_size=512), {"batch_size"}, copies=2)
    assert changes["learning_rate"][0] == pytest.approx(1.2)
    assert changes["momentum"][0] == pytest.approx(0.99**4)
    assert "linear rule for 1024 (the first)" in changes["learning_rate"][1]


def test_what_the_user_gave_is_never_scaled(write):
    """A rate of his own stays."""
    recipe = read_recipe(write(GOOD))
    given = {"batch_size", "learning_rate"}
    assert set(adapt(recipe, settings_of(recipe, batch_size=512, learning_rate=1.0), given, copies=1)) == {"momentum"}
