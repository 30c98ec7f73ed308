"""The commands after training, from a shell: a table or JSON, and one line for a mistake."""

from __future__ import annotations

import json

import pytest

from ssl_registry.cli import main
from ssl_registry.runs.opened import open_run


def test_evaluate(run, capsys):
    """A row for each backbone and protocol, and where they are kept."""
    assert main(["evaluate", str(run), "--seeds", "1", "--protocols", "knn,linear"]) == 0
    out = capsys.readouterr().out
    assert all(
        word in out for word in ("knn", "linear", "trained", "untrained", "balanced accuracy", "evaluations.jsonl")
    )


def test_evaluate_as_json(run, capsys):
    """Nothing but JSON on stdout."""
    assert main(["evaluate", str(run), "--protocols", "knn", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 3


@pytest.mark.parametrize(
    ("labels", "words", "file"), [("0.01", "1 %", "finetuned-1"), ("5", "5 a class", "finetuned-5-a-class")]
)
def test_finetune(run, capsys, labels, words, file):
    """The table and the file name the share of labels, or how many of each class; the file opens."""
    assert main(["finetune", str(run), "--labels", labels, "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert f"finetune {words}" in out
    assert f"{file}.safetensors" in out
    assert open_run(run / f"{file}.safetensors").classifier is not None


def test_export(run, capsys, monkeypatch):
    """The largest difference and the code that loads it."""
    monkeypatch.setattr("ssl_registry.workflows.export.writing.largest_difference", lambda *_: 2e-7)
    assert main(["export", str(run)]) == 0
    out = capsys.readouterr().out
    assert "largest difference of its outputs: 2e-07" in out
    assert "timm.create_model(" in out


def test_embed(run, tmp_path, capsys):
    """How many rows are where."""
    file = tmp_path / "embeddings.parquet"
    assert main(["embed", str(run), "--out", str(file)]) == 0
    assert f"{file}: 1797 rows of 368 features" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["evaluate"], "RUN_OR_CHECKPOINT"),
        (["evaluate", "none"], "none does not exist"),
        (["evaluate", "RUN", "--protocols", "knnn"], "Did you mean 'knn'"),
        (["evaluate", "RUN", "--data", "no/where"], "no file or folder"),
        (["evaluate", "RUN", "--k", "many"], "invalid int"),
        (["export", "RUN", "--format", "tim"], "Did you mean 'timm'"),
        (["embed", "RUN"], "--out"),
        (["finetune", "RUN", "--labels", "2.5"], "labels=2.5 is neither a share"),
    ],
)
def test_mistakes_are_one_line(run, capsys, argv, message):
    """Exit code 2, and no traceback."""
    assert main([str(run) if word == "RUN" else word for word in argv]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
