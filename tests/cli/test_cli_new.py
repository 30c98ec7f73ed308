"""``ssl-registry new``: a plugin that installs, lists, passes the kit and trains at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from ssl_registry.cli import main
from ssl_registry.discovery.scaffold import Names, write_plugin
from ssl_registry.errors import ConfigError

NET = "from torch import nn\ndef Net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(256, 16))\n"
SHORT = [
    "--backbone",
    "net.py:Net",
    "--trainer.max_steps",
    "2",
    "--knn",
    "false",
    "--trainer.enable_progress_bar",
    "false",
]


def shell(*argv, **variables):
    environment = {**os.environ, **variables}
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, check=False, env=environment)


def install(project, site):
    """Build a wheel without network, and install it into a folder of its own."""
    pip = ["-m", "pip", "--disable-pip-version-check", "-q"]
    wheels = site.parent / "wheels"
    done = shell(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(project))
    assert done.returncode == 0, done.stderr
    (wheel,) = wheels.glob("*.whl")
    done = shell(*pip, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_new_plugin_installs_lists_and_trains_at_once(tmp_path, monkeypatch, capsys):
    """A wheel of it, in a folder of its own, is found and trained; the checkpoint names the distribution."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    assert main(["new", "my-method"]) == 0
    assert "pip install -e ssl-registry-my-method" in capsys.readouterr().out
    install(tmp_path / "ssl-registry-my-method", tmp_path / "site")
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    listed = shell("-m", "ssl_registry.cli", "list", "--json", PYTHONPATH=path)
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert (rows["my-method"]["status"], rows["my-method"]["version"]) == ("ok", "0.1.0")
    done = shell("-m", "ssl_registry.cli", "train", "my-method", *SHORT, "--out", "run", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    record = torch.load("run/checkpoints/last.ckpt", weights_only=True)["ssl_registry"]
    assert (record["method"], record["distribution"]) == ("my-method", "ssl-registry-my-method")


@pytest.mark.slow
def test_new_plugin_passes_the_kit(tmp_path):
    """Its own tests, which run the kit, pass as they were written."""
    write_plugin("my-method", tmp_path / "project")
    install(tmp_path / "project", tmp_path / "site")
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    done = shell("-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "project"), PYTHONPATH=path)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
def test_cores_wheel_holds_the_template(tmp_path):
    """Hidden folders included."""
    root = Path(__file__).parents[2]
    done = shell("-m", "pip", "-q", "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(root))
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("ssl_registry-*.whl")
    names = {
        name.removeprefix("ssl_registry/discovery/scaffold/template/") for name in zipfile.ZipFile(wheel).namelist()
    }
    template = root / "ssl_registry/discovery/scaffold/template"
    assert {path.relative_to(template).as_posix() for path in template.rglob("*.tmpl")} <= names


def test_every_file_is_filled_in(tmp_path):
    """No placeholder is left, and what is Python compiles."""
    files = write_plugin("my-2nd-method", tmp_path / "x")
    names = {str(file.relative_to(tmp_path / "x")) for file in files}
    assert {"pyproject.toml", "README.md", ".gitignore", ".github/workflows/test.yaml"} <= names
    assert {"ssl_registry_my_2nd_method/py.typed", "tests/test_ssl_registry_my_2nd_method.py"} <= names
    for file in files:
        text = file.read_text().replace("${{ matrix.python }}", "")
        assert "$" not in text, file
        if file.suffix == ".py":
            compile(text, str(file), "exec")
    assert "class My2ndMethod:" in (tmp_path / "x/ssl_registry_my_2nd_method/method.py").read_text()


@pytest.mark.parametrize(
    "name", ["", "My", "my_method", "2nd", "-x", "x-", "a--b", "a/b", "../x", "méthode", "a b", "x" * 51]
)
def test_malformed_names_are_refused(name):
    """A name must do for a distribution, a package and a class."""
    with pytest.raises(ConfigError, match="name"):
        Names(name)


@pytest.mark.parametrize(("wrong", "right"), [("My Method", "my-method"), ("my_method", "my-method"), ("9x", "x")])
def test_malformed_name_is_answered_with_the_nearest(wrong, right):
    """The right spelling is in the message."""
    with pytest.raises(ConfigError, match=f"; {right} would do"):
        Names(wrong)


def test_keyword_is_no_class():
    """A method may be called `none`."""
    assert Names("none").class_name == "NoneMethod"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["new"], "method"),
        (["new", "byol"], "byol is taken: ssl-registry-byol 0.1.0 is installed"),
        (["new", "x", "--out", "full"], "full is not an empty folder"),
        (["new", "x", "--out", "full/file"], "is not an empty folder"),
        (["new", "x", "--out", "full/file/x"], "cannot write in full/file/x: Not a directory"),
        (["new", "x", "--no-such"], "unrecognized arguments"),
    ],
)
def test_mistakes_are_one_line(argv, words, tmp_path, monkeypatch, capsys):
    """Exit code 2, and nothing is overwritten."""
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("full/file").write_text("mine")
    assert main(argv) == 2
    err = capsys.readouterr().err.strip()
    assert words in err
    assert len(err.splitlines()) == 1
    assert Path("full/file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
