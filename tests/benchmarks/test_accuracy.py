"""Accuracy beside lightly's at a tiny size: both begin alike, and what was found becomes a table and a picture."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CONTENDERS = runpy.run_path(str(BENCHMARKS / "accuracy_contenders.py"))["CONTENDERS"]
TINY = {"image-size": 8, "samples": 60, "width": 4, "batch": 16, "steps": 2, "seeds": 2, "methods": "byol", "k": 5}
LOOKS = [(0, 0.5, 0.4, 0.0), (1, 0.5, 0.6, 2.0)]


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


@pytest.mark.slow  # a process that imports all peers
def test_every_method_trains_beside_lightlys(tmp_path):
    """All contenders, on the same views; a second call adds what is missing and leaves the rest as it was."""
    found = tmp_path / "found.json"
    tiny = TINY | {"image-size": 16, "seeds": 1, "looks": 1, "views": "shared", "steps": 1, "json": found}
    options = [word for name, value in tiny.items() if name != "methods" for word in (f"--{name}", value)]
    script("accuracy.py", *options, "--methods", "swav", "--who", "ours")
    before = json.loads(found.read_text())["runs"]
    printed = script("accuracy.py", *options, "--methods", "all")
    runs = json.loads(found.read_text())["runs"]
    assert runs[0] == before[0]
    assert "swav, ours" not in printed
    assert {run["method"] for run in runs if run["who"] == "ours"} == set(CONTENDERS)
    if find_spec("lightly"):
        theirs = {run["method"] for run in runs if run["who"] == "lightly"}
        assert theirs == set(CONTENDERS) - {"diet", "distill", "lfr"}


@pytest.mark.slow
def test_other_options_do_not_mix(tmp_path):
    """A file with figures of other steps is not added to."""
    (tmp_path / "found.json").write_text(json.dumps({"options": {"steps": 9}, "runs": []}))
    options = [word for name, value in TINY.items() for word in (f"--{name}", value)]
    command = [sys.executable, str(BENCHMARKS / "accuracy.py"), *map(str, options), "--who", "ours"]
    command += ["--json", str(tmp_path / "found.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "holds figures of other options" in done.stderr


def test_page(tmp_path):
    """The table lies between the markers, with what was not reached said below it."""
    looks = [dict(zip(("step", "knn", "linear", "cpu_seconds"), one, strict=True)) for one in LOOKS]
    settings = {"optimizer": "adamw"}

    def runs(method: str, who: str, end: float) -> list[dict[str, object]]:
        last = {"step": 2, "knn": end, "linear": 0.7, "cpu_seconds": 4.0}
        shifts = ((0, 0.0), (1, 0.01))
        return [
            {"method": method, "who": who, "seed": seed, "settings": settings,
             "looks": [*looks, last | {"knn": end + shift}]}
            for seed, shift in shifts
        ]  # fmt: skip

    content = {
        "machine": "a machine",
        "options": {"steps": 2, "batch": 16},
        "raw": {"knn": 0.9, "linear": 0.8},
        "closed": [{"knn": 0.3, "linear": 0.3}, {"knn": 0.3, "linear": 0.3}],
        "runs": [
            *(runs("swav", "ours", 0.4) + runs("swav", "lightly", 0.6)),
            *(runs("vicreg", "ours", 0.6) + runs("vicreg", "lightly", 0.605)),
        ],
    }
    (tmp_path / "found.json").write_text(json.dumps(content))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- accuracy: begin -->\nold\n<!-- accuracy: end -->\nafter\n")
    script("accuracy_table.py", page, tmp_path / "found.json")
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| method | who | optimizer | k-NN at 1 | k-NN at 2 | linear at 1 | linear at 2 | s of CPU | seeds |" in text
    assert "| SwAV | ours | AdamW | 50.0 ± 0.0 | 40.5 ± 0.7 | 60.0 ± 0.0 | 70.0 ± 0.0 | 4 | 2 |" in text
    assert "| untrained backbone |  |  |  | 50.0 ± 0.0 |  | 40.0 ± 0.0 |  | 2 |" in text
    assert "Below the untrained backbone: SwAV (k-NN)." in text
    assert "Below lightly's by more than the larger deviation: SwAV (k-NN, 20.0)." in text


def test_page_of_results_is_made_from_its_figures(tmp_path):
    """`docs/results.md` holds what the command writes from `docs/accuracy.json` and `docs/accuracy400.json`."""
    docs = BENCHMARKS.parent / "docs"
    page = tmp_path / "results.md"
    page.write_text((docs / "results.md").read_text())
    script("accuracy_table.py", page, docs / "accuracy.json", docs / "accuracy400.json")
    assert page.read_text() == (docs / "results.md").read_text()


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
