"""Several runs on one page: those that differ by their seed alone are one row, with mean and deviation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl_registry.workflows.report.facts import RunFacts, named_apart, read_facts
from ssl_registry.workflows.report.page import render
from ssl_registry.workflows.report.run_page import RunPage
from ssl_registry.workflows.report.seeds import over_seeds


def facts(folder: Path, trained: float, **options: Any) -> RunFacts:
    """Write what a run leaves of options and figures, and read it."""
    folder.mkdir(parents=True)
    settings = {"method": "simclr", "data": "digits", "seed": 0, "workers": 2, **options}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    figures = {"untrained": 0.5, "pixels": 0.7, "trained": trained}
    results = {"steps": 8, "seconds": 1.0, "knn": figures, "linear": {}, "guard": None, "diverged": False}
    (folder / "results.json").write_text(json.dumps(results))
    return read_facts(folder)


@pytest.fixture
def runs(tmp_path: Path) -> list[RunFacts]:
    """Three seeds of one temperature, two of another."""
    cold = [facts(tmp_path / f"cold/seed-{n}", 0.90 + n / 100, seed=n, temperature=0.1) for n in range(3)]
    warm = [facts(tmp_path / f"warm/seed-{n}", 0.80, seed=n, temperature=0.5, workers=n) for n in range(2)]
    return named_apart([*cold, *warm])


def test_mean_and_deviation(runs: list[RunFacts]) -> None:
    """Named by what differs between the groups; how a run was watched or loaded makes no group of its own."""
    cold, warm = over_seeds(runs)
    assert (cold.name, warm.name) == ("simclr, temperature 0.1", "simclr, temperature 0.5")
    assert cold.runs == ("cold/seed-0", "cold/seed-1", "cold/seed-2")
    assert cold.cells == {"k-NN accuracy": "91.0 ± 1.0 % (before: 50.0 ± 0.0 %)"}
    assert warm.cells == {"k-NN accuracy": "80.0 ± 0.0 % (before: 50.0 ± 0.0 %)"}


def test_a_group_of_one_run_has_no_deviation(runs: list[RunFacts]) -> None:
    """It stands beside the others."""
    assert [group.cells["k-NN accuracy"] for group in over_seeds(runs[:4])][1] == "80.0 % (before: 50.0 %)"


def test_no_table_where_nothing_is_repeated(runs: list[RunFacts], tmp_path: Path) -> None:
    """Other options, or one seed twice, are no seeds to average."""
    assert over_seeds([runs[0], runs[3]]) == []
    again = facts(tmp_path / "again", 0.95, temperature=0.1)
    assert over_seeds([runs[0], again]) == []


def test_page_has_the_table(runs: list[RunFacts]) -> None:
    """Beside the row of each run, which have names of their own."""
    page = render([RunPage(index, run, None, "") for index, run in enumerate(runs)]).replace("\xa0", " ")
    assert "Over seeds" in page
    assert "<td>simclr, temperature 0.1</td><td>91.0 ± 1.0 % (before: 50.0 ± 0.0 %)</td>" in page
    assert all(f"{run.name}</td>" in page for run in runs)
    alone = render([RunPage(0, runs[0], None, ""), RunPage(1, runs[3], None, "")])
    assert "Over seeds" not in alone
