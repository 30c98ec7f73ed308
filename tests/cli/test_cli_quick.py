"""list, show, backbones and mistakes: answers at once, one clear line, exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ssl_registry import registry
from ssl_registry._registry import FIRST_PARTY
from ssl_registry.cli import main


def test_list_shows_what_is_installed(capsys):
    """Method, package, version and status of the three plugins."""
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("byol", "ssl-registry-simclr", "lfr", "0.1.0", "ok"))


def test_list_json(capsys):
    """The same rows for programs."""
    assert main(["list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["byol"]["distribution"] == "ssl-registry-byol"


def test_list_in_a_fresh_process_imports_no_torch():
    """The command itself leaves torch and plugins alone."""
    code = (
        "import sys; from ssl_registry.cli import main; main(['list']);"
        "sys.exit(repr([m for m in sys.modules if m in ('torch', 'lightning', 'pydantic', 'ssl_registry_byol')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("argv", "unwanted"),
    [
        (["train", "simclrr"], ("torch", "pydantic")),
        (["train", "photos/"], ("torch", "pydantic")),
        (["train", "simclr", "--epoch", "3"], ("lightning", "timm")),  # the method itself imports torch
    ],
)
def test_a_slip_is_answered_before_libraries_are_imported(argv, unwanted):
    """A wrong name costs no seconds of waiting."""
    code = (
        f"import sys; from ssl_registry.cli import main; main({argv!r});"
        f"print([m for m in sys.modules if m in {unwanted!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]"
    assert "Did you mean" in done.stderr or "--data photos/" in done.stderr


def test_list_of_the_core_alone(capsys, monkeypatch):
    """Without plugins it lists nothing and says how to get methods."""
    monkeypatch.setattr("ssl_registry.cli.entries.discover", list)
    assert main(["list"]) == 0
    assert "pip install ssl-registry-byol" in capsys.readouterr().out


def test_list_shows_conflicts(make_plugin, capsys):
    """Two distributions of one name are two rows, each with the way out."""
    make_plugin("first-twin", {"twin": "first_twin:Twin"})
    make_plugin("second-twin", {"twin": "second_twin:Twin"})
    main(["list", "--json"])
    rows = [row for row in json.loads(capsys.readouterr().out) if row["name"] == "twin"]
    assert [row["status"] for row in rows] == ["conflict", "conflict"]


def test_list_check_tells_which_are_broken(make_plugin, capsys, monkeypatch):
    """Each plugin is imported apart; one that fails is told with its cause, and the exit code says so."""
    site = make_plugin("broken-plugin", {"broken": "broken_plugin:Broken"}, code="import no_such_module")
    monkeypatch.setenv("PYTHONPATH", str(site))
    # One sound method is enough beside it: each import takes seconds.
    others = [f"ssl-registry-{name}" for name in FIRST_PARTY if name != "byol"]
    monkeypatch.setenv("SSL_REGISTRY_BLOCK", ",".join(others))
    assert main(["list", "--check", "--json"]) == 1
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["broken"]["status"] == "broken"
    assert "no_such_module" in rows["broken"]["problem"]
    assert rows["byol"]["status"] == "ok"


def test_show_tells_paper_options_and_hooks(capsys):
    """Everything a user needs to set."""
    assert main(["show", "byol", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert "arXiv:2006.07733" in facts["documentation"]
    assert "on_step_end" in facts["hooks"]
    options = {option["name"]: option for option in facts["options"]}
    assert options["momentum"] == {
        "name": "momentum",
        "allowed": "float >= 0 <= 1",
        "default": 0.996,
        "description": "The target's momentum at the first step.",
    }


def test_show_for_people(capsys):
    """The table holds the same."""
    assert main(["show", "simclr"]) == 0
    out = capsys.readouterr().out
    assert "temperature" in out
    assert "float > 0" in out
    assert "images or signals or tables" in out


def test_show_tells_what_the_method_needs(tmp_path, capsys):
    """Samples and backbone, for people and for programs."""
    path = tmp_path / "needy.py"
    path.write_text(NEEDY)
    try:
        assert main(["show", "needy", "--plugin", str(path)]) == 0
        assert "images; a backbone with tokens; default backbone vit_tiny_patch16_224 (depth=2)" in " ".join(
            capsys.readouterr().out.split()
        )
        assert main(["show", "needy", "--json"]) == 0
        needs = json.loads(capsys.readouterr().out)["needs"]
    finally:
        registry.unregister("needy")
    assert needs == {
        "modalities": ["image"],
        "tokens": True,
        "backbone": "vit_tiny_patch16_224",
        "backbone_kwargs": {"depth": 2},
        "batch": "",
        "memory": "",
    }


NEEDY = """
from ssl_registry import MethodConfig, Needs, hookimpl, registry

