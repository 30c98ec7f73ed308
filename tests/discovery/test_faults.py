"""Discovery under fire: whatever other plugins do, the healthy ones go on, and each fault is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata

import pytest

from ssl_registry import registry
from ssl_registry.cli import main
from ssl_registry.discovery.entry_points import discover_methods
from ssl_registry.discovery.health import import_problem
from ssl_registry.errors import PluginError

HEALTHY = """
from torch import nn
from ssl_registry import MethodConfig, hookimpl

class Method:
    '''Keep the variance of one head; a method for a test.'''
    class Config(MethodConfig): ...
    def __init__(self, config): self.config = config
    @hookimpl
    def build_heads(self, feature_dim): return {"head": nn.Linear(feature_dim, 4)}
    @hookimpl
    def compute_loss(self, model, views):
        return (1 - model.heads["head"](model(views[0])).std(0)).relu().mean()
"""
NET = """
from torch import nn

def Net():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 8))
"""
# What a plugin's module does when it is imported, and a word of what is told of it.
FAULTS = {
    "raises": ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line second line"),
    "leaves": ("import sys; sys.exit(0)", "SystemExit"),
    "dies": ("import os; os._exit(7)", "exit code 7"),
    "lacks": ("import a_module_that_nobody_has", "a_module_that_nobody_has"),
    "misspelt": ("class Method(:", "SyntaxError"),
    "empty": ("", "has no attribute 'Method'"),
    "wrong": ("Method = 3", "a method is a class"),
}
SHORT = ["--trainer.max_steps", "1", "--batch_size", "8", "--knn", "false", "--trainer.enable_progress_bar", "false"]


def faulty(make_plugin, name):
    return make_plugin(f"plugin-{name}", {name: f"plugin_{name}:Method"}, code=FAULTS[name][0], version="1.5")


@pytest.fixture
def under_fire(make_plugin, monkeypatch):
    """Every fault is installed at once, beside one healthy plugin; also for subprocesses."""
    sites = [faulty(make_plugin, name) for name in FAULTS]
    sites.append(make_plugin("plugin-hangs", {"hangs": "plugin_hangs:Method"}, code="import time; time.sleep(600)"))
    sites.append(make_plugin("plugin-newer", {"newer": "plugin_newer:Method"}, requires="ssl-registry>=99"))
    sites.append(make_plugin("plugin-twin", {"leaves": "plugin_twin:Method"}))
    sites.append(make_plugin("plugin-healthy", {"healthy": "plugin_healthy:Method"}, code=HEALTHY))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*map(str, sites), os.environ.get("PYTHONPATH", "")]))


def test_healthy_ones_are_listed_shown_and_trained(under_fire, capsys, tmp_path, monkeypatch):
    """Nothing of a broken plugin is imported by a command that is about another one."""
    monkeypatch.chdir(tmp_path)
    assert main(["list", "--json"]) == 0
    status = {row["name"]: row["status"] for row in json.loads(capsys.readouterr().out)}
    assert status["healthy"] == status["raises"] == "ok"  # listing does not import
    assert (status["newer"], status["leaves"]) == ("incompatible", "conflict")
    assert main(["show", "healthy"]) == 0
    assert main(["train", "healthy", *SHORT, "--out", "run"]) == 0
    assert not [name for name in sys.modules if name.startswith("plugin_") and name != "plugin_healthy"]


def test_check_tells_each_fault_in_one_line(under_fire, nothing_installed, capsys, monkeypatch):
    """With distribution and version, and whatever the plugin did to the process that imported it."""
    monkeypatch.setenv("SSL_REGISTRY_BLOCK", os.environ["SSL_REGISTRY_BLOCK"] + ",plugin-twin,plugin-hangs")
    assert main(["list", "--check", "--json"]) == 1
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out) if row["distribution"] != "plugin-twin"}
    assert rows["healthy"]["status"] == "ok"
    for name, (_, words) in FAULTS.items():
        assert rows[name]["status"] == "broken"
        assert words in rows[name]["problem"]
        assert f"plugin-{name} 1.5" in rows[name]["problem"]
        assert "\n" not in rows[name]["problem"]


def test_use_of_a_faulty_one_is_one_line(under_fire, capsys):
    """`show` of a plugin that leaves the process on import does not leave it."""
    assert main(["show", "plugin-leaves:leaves"]) == 2
    err = capsys.readouterr().err
    assert "plugin-leaves 1.5 fails to import (SystemExit: 0)" in err
    assert len(err.strip().splitlines()) == 1


def test_import_that_hangs_is_given_up(make_plugin, monkeypatch):
    """After the time-out, with the word that blocks the plugin from now on."""
    site = make_plugin("plugin-hangs", {"hangs": "plugin_hangs:Method"}, code="import time; time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    problem = import_problem(registry.info("hangs"), timeout=0.5)
    assert problem.startswith("plugin-hangs 1.0 is still importing after 0.5 s")
    assert "SSL_REGISTRY_BLOCK=plugin-hangs" in problem


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_time_out_must_be_a_time(seconds, capsys):
    """A wrong number of seconds is one line."""
    assert main(["list", "--check", "--timeout", seconds]) == 2
    assert "--timeout" in capsys.readouterr().err


def test_print_on_import_stays_out_of_the_output(make_plugin, capsys):
    """What `show --json` prints is JSON, whatever the plugin says."""
    make_plugin("plugin-chatty", {"chatty": "plugin_chatty:Method"}, code="print('hello')" + HEALTHY)
    assert main(["show", "chatty", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["method"] == "chatty"
    assert "hello" in captured.err


def test_print_on_import_does_not_hide_the_check(make_plugin, monkeypatch):
    """Not even what goes past Python's own stream."""
    code = "import os; os.write(1, b'half a line'); raise RuntimeError('after printing')"
    site = make_plugin("plugin-loud", {"loud": "plugin_loud:Method"}, code=code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    assert "after printing" in import_problem(registry.info("loud"))


@pytest.mark.slow  # a command for every odd name
@pytest.mark.parametrize(
    "name", ["CamelCase", "with space", "Müßig", "方法", "-dash", "100%", "[bold]x[/]", "../../up"]
)
def test_odd_names_are_listed_shown_and_trained(name, make_plugin, capsys, tmp_path, monkeypatch):
    """A name may be anything that metadata can hold; the run's folder stays below runs/."""
    make_plugin("plugin-odd", {name: "plugin_odd:Method"}, code=HEALTHY)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    assert main(["list"]) == 0
    capsys.readouterr()
    assert main(["show", f"plugin-odd:{name}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == name
    assert main(["train", f"plugin-odd:{name}", *SHORT, "--backbone", "net.py:Net"]) == 0
    (checkpoint,) = tmp_path.rglob("last.ckpt")
    assert checkpoint.parents[2] == tmp_path / "runs"


def test_name_is_found_however_it_is_composed(make_plugin):
    """An accent written as a letter of its own is the same name."""
    composed = "müßig"
    make_plugin("plugin-odd", {unicodedata.normalize("NFD", composed): "plugin_odd:Method"}, code=HEALTHY)
    assert registry.info(composed).name == composed
    assert registry.info(unicodedata.normalize("NFD", composed)).name == composed


def test_terminal_that_lacks_the_letters(make_plugin, monkeypatch):
    """A name in another script is escaped where it cannot be printed."""
    site = make_plugin("plugin-odd", {"方法": "plugin_odd:Method"})
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = subprocess.run([sys.executable, "-m", "ssl_registry.cli", "list"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"\\u65b9" in done.stdout


def test_foreign_text_cannot_steer_the_terminal(make_plugin):
    """Escape codes and line breaks are taken out of a summary."""
    make_plugin("plugin-odd", {"odd": "plugin_odd:Method"}, summary="red \x1b[31m\n and\n more")
    (info,) = [info for info in discover_methods() if info.name == "odd"]
    assert info.summary == "red [31m and more"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("entry_points.txt", b"[ssl_registry.methods]\nno equals sign\n"),
        ("entry_points.txt", b"[ssl_registry.methods]\nx = \xff\xfe\n"),
        ("METADATA", b"Summary: nameless\n"),
        ("METADATA", None),
    ],
)
def test_unreadable_metadata_is_a_row(file, content, make_plugin):
    """One damaged installation does not stop discovery; it is told with the distribution."""
    site = make_plugin("plugin-damaged", {"damaged": "plugin_damaged:Method"}, code=HEALTHY)
    path = site / "plugin_damaged-1.0.dist-info" / file
    path.unlink() if content is None else path.write_bytes(content)
    found = discover_methods()
    assert {"byol", "simclr", "lfr"} <= {info.name for info in found if info.status == "ok"}
    (row,) = [info for info in found if info.status == "broken"]
    assert "cannot be read" in row.problem


def test_name_declared_twice_by_one_distribution(make_plugin):
    """There is nothing to choose between: it is the author's mistake, and told as such."""
    site = make_plugin("plugin-double", {"double": "plugin_double:Method"}, code=HEALTHY)
    entries = site / "plugin_double-1.0.dist-info" / "entry_points.txt"
    entries.write_text(entries.read_text() + "double = plugin_double:Other\n")
    with pytest.raises(PluginError, match=r"plugin-double 1\.0.*declares this name twice"):
        registry.info("double")


def test_requirement_of_an_extra_is_no_requirement(make_plugin):
    """What a plugin's tests need of the core says nothing about its use."""
    make_plugin("plugin-tested", {"tested": "plugin_tested:Method"}, requires='ssl-registry>=99; extra == "test"')
    assert registry.info("tested").status == "ok"


def test_first_copy_on_the_path_is_the_one(make_plugin):
    """An older copy of a plugin further down the path is no rival."""
    make_plugin("plugin-old", {"old": "plugin_old:Method"}, version="1.0").rename(
        (site := make_plugin("other", {"x": "y:Z"})) / "nested"
    )
    sys.path.append(str(site / "nested"))
    try:
        make_plugin("plugin-old", {"old": "plugin_old:Method"}, version="2.0")
        assert [info.version for info in discover_methods() if info.name == "old"] == ["2.0"]
    finally:
        sys.path.remove(str(site / "nested"))


def test_five_hundred_distributions(tmp_path, monkeypatch):
    """A crowded environment: one in ten has a method, and all are found."""
    for number in range(500):
        info = tmp_path / f"crowd_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: crowd-{number}\nVersion: 1.0\nSummary: x\n")
        group = "ssl_registry.methods" if number % 10 == 0 else "console_scripts"
        (info / "entry_points.txt").write_text(f"[{group}]\ncrowd{number} = crowd_{number}:Method\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert len([info for info in discover_methods() if info.name.startswith("crowd")]) == 50


@pytest.mark.parametrize("name", ["od\x1b[2Jd", "od\u202ed", "od\u200bd"])
@pytest.mark.parametrize("place", ["method", "distribution"])
def test_names_cannot_steer_the_terminal(name, place, tmp_path, monkeypatch, capsys):
    """A name of an entry or a distribution with an escape or a mark of direction is broken, and shown written out."""
    info = tmp_path / "site" / "odd-1.0.dist-info"
    info.mkdir(parents=True)
    method, distribution = ("odd", name) if place == "distribution" else (name, "odd")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[ssl_registry.methods]\n{method} = odd:Method\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    main(["list"])
    shown = capsys.readouterr().out
    assert "broken" in shown
    assert not set(name) & set(shown) - set("od[2J")
