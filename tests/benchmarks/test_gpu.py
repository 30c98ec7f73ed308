"""`benchmarks/gpu.py`: what a run that is cut off keeps, which cells it starts, and that it runs."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest


@pytest.fixture
def gpu(monkeypatch):
    before = {*sys.modules}
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    yield importlib.import_module("gpu")
    for name in {*sys.modules} - before:  # `views` and `memory` are common names
        if name in ("gpu", "gpu_contenders", "harness", "views", "views_peers"):
            del sys.modules[name]


def test_what_is_found_is_written_after_each_cell(gpu, tmp_path):
    """Cells that no longer fit are left out by name, a shorter one behind them may fit still."""
    path, seconds = tmp_path / "out/gpu.json", iter([0, 0, 0, 60, 60, 60, 90, 90, 90])
    cells = [gpu.Cell("steps", method, "resnet50", ("ours",)) for method in ("byol", "simclr", "dino")]
    about = {"byol": 10, "simclr": 50, "dino": 5}
    kept = []

    def measure(cell):
        yield gpu.Row(cell.name, cell.method, cell.backbone, "ours", 8, rate=1.0, low=1.0, high=1.0)

    def write(rows, left_out):
        gpu.save(path, {"machine": "this"}, rows, left_out)
        kept.append(json.loads(path.read_text()))

    gpu.run(cells, measure, write, seconds=100, about=lambda cell: about[cell.method], clock=lambda: next(seconds))
    assert [len(found["rows"]) for found in kept] == [1, 1, 2]
    assert kept[-1]["left_out"] == ["simclr, resnet50, steps"]
    assert [row["method"] for row in kept[-1]["rows"]] == ["byol", "dino"]


def test_cells(gpu):
    """stable-pretraining's setting comes first; every method has its networks, and no cell comes twice."""
    cells = gpu.cells()
    assert (cells[0].method, cells[0].backbone) == ("barlow-twins", gpu.VIT)
    assert len({cell.name for cell in cells}) == len(cells)
    compiled = {(cell.method, cell.backbone) for cell in cells if gpu.COMPILED in cell.contenders}
    assert compiled == {("mae", gpu.VIT)} | {
        (method, backbone)
        for method in ("byol", "simclr", "barlow-twins", "dino")
        for backbone in (gpu.RESNET, gpu.VIT)
    }


def test_a_contender_that_fails_is_a_row(gpu):
    """The others go on, and the table says why it has no figures."""
    scale = gpu.Scale("cpu", tiny=True, batch=2, size=56, workers=0)
    (row,) = gpu.measure_steps(gpu.Cell("steps", "mae", "resnet50", ("ours",)), scale, 1, 0.0, 1e12)
    assert "BackboneError" in row.error
    assert row.rate is None
    assert "BackboneError" in gpu.line(row)


@pytest.mark.slow  # two networks are trained, and files written
def test_runs_on_a_cpu(gpu, tmp_path):
    """Steps and files, from the command line."""
    path = tmp_path / "gpu.json"
    arguments = ["--device", "cpu", "--tiny", "--only", "barlow-twins, vit", "--json", str(path)]
    gpu.main(arguments)
    rows = json.loads(path.read_text())["rows"]
    ours = [row for row in rows if row["who"].startswith("ours")]
    assert [row["error"] for row in ours] == [None] * 4
    assert all(row["rate"] > 0 and row["published"] == 871.0 for row in ours)
    assert ours[0]["tflops"] > 0