@registry.register("needy")
class Needy:
    needs = Needs(("image",), tokens=True, backbone="vit_tiny_patch16_224", backbone_kwargs={"depth": 2})

    class Config(MethodConfig): ...
    def __init__(self, config): self.config = config
    @hookimpl
    def build_heads(self): return {}
    @hookimpl
    def compute_loss(self, model, views): return model(views[0]).square().mean()
"""


def test_backbones_by_pattern(capsys):
    """A shell pattern selects."""
    assert main(["backbones", "resnet1*"]) == 0
    assert "resnet18" in capsys.readouterr().out.split()


def test_help_and_version(capsys):
    """Both work without a command."""
    assert main([]) == 0
    assert "train" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert "ssl-registry 0." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["lisst"], "Did you mean 'list'"),
        (["list", "--jsn"], "unrecognized arguments: --jsn"),
        (["show"], "method"),
        (["show", "bylo"], "Did you mean 'byol'"),
        (["backbones", "no*such"], "no backbone matches"),
        (["train", "bylo"], "Did you mean 'byol'"),
        (["train", "--data", "x"], "the method comes first"),
        (["train", "photos/"], "the method comes first: ssl-registry train simclr --data photos/"),
        (["train", "a b.csv", "--epochs", "3"], "ssl-registry train simclr --data 'a b.csv' --epochs 3"),
        (["explain", "digits"], "ssl-registry explain simclr --data digits"),
        (["profile", "photos/"], "ssl-registry profile simclr --data photos/"),
        (["views", "photos/"], "ssl-registry views simclr --data photos/"),
        (["train", "byol", "--gpus", "2"], "Did you mean --trainer.devices?"),
        (["train", "byol", "--max_step", "2"], "Did you mean --trainer.max_steps"),
        (["train", "byol", "--momentun", "0.9"], "Did you mean --momentum"),
        (["train", "byol", "--momentum", "2"], "momentum=2.0 is not accepted"),
        (["train", "byol", "--momentum", "high"], "momentum"),
        (["train", "byol", "--epochs", "3", "--trainer.max_epochs", "4"], "not both"),
        (["train", "byol", "--trainer.max_epoch", "4"], "max_epoch"),
        (["train", "byol", "--data", "no/such/folder"], "no/such/folder"),
        (["train", "byol", "--backbone", "resnet81"], "Did you mean 'resnet"),
        (["train", "byol", "--backbone", "missing.py:Net"], "no Python file missing.py"),
        (["train", "byol", "--config", "missing.yaml"], "missing.yaml"),
        (["train", "byol", "--resume"], "--out"),
        (["train", "byol", "--out", "nowhere", "--resume"], "no checkpoint to resume from"),
        (["list", "--plugin"], "takes a Python file"),
        (["list", "--plugin", "missing.py"], "no Python file missing.py"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(argv, words, capsys, tmp_path, monkeypatch):
    """No traceback: the fact, and what mends it."""
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    err = capsys.readouterr().err.strip()
    assert words in err
    assert err.startswith("ssl-registry ")
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


def test_debug_shows_the_traceback():
    """--debug lets the error through."""
    with pytest.raises(LookupError):
        main(["show", "bylo", "--debug"])
