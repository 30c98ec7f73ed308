"""``bench digits`` at a tiny size: a table with its origin, finished cells skipped, stopped ones gone on with."""

from __future__ import annotations

import json
from textwrap import dedent

import numpy as np
import pytest

from ssl_registry.cli import main
from ssl_registry.cli.bench_cells import taking_part
from ssl_registry.workflows.bench import load_suites

NET = """
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
"""
TINY = ["--backbone", "net.py:Tiny", "--trainer.enable_progress_bar", "false", "--trainer.limit_train_batches", "2"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "net.py").write_text(dedent(NET))
    return tmp_path


def test_digits_resumes_and_writes_its_table(folder, capsys):
    """Two methods; then a second seed: the first ones are not trained again."""
    argv = ["bench", "digits", "--methods", "simclr,lfr", "--epochs", "2", *TINY]
    assert main([*argv, "--seeds", "1"]) == 0
    assert main([*argv, "--seeds", "2"]) == 0
    err = capsys.readouterr().err
    assert err.count("finished before") == 2
    assert err.count(": trained") == 4
    out = folder / "runs/bench-digits"
    table = json.loads((out / "table.json").read_text())
    assert [(row["method"], row["protocol"]) for row in table["rows"]] == [
        (method, protocol) for method in ("raw input", "simclr", "lfr") for protocol in ("knn", "linear")
    ]
    assert table["command"].endswith("--seeds 2")
    assert "torch" in table["versions"]
    assert all(row["last"]["mean"] > 0.2 for row in table["rows"])
    assert all(row["best"]["std"] is not None for row in table["rows"] if row["method"] != "raw input")
    assert "seeds 0, 1" in (out / "table.md").read_text()
    origins = json.loads((out / "lfr/digits/seed-1/origins.json").read_text())
    assert origins["image_size"] == "suite digits"
    assert origins["backbone_kwargs"] == "default"  # the suite's are for its own backbone
    assert origins["learning_rate"].startswith("recipe small: ")


def test_other_settings_are_not_mixed(folder, capsys):
    """A folder of runs belongs to one comparison."""
    argv = ["bench", "digits", "--methods", "simclr", "--seeds", "1", *TINY]
    assert main([*argv, "--epochs", "1"]) == 0
    assert main([*argv, "--epochs", "2"]) == 2
    assert "made with another epochs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["digit"], "Did you mean 'digits'"),
        (["har"], "give --data"),
        (["digits", "--seeds", "0"], "at least 1"),
        (["digits", "--methods", "bylo"], "Did you mean 'byol'"),
        (["digits", "--methods", "byol", "--momentun", "1"], "Did you mean --momentum"),
        (["catalogue", "--data", "photos/"], "say which suite it is for, such as scattered=photos/"),
        (["catalogue", "--suites", "incme"], "Did you mean 'income'"),
        (["digits", "--methods", "byol", "--finished"], "no finished run"),
        (["digits", "--shard", "3/2"], "such as 2/8"),
        (["digits", "--jobs", "2", "--shard", "1/2"], "give one of them"),
        (["digits", "--jobs", "2", "--finished"], "nothing to share out"),
    ],
)
def test_mistakes_are_one_line(argv, words, capsys, folder):
    """And train nothing."""
    assert main(["bench", *argv]) == 2
    assert words in capsys.readouterr().err
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(("suite", "shape"), [("har", (2, 16)), ("income", (5,))])
def test_signals_and_tables(folder, capsys, suite, shape):
    """The suites on a user's own file, to a table that shows all of its columns."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.normal(size=(60, *shape)) + y.reshape(-1, *(1 for _ in shape))
    np.savez(folder / "mine.npz", X=x.astype(np.float32), y=y, is_test=np.arange(60) >= 40)
    small = ["--num_candidates", "3", "--num_targets", "2", "--projection_dim", "4", "--selection_batch_size", "8"]
    argv = ["bench", suite, "--methods", "lfr", "--data", "mine.npz", "--seeds", "1", "--epochs", "2", *small]
    assert main([*argv, "--trainer.enable_progress_bar", "false"]) == 0
    header, *rows = (folder / f"runs/bench-{suite}/table.txt").read_text().splitlines()
    assert header.split("  ")[0] == "method"
    assert all(column in header for column in ("seeds", "untrained", "best epoch", "peak MiB"))
    protocols = [row.split()[3] for row in rows if row.startswith("lfr")]
    assert protocols == ["knn", "linear"] + ["adam"] * (suite == "har")


def test_methods_of_tables_take_no_part_in_a_suite_of_images():
    """Though they ship the recipe of its name."""
    assert "scarf" not in taking_part(*load_suites("digits"))
    assert {"scarf", "lfr"} <= set(taking_part(*load_suites("income")))


SEVERAL = """
summary: Two kinds of samples, few labels.
seeds: 1
labels: [0.5, 1]
best: false
supervised_epochs: 1
suites:
  images:
    recipe: small
    modality: image
    data: digits
    settings: {backbone: "net.py:Tiny", max_samples: 100, epochs: 1}
    tokens: {backbone: vit_tiny_patch16_224, backbone_kwargs: {patch_size: 8, depth: 1, embed_dim: 32, num_heads: 2}}
  rows:
    recipe: small
    modality: table
    settings: {modality: table, backbone: table_encoder, epochs: 1}
  nothing: {recipe: small, modality: signal}
