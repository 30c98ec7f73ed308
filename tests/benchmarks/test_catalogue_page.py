"""The page of the catalogue: a table a suite, and who lies below its untrained backbone."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def row(method, protocol, last, untrained=None, seeds=(0, 1, 2)):
    def score(mean):
        return None if mean is None else {"mean": mean, "std": 0.01}

    facts = {"suite": "s", "data": "d", "method": method, "protocol": protocol, "seeds": list(seeds), "seconds": 10.0}
    return {
        **facts,
        "last": score(last),
        "untrained": score(untrained),
        "best": None,
        "memory_mib": 100.0,
        "diverged": [],
    }


@pytest.fixture
def content():
    rows = [row("raw input", protocol, 0.5) for protocol in ("knn", "linear 1 %", "linear", "boosting")]
    rows += [row("worse", "knn", 0.3, 0.4), row("worse", "linear", 0.6, 0.4)]
    rows += [row("better", "knn", 0.8, 0.4, (0,)), row("better", "linear", 0.9, 0.4, (0,))]
    rows += [row("supervised", "classifier", 0.95)]
    facts = {"command": "ssl-registry bench catalogue", "versions": {"torch": "2"}, "machine": "m", "date": "d"}
    return {**facts, "rows": rows, "cells": ["long"]}


def test_the_page_is_made_from_the_json(content, tmp_path, monkeypatch):
    """Rows in the order of the linear probe between the raw input and supervised training; nothing is hidden."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import catalogue_page

    page, file, kept = tmp_path / "page.md", tmp_path / "table.json", tmp_path / "kept.json"
    page.write_text(f"before\n{catalogue_page.BEGIN}\nold\n{catalogue_page.END}\nafter\n")
    content["rows"][0]["data"] = "/home/me/d"  # a path of one machine
    file.write_text(json.dumps(content))
    catalogue_page.main(argparse.Namespace(json=[file], page=page, keep=kept))
    assert {row["data"] for row in json.loads(kept.read_text())["rows"]} == {"d"}
    text = page.read_text()
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert "old" not in text
    names = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert names == [
        "| method",
        "| raw input",
        "| raw input, gradient boosting",
        "| `better` (1 seed)",
        "| `worse`",
        "| supervised",
    ]
    assert "| `worse` | 30.0 ± 1.0 | 40.0 ± 1.0 |  |  | 60.0 ± 1.0 | 40.0 ± 1.0 | 10 | 100 |" in text
    assert "s: `worse` (knn, -10.0)." in text
    assert "cells" not in json.loads(kept.read_text())
    again = page.read_text()
    catalogue_page.main(argparse.Namespace(json=[kept], page=page, keep=None))
    assert page.read_text() == again
    sys.modules.pop("catalogue_page")


def test_seeds_run_elsewhere_are_pooled(monkeypatch):
    """Mean and deviation are those of all values; what is there already is replaced, unless it has more seeds."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import catalogue_page

    values = [0.2, 0.5, 0.9]
    alone = row("m", "knn", 0.2, 0.1, (0,)) | {"last": {"mean": values[0], "std": None}}
    two = {"mean": statistics.mean(values[1:]), "std": statistics.stdev(values[1:])}
    (found,) = catalogue_page.pooled([alone], [row("m", "knn", 0.7, 0.4, (1, 2)) | {"last": two, "seconds": 40.0}])
    assert found["seeds"] == [0, 1, 2]
    assert found["last"]["mean"] == pytest.approx(statistics.mean(values))
    assert found["last"]["std"] == pytest.approx(statistics.stdev(values))
    assert found["seconds"] == pytest.approx(30.0)
    again = catalogue_page.pooled([found], [row("m", "knn", 0.3, 0.1, (2,)), row("n", "knn", 0.3, None, (1,))])
    assert [(line["method"], line["seeds"]) for line in again] == [("m", [0, 1, 2]), ("n", [1])]
    (later,) = catalogue_page.pooled(again[1:], [row("n", "knn", 0.5)])
    assert later["seeds"] == [0, 1, 2]
    sys.modules.pop("catalogue_page")
