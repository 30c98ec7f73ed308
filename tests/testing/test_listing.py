"""The check `listing` looks at an installed distribution, so its mutants are distributions."""

from __future__ import annotations

import pytest

from ssl_registry import Registry
from ssl_registry.testing import CheckFailure, NotApplicable, Subject, all_checks
from tests.testing.sound import Sound

CODE = "from tests.testing.sound import Sound"


def listing(name, registry):
    all_checks()["listing"].run(Subject(name, registry))


def test_sound_distribution_passes(make_plugin, monkeypatch):
    """With a description, a version and a requirement on the core."""
    site = make_plugin("tidy-plugin", {"tidy": "tidy_plugin:Sound"}, code=CODE, requires="ssl-registry>=0.1")
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    listing("tidy", Registry())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "does not say which core it needs"),
        ({"requires": "ssl-registry>=0.1", "summary": ""}, "has no description"),
    ],
)
def test_untidy_distribution_is_caught(make_plugin, arguments, told):
    """No requirement on the core, no description."""
    make_plugin("untidy-plugin", {"untidy": "untidy_plugin:Sound"}, code=CODE, **arguments)
    with pytest.raises(CheckFailure, match=told):
        listing("untidy", Registry())


def test_registered_method_has_no_distribution():
    """There is nothing to look at."""
    registry = Registry(entry_points=False)
    registry.register("mine", Sound)
    with pytest.raises(NotApplicable, match="registered in this process"):
        listing("mine", registry)
