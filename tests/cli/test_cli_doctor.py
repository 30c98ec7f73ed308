"""``ssl-registry doctor``: what a bug report needs, and nothing that it must not hold."""

from __future__ import annotations

import getpass
import json
import os
from pathlib import Path

import pytest

from ssl_registry.cli import main
from ssl_registry.cli.doctor import _without_paths


@pytest.fixture(autouse=True)
def few_plugins(nothing_installed):
    """Imports of the three own plugins take seconds and are not the subject."""


def test_tells_versions_accelerator_and_plugins(make_plugin, capsys, monkeypatch):
    """All that matters, with the state of each plugin; the exit code says whether all can be used."""
    site = make_plugin("plugin-broken", {"broken": "plugin_broken:Method"}, code="import no_such_module")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    assert main(["doctor", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert {"ssl-registry", "torch", "lightning", "timm", "pluggy"} <= facts["versions"].keys()
    assert "missing" not in facts["versions"].values()
    assert facts["accelerator"]["devices"]
    state = {plugin["name"]: plugin for plugin in facts["plugins"]}
    assert state["broken"]["status"] == "broken"
    assert "plugin-broken 1.0 fails to import" in state["broken"]["problem"]
    assert state["byol"]["status"] == "blocked"


def test_file_for_a_bug_report_holds_no_secrets_and_no_folders(make_plugin, capsys, monkeypatch, tmp_path):
    """Neither the environment nor the folders that an error message names."""
    code = "raise RuntimeError(f'cannot read {__file__} nor ~/private/keys.txt nor C:\\\\Users\\\\me\\\\x.txt')"
    site = make_plugin("plugin-talks", {"talks": "plugin_talks:Method"}, code=code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("API_TOKEN", "top-secret")
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--out", "report.md"]) == 1
    assert "Wrote report.md" in capsys.readouterr().out
    text = Path("report.md").read_text()
    assert "talks (plugin-talks 1.0): broken" in text
    assert "plugin_talks.py" in text
    for secret in ("top-secret", "API_TOKEN", str(tmp_path), str(Path.home()) + "/", "private", "Users"):
        assert secret not in text
    assert f"/{getpass.getuser()}/" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no file /home/me/secret/x.py here", "no file <path>/x.py here"),
        ("'/home/me/my data/x.py'", "'<path>/my data/x.py'"),
        ("import a.b from c/d.py, see https://x.org/a/b", "import a.b from c/d.py, see https://x.org/a/b"),
        ("torch 2.11/2.12", "torch 2.11/2.12"),
        ({"a": ["~/me/x"]}, {"a": ["<path>/x"]}),
    ],
)
def test_absolute_paths_are_cut(text, expected):
    """Relative paths, links and versions stay."""
    assert _without_paths(text) == expected


def test_a_name_of_another_kind(capsys, tmp_path):
    """Told before anything is looked at."""
    assert main(["doctor", "--out", str(tmp_path / "x.pdf")]) == 2
    assert "what is written is text; give a name such as report.md" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_unwritable_file_is_one_line(capsys, tmp_path):
    """With the reason."""
    assert main(["doctor", "--out", str(tmp_path / "no/such/folder/x")]) == 2
    assert "No such file or directory; give another --out" in capsys.readouterr().err
