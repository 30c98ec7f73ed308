"""Names come from metadata alone, with what stands in a method's way."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ssl_registry import registry
from ssl_registry.discovery.entry_points import discover_methods
from ssl_registry.errors import ContractError, MethodNotFoundError, PluginError


def by_name(name):
    return [info for info in discover_methods() if info.name == name]


def test_lists_version_summary_and_target_without_importing(make_plugin):
    """A plugin whose import would fail is listed all the same."""
    make_plugin("odd-plugin", {"odd": "odd_plugin:Odd"}, code="raise RuntimeError('imported')", version="2.3")
    (info,) = by_name("odd")
    assert (info.distribution, info.version, info.summary) == ("odd-plugin", "2.3", "A method for tests.")
    assert info.target == "odd_plugin:Odd"
    assert "odd_plugin" not in sys.modules


def test_own_plugins_are_found():
    """The three distributions of this repository are installed beside the core."""
    assert {"byol", "simclr", "lfr"} <= {info.name for info in discover_methods()}


def test_discovery_imports_no_torch():
    """Listing in a fresh process leaves torch and every plugin alone."""
    code = (
        "import sys; from ssl_registry import registry; names = [i.name for i in registry.methods()];"
        "assert 'byol' in names;"
        "loaded = [m for m in ('torch', 'lightning', 'timm', 'ssl_registry_byol') if m in sys.modules];"
        "sys.exit(repr(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_two_distributions_of_one_name_conflict_and_can_be_chosen(make_plugin):
    """Both rows tell of the rival; the bare name is refused, the qualified one works."""
    make_plugin("first-twin", {"twin": "first_twin:Twin"})
    make_plugin("second-twin", {"twin": "second_twin:Twin"})
    assert [info.status for info in by_name("twin")] == ["conflict", "conflict"]
    with pytest.raises(MethodNotFoundError, match=r"first-twin:twin or second-twin:twin"):
        registry.info("twin")
    assert registry.info("second-twin:twin").distribution == "second-twin"


def test_block_list_acts_before_import(make_plugin, monkeypatch):
    """A blocked plugin is listed as such and refused on use."""
    make_plugin("bad-plugin", {"bad": "bad_plugin:Bad"}, code="raise RuntimeError('imported')")
    monkeypatch.setenv("SSL_REGISTRY_BLOCK", "Bad_Plugin")
    assert [info.status for info in by_name("bad")] == ["blocked"]
    with pytest.raises(PluginError, match="SSL_REGISTRY_BLOCK"):
        registry.method_class("bad")
    assert "bad_plugin" not in sys.modules


def test_allow_list_lets_nothing_else_through(monkeypatch):
    """Only the named plugin stays usable; an empty list allows none."""
    monkeypatch.setenv("SSL_REGISTRY_PLUGINS", "byol")
    status = {info.name: info.status for info in discover_methods()}
    assert status["byol"] == "ok"
    assert status["simclr"] == "blocked"
    monkeypatch.setenv("SSL_REGISTRY_PLUGINS", "")
    assert {info.status for info in discover_methods()} == {"blocked"}


def test_block_resolves_a_conflict(make_plugin, monkeypatch):
    """With one rival blocked the other is used."""
    make_plugin("first-twin", {"twin": "first_twin:Twin"})
    make_plugin("second-twin", {"twin": "second_twin:Twin"})
    monkeypatch.setenv("SSL_REGISTRY_BLOCK", "first-twin")
    assert registry.info("twin").distribution == "second-twin"


def test_requirement_on_another_core_is_told(make_plugin):
    """A plugin for a newer core is listed with both versions and the command that mends it."""
    make_plugin("future-plugin", {"future": "future_plugin:Future"}, requires="ssl_registry >=99")
    (info,) = by_name("future")
    assert info.status == "incompatible"
    with pytest.raises(PluginError, match=r"needs ssl-registry>=99.*pip install --upgrade"):
        registry.method_class("future")


def test_import_failure_breaks_only_itself(make_plugin):
    """The error names distribution, version and cause; other methods go on."""
    make_plugin("broken-plugin", {"broken": "broken_plugin:Broken"}, code="import no_such_module")
    with pytest.raises(PluginError, match=r"broken-plugin 1\.0 fails to import.*no_such_module"):
        registry.method_class("broken")
    make_plugin("whole-plugin", {"whole": "collections:Counter"})
    with pytest.raises(ContractError, match="whole-plugin"):  # it was imported: the fault is its own
        registry.method_class("whole")


def test_known_method_that_is_not_installed_answers_with_pip(monkeypatch):
    """A name that this project publishes tells how to get it."""
    monkeypatch.setattr("ssl_registry._registry.discover_methods", list)
    with pytest.raises(MethodNotFoundError, match="pip install ssl-registry-byol"):
        registry.info("byol")
    with pytest.raises(MethodNotFoundError, match="No method is installed"):
        registry.info("no-such-method")


def test_wrong_name_answers_with_the_nearest():
    """A typing error is answered with the right name."""
    with pytest.raises(MethodNotFoundError, match="Did you mean 'simclr'"):
        registry.info("simclrr")


def test_metadata_without_a_description(make_plugin):
    """A `pyproject.toml` need not have one; importlib-metadata 10 raises for what is missing."""
    site = make_plugin("terse-plugin", {"terse": "terse_plugin:Terse"})
    (path,) = site.glob("*.dist-info/METADATA")
    path.write_text("Metadata-Version: 2.1\nName: terse-plugin\nVersion: 1.0\n")
    (found,) = [info for info in discover_methods() if info.name == "terse"]
    assert (found.status, found.summary, found.version) == ("ok", "", "1.0")


def test_two_spellings_of_one_distribution(make_plugin):
    """A stale egg-info with underscores beside the installed one is no second plugin."""
    site = make_plugin("twice-plugin", {"twice": "twice_plugin:Twice"})
    stale = site / "twice_plugin.egg-info"
    stale.mkdir()
    (stale / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: twice_plugin\nVersion: 0.9\n")
    (stale / "entry_points.txt").write_text("[ssl_registry.methods]\ntwice = twice_plugin:Twice\n")
    found = [info for info in discover_methods() if info.name == "twice"]
    assert [info.status for info in found] == ["ok"]
