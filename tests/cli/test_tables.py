"""Tables of commands: cells of figures stay whole, and where output is no terminal a row is a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_registry.cli.evaluate import print_result
from ssl_registry.cli.tables import FigureRow, print_figures, table_console
from ssl_registry.workflows.evaluate.results import EvaluateResult, EvaluationRow, Score

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "expected_calibration_error")


@pytest.fixture(autouse=True)
def no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def result_of(*rows: tuple[str, str]) -> EvaluateResult:
    metrics = {name: Score(0.839, 0.008) for name in METRICS}
    found = tuple(EvaluationRow(features, protocol, metrics) for features, protocol in rows)
    return EvaluateResult(Path("run"), "digits", 1300, 497, "classification", found, 3, verdict="As good. " * 30)


def test_a_row_is_a_line_where_output_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """However wide it is; so is a sentence below it."""
    print_result(result_of(("trained", "linear 5 a class"), ("raw", "linear 5 a class")))
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert len(lines) == 5
    assert all(line.count("0.839 ± 0.008") == len(METRICS) for line in lines[1:3])


@pytest.mark.parametrize("columns", ["30", "60", "80", "100"])
def test_figures_are_never_broken(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns that find no room stand below, behind the names of their rows."""
    monkeypatch.setenv("COLUMNS", columns)
    names = ["accuracy", "balanced accuracy", "macro f1"]
    rows = [FigureRow((name,), ("0.839 ± 0.008",) * 3, bold=name == "trained") for name in ("trained", "raw")]
    print_figures(table_console(), ("weights",), names, rows)
    out = capsys.readouterr().out
    assert out.count("0.839 ± 0.008") == 6
    assert all(name in out for name in names)
    assert max(map(len, out.splitlines())) <= int(columns)


def test_rows_stand_by_protocol_labels_and_features(capsys: pytest.CaptureFixture[str]) -> None:
    """From few labels to all; of each, trained features first."""
    titles = ["knn", "linear 10 %", "linear", "linear 20 a class", "linear 5 a class", "knn 5 a class"]
    print_result(result_of(*((name, title) for name in ("raw", "untrained", "trained") for title in titles)))
    lines = capsys.readouterr().out.splitlines()[1:19]
    found = [tuple(line.split("0.839")[0].split(maxsplit=0)[0].rsplit(maxsplit=1)) for line in lines]
    ordered = ["knn 5 a class", "knn", "linear 5 a class", "linear 20 a class", "linear 10 %", "linear"]
    assert [(title.strip(), name) for title, name in found] == [
        (title, name) for title in ordered for name in ("trained", "untrained", "raw")
    ]
