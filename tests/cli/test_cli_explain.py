"""Where each value comes from: default < recipe < file < flag, whatever the order of the words."""

from __future__ import annotations

import json

import pytest

from ssl_registry import registry
from ssl_registry.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("hidden_dim: 32\nprojection_dim: 16\noptimizer_kwargs: {momentum: 0.5}\n")
    (tmp_path / "r.yaml").write_text(
        "settings:\n- {source: a paper, batch_size: 64, learning_rate: 0.1, hidden_dim: 8, momentum: 0.9}\n"
        "- {source: ours, optimizer: momentum, optimizer_kwargs: {momentum: 0.9}}\n"
        "scaling: {source: a paper, learning_rate: linear}\n"
    )
    return tmp_path


def explain(capsys, *argv):
    assert main(["explain", *argv, "--json"]) == 0
    return {option: (row["value"], row["from"]) for option, row in json.loads(capsys.readouterr().out).items()}


def test_precedence(capsys):
    """The flag stands before the file on the command line, and wins all the same."""
    rows = explain(capsys, "byol", "--projection-dim", "4", "--recipe", "r.yaml", "--config", "c.yaml")
    assert rows["projection_dim"] == (4, "flag")
    assert rows["hidden_dim"] == (32, "file c.yaml")
    assert rows["optimizer_kwargs.momentum"] == (0.5, "file c.yaml")
    assert rows["learning_rate"] == (0.1, "recipe r.yaml: a paper")
    assert rows["weight_decay"] == (1e-6, "default")


def test_what_the_source_forbids_is_told(capsys):
    """Beside the views, whether the user changes some of them or not."""
    told = "default; digits forbids flip"
    assert explain(capsys, "byol")["views"] == ({}, told)
    rows = explain(capsys, "byol", "--views.blur", "0")
    assert rows["views.blur"] == (0, "flag")
    assert rows["views"] == ("(all other fields)", told)


def test_scaled_values_say_why(capsys):
    """Half the batch, half the rate."""
    rows = explain(capsys, "byol", "--recipe=r.yaml", "--batch-size", "32")
    value, place = rows["learning_rate"]
    assert value == pytest.approx(0.05)
    assert "0.1 for 64 samples a step, linear rule for 32" in place


def test_accumulated_micro_batches_share_the_batch(capsys):
    """What a step sees stays the recipe's."""
    rows = explain(capsys, "byol", "--recipe", "r.yaml", "--trainer.accumulate_grad_batches", "4")
    assert rows["batch_size"][0] == 16
    assert rows["learning_rate"] == (0.1, "recipe r.yaml: a paper")


def test_a_file_may_name_the_recipe(capsys, folder):
    """`recipe:` in a --config file is as good as the flag."""
    (folder / "d.yaml").write_text("recipe: r.yaml\n")
    assert explain(capsys, "byol", "--config", "d.yaml")["momentum"] == (0.9, "recipe r.yaml: a paper")


def test_a_run_remembers(capsys):
    """What was recorded at training is what explain shows."""
    argv = ["--recipe", "r.yaml", "--config", "c.yaml", "--trainer.max_steps", "1", "--knn", "false"]
    quiet = ["--backbone", "resnet10t", "--low-resolution", "false", "--trainer.enable_progress_bar", "false"]
    assert main(["train", "byol", *argv, *quiet, "--out", "run"]) == 0
    capsys.readouterr()
    rows = explain(capsys, "run")
    assert rows["trainer.max_steps"] == (1, "flag")
    assert rows["momentum"] == (0.9, "recipe r.yaml: a paper")
    assert rows["hidden_dim"] == (32, "file c.yaml")
    assert rows["period"] == (None, "default")


def test_for_people(capsys):
    """Sources become footnotes."""
    assert main(["explain", "byol", "--recipe", "r.yaml"]) == 0
    out = capsys.readouterr().out
    assert "recipe r.yaml [1]" in out
    assert "[1] a paper" in out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["byol", "--recipe"], "--recipe needs a value"),
        (["byol", "--recipe", "fast"], "byol has no recipe 'fast'"),
        (["byol", "--recipe", "missing.yaml"], "missing.yaml cannot be read"),
        (["byol", "--config", "bad.yaml"], "no option --momentun. Did you mean 'momentum'"),
        (["byol", "--recipe", "range.yaml"], "range.yaml: "),
        ([".", "--seed", "1"], "takes no further options"),
        (["."], "no config.yaml"),
        (["bylo"], "Did you mean 'byol'"),
    ],
)
def test_mistakes_are_one_line(argv, words, capsys, folder):
    """The fact, and what mends it."""
    (folder / "bad.yaml").write_text("momentun: 0.9\n")
    (folder / "range.yaml").write_text("settings: {epochs: many}\n")
    assert main(["explain", *argv]) == 2
    err = capsys.readouterr().err.strip()
    assert words in err
    assert len(err.splitlines()) == 1


PLUGIN = """
from ssl_registry import MethodConfig, Needs, hookimpl, registry

@registry.register("needy")
class Needy:
    'Nothing of note.'
    needs = Needs(modalities=("image",), backbone="resnet10t", backbone_kwargs={"drop_rate": 0.1})

    class Config(MethodConfig): ...
    def __init__(self, config): self.config = config
    @hookimpl
    def build_heads(self): return {}
    @hookimpl
    def compute_loss(self, model, views): return model(views[0]).square().mean()
"""


@pytest.fixture
def needy(tmp_path):
    path = tmp_path / "needy.py"
    path.write_text(PLUGIN)
    yield str(path)
    registry.unregister("needy")


def test_the_backbone_that_the_method_needs(needy, capsys):
    """It is named where it came from, and the user's own wins."""
    rows = explain(capsys, "needy", "--plugin", needy)
    assert rows["backbone"] == ("resnet10t", "method")
    assert rows["backbone_kwargs.drop_rate"][0] == 0.1
    assert explain(capsys, "needy", "--backbone", "resnet18")["backbone"] == ("resnet18", "flag")


def test_what_a_command_costs(capsys, monkeypatch):
    """Parameters and batches at once; time and memory where they are asked for, on one CPU."""
    argv = ["explain", "simclr", "--backbone", "resnet10t", "--image-size", "8", "--batch-size", "64", "--epochs", "3"]
    assert main([*argv, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["(batches)"]["value"] == 60
    assert rows["(backbone)"]["value"].endswith(" M")
    assert "(time)" not in rows
    # No weights are fetched, or read, to tell what a run would be.
    assert main([*argv, "--pretrained", "true", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pretrained"]["value"] is True
    assert main([*argv, "--measure", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows["(time)"]["value"].startswith("about ")
    assert rows["(memory)"]["value"].endswith(" GB")
    assert main([*argv, "--measure", "--compile"]) == 2
    assert "ssl-registry profile" in capsys.readouterr().err