"""


@pytest.mark.slow  # a table of several trainings, twice
@pytest.mark.parametrize(
    "how",
    [
        "shards",  # and the whole of them
        "methods",  # one kind after the other
        pytest.param("one process", marks=pytest.mark.slow),
        pytest.param("two processes", marks=pytest.mark.slow),  # each imports everything
    ],
)
def test_several_suites_and_few_labels(folder, capsys, how):
    """Methods go to suites of their samples; raw input and supervised training are rows; parts make the whole."""
    (folder / "mine.yaml").write_text(SEVERAL)
    y = np.arange(60) % 2
    x = np.random.default_rng(0).normal(size=(60, 5)) + y[:, None]
    np.savez(folder / "rows.npz", X=x.astype(np.float32), y=y, is_test=np.arange(60) >= 40)
    argv = ["bench", "mine.yaml", "--trust", "--methods", "simclr,simmim,scarf", "--data", "rows=rows.npz"]
    argv += ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
    if how == "shards":
        assert [main([*argv, "--shard", f"{part}/2"]) for part in (1, 2)] == [0, 0]
        assert not (folder / "runs/bench-mine/table.json").exists()
    if how == "methods":
        assert main([*argv, "--methods", "simmim,scarf"]) == 0
    assert main([*argv, *(["--jobs", "2"] if how == "two processes" else [])]) == 0
    err = capsys.readouterr().err
    assert "left out: nothing" in err
    assert err.count("finished before") == {"one process": 0, "methods": 3, "two processes": 6, "shards": 6}[how]
    table = json.loads((folder / "runs/bench-mine/table.json").read_text())
    rows = {(row["suite"], row["method"], row["protocol"]): row for row in table["rows"]}
    labels = ("", " 50 %")
    methods = {"images": ("raw input", "simclr", "simmim"), "rows": ("raw input", "simclr", "scarf")}
    expected = {
        (suite, method, f"{protocol}{amount}")
        for suite, names in methods.items()
        for method in names
        for protocol in ("knn", "linear")
        for amount in labels
    }
    boosting = {("rows", "raw input", f"boosting{amount}") for amount in labels}  # of the columns of a table
    assert rows.keys() == expected | boosting | {
        (suite, "supervised", f"classifier{amount}") for suite in methods for amount in labels
    }
    assert all(0 <= row["last"]["mean"] <= 1 for row in rows.values())
    assert main([*argv, "--finished", "--suites", "rows"]) == 0
    table = json.loads((folder / "runs/bench-mine/table.json").read_text())
    assert {row["suite"] for row in table["rows"]} == {"rows"}


def test_a_part_that_fails_says_so(folder, capsys):
    """Among cells that do not, in an array of jobs too."""
    (folder / "mine.yaml").write_text("recipe: small\ndata: [digits, nowhere/]\nsettings: {image_size: 12}")
    argv = ["bench", "mine.yaml", "--trust", "--methods", "simclr", "--seeds", "1", "--epochs", "1", *TINY]
    assert main([*argv, "--shard", "1/1"]) == 2
    err = capsys.readouterr().err
    assert "simclr on digits, seed 0: trained" in err
    assert "no figures: mine: simclr on nowhere/, seed 0: " in err
