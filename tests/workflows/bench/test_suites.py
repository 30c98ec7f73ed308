"""Suites: the core's own hold, a user's file works, and mistakes are told."""

from __future__ import annotations

import pytest

from ssl_registry import Needs
from ssl_registry.errors import ConfigError
from ssl_registry.workflows.bench import Suite, list_suites, load_suites


def load_suite(name: str) -> Suite:
    (suite,) = load_suites(name)
    return suite


def test_the_suites_of_the_core():
    """They name data, budget and a recipe, and no method."""
    assert set(list_suites()) == {"digits", "fashion", "cifar10", "har", "income", "catalogue"}
    for suite in (suite for name in list_suites() for suite in load_suites(name)):
        assert suite.summary
        assert suite.recipe
        assert suite.seeds == 3
        assert {"knn", "linear"} <= set(suite.protocols)


def test_the_catalogue_has_a_suite_for_every_kind_of_samples():
    """At a budget for a CPU; methods on tokens share a network of their own."""
    suites = {suite.name: suite for suite in load_suites("catalogue")}
    assert {suite.modality for suite in suites.values()} == {"image", "signal", "table"}
    assert all(suite.labels == (0.01, 0.1, 1) and not suite.best for suite in suites.values())
    tokens = suites["digits"].settings_for(Needs(tokens=True))
    assert tokens["backbone"].startswith("vit")
    assert suites["digits"].settings_for(Needs())["backbone"] == "resnet18"


def test_a_users_file_of_several(tmp_path):
    """What stands beside the suites is shared by them."""
    path = tmp_path / "mine.yaml"
    path.write_text("seeds: 2\nsuites:\n  a: {recipe: small, data: a/}\n  b: {recipe: small, seeds: 5}")
    a, b = load_suites(str(path))
    assert (a.name, a.seeds, a.data, b.seeds, b.data) == ("a", 2, ("a/",), 5, ())


def test_a_users_file(tmp_path):
    """By its path; one source of data may stand without brackets."""
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: small\ndata: photos/\nprotocols: [sgd]\nsettings: {epochs: 5}")
    suite = load_suite(str(path))
    assert (suite.name, suite.data, suite.protocols) == ("mine", ("photos/",), ("sgd",))
    assert suite.settings == {"epochs": 5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("recipes: small", "Did you mean 'recipe'"),
        ("data: digits", "needs a recipe"),
        ("suites: {a: {data: digits}}", "needs a recipe"),
        ("suites: {a: {recipe: small}}\nrecipe: small", "no key 'recipe'"),
        ("suites: [digits]", "must be names"),
    ],
)
def test_mistakes(tmp_path, text, words):
    """The file and what is wrong in it."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_suite(str(path))


def test_unknown_suite():
    """With the nearest and all there are."""
    with pytest.raises(ConfigError, match="Did you mean 'digits'"):
        load_suite("digit")


def test_a_method_on_tokens_keeps_its_own_backbone():
    """The suite's ResNet is for the others; everything else is alike."""
    suite = load_suite("digits")
    assert suite.settings_for(Needs()) == suite.settings
    left_out = suite.settings.keys() - suite.settings_for(Needs(tokens=True)).keys()
    assert left_out == {"backbone", "backbone_kwargs"}
    assert load_suite("har").settings_for(Needs(backbone="signal_resnet")).keys() == {"modality", "epochs"}


@pytest.mark.parametrize(("name", "modality"), [("digits", "image"), ("cifar10", "image"), ("har", "signal")])
def test_methods_of_other_samples_take_no_part(name, modality):
    """A method of tables that ships the recipe `small` is none for images."""
    suite = load_suite(name)
    assert suite.takes(Needs())
    assert suite.takes(Needs(modalities=(modality,)))
    assert not suite.takes(Needs(modalities=("table",)))


def test_a_users_suite_is_for_all_kinds_of_samples(tmp_path):
    """Unless it says which ones it has, in words that are known."""
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: small\ndata: mine.npz")
    assert load_suite(str(path)).takes(Needs(modalities=("table",)))
    path.write_text("recipe: small\nmodality: signal")
    assert not load_suite(str(path)).takes(Needs(modalities=("table",)))
    path.write_text("recipe: small\nmodality: picture")
    with pytest.raises(ConfigError, match="modality"):
        load_suite(str(path))
