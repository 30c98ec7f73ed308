"""Accuracy beside lightly's at a tiny size: both begin alike, and what was found becomes a table and a picture."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = {"image-size": 8, "samples": 60, "width": 4, "batch": 16, "steps": 2, "seeds": 2, "methods": "byol", "k": 5}


def script(name: str, *arguments: object) -> str:
    command = [sys.executable, str(BENCHMARKS / name), *map(str, arguments)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.slow  # a process that imports all peers
def test_both_train_on_digits(tmp_path):
    """From one untrained backbone and through all steps; without lightly, ours alone, and how to install it."""
    options = [word for name, value in TINY.items() for word in (f"--{name}", value)]
    printed = script("accuracy.py", *options, "--json", tmp_path / "found.json")
    expected = ["ours", "lightly"] if find_spec("lightly") else ["ours"]
    assert (len(expected) == 1) == ("pip install 'ssl-registry[bench]'" in printed)
    content = json.loads((tmp_path / "found.json").read_text())
    assert sorted((run["who"], run["seed"]) for run in content["runs"]) == sorted(
        (who, seed) for who in expected for seed in (0, 1)
    )
    for run in content["runs"]:
        assert [look["step"] for look in run["looks"]] == [0, 1, 2]
        times = [look["seconds"] for look in run["looks"]]
        assert times == sorted(times)
    for seed in (0, 1):
        untrained = [run["looks"][0]["linear"] for run in content["runs"] if run["seed"] == seed]
        assert max(untrained) - min(untrained) < 0.05  # they sum in another order
    assert content["options"]["steps"] == 2
    assert "torch" in content["machine"]
    assert "| BYOL | ours |" in printed


@pytest.mark.slow  # a process that imports all peers
def test_one_alone(tmp_path):
    """--who leaves the other out."""
    options = [word for name, value in (TINY | {"seeds": 1, "who": "ours"}).items() for word in (f"--{name}", value)]
    assert "lightly, seed" not in script("accuracy.py", *options, "--json", tmp_path / "found.json")
    assert [run["who"] for run in json.loads((tmp_path / "found.json").read_text())["runs"]] == ["ours"]


def run(who: str, seed: int, *accuracies: float) -> dict[str, object]:
    looks = [
        {"step": 10 * number, "seconds": 5.0 * number, "cpu_seconds": 4.0 * number, "knn": knn, "linear": 0.5}
        for number, knn in enumerate(accuracies)
    ]
    return {"method": "simclr", "who": who, "seed": seed, "looks": looks}


def test_figures(tmp_path):
    """Mean and deviation over seeds; the time until lightly's last accuracy lies between two looks."""
    runs = [run("ours", 0, 0.2, 0.6, 0.8), run("ours", 1, 0.2, 0.6, 0.9), run("lightly", 0, 0.2, 0.3, 0.5)]
    (tmp_path / "found.json").write_text(json.dumps({"runs": runs}))
    printed = script("accuracy_figures.py", tmp_path / "found.json", tmp_path / "figure.svg")
    assert "| SimCLR | ours | 85.0 ± 7.1 | 50.0 ± 0.0 | 10 (8) | 4 (3) | 0 (0) |" in printed
    assert "| SimCLR | lightly | 50.0 | 50.0 | 10 (8) | 10 (8) | 0 (0) |" in printed
    if find_spec("matplotlib"):
        assert "seconds of wall clock" in (tmp_path / "figure.svg").read_text()
    else:
        assert "matplotlib is not installed" in printed
