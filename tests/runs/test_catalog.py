"""The runs of a folder: states, the best, and what `runs clean` removes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ssl_registry._system.locking import lock_folder
from ssl_registry.cli import main
from ssl_registry.errors import ConfigError
from ssl_registry.runs.catalog import best, disposable, find_runs, remove


def make(
    folder: Path, *, seed: int, age: int, score: float | None = None, diverged: bool = False, data: str = "digits"
):
    """Write a run as training leaves it; without a score as an interrupted one."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/last.ckpt").write_bytes(b"x" * 1000)
    (folder / "origins.json").write_text('{"method": "argument"}')
    (folder / "config.yaml").write_text(f"method: simclr\nbackbone: resnet18\ndata: {data}\nseed: {seed}\n")
    if score is not None:
        facts = {"steps": 9, "linear": {"trained": score}, "knn": {"trained": score / 2}, "diverged": diverged}
        (folder / "results.json").write_text(json.dumps(facts))
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (1e9 - age, 1e9 - age))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a folder with a run in every state, one of them deeper."""
    folder = tmp_path / "runs"
    make(folder / "good", seed=0, age=1, score=0.8)
    make(folder / "again", seed=0, age=5, score=0.8)
    make(folder / "bench/simclr/other", seed=1, age=2, score=0.7)
    make(folder / "stopped", seed=2, age=3)
    make(folder / "lost", seed=3, age=4, score=0.1, diverged=True)
    make(folder / "noted", seed=4, age=6)
    (folder / "noted/notes.txt").write_text("mine")
    make(folder / "elsewhere", seed=0, age=7, score=0.3, data="har.npz")
    (folder / "empty").mkdir()
    return folder


def test_states_and_scores(runs: Path) -> None:
    """The last changed first; what is in the folder tells how far each came."""
    found = {entry.folder.name: entry for entry in find_runs(runs)}
    assert list(found) == ["good", "other", "stopped", "lost", "again", "elsewhere", "noted"] or "noted" in found
    states = {name: entry.state for name, entry in found.items()}
    assert states["good"] == states["other"] == "finished"
    assert (states["stopped"], states["lost"]) == ("interrupted", "diverged")
    assert (found["good"].score, found["good"].protocol) == (0.8, "linear")
    assert found["stopped"].score is None
    assert found["good"].size > 1000
    assert (found["good"].method, found["good"].data) == ("simclr", "digits")


def test_a_run_that_goes_on_and_one_that_is_damaged(runs: Path) -> None:
    """Neither is offered for removal."""
    (runs / "lost/results.json").write_text("[")
    with lock_folder(runs / "stopped"):
        found = find_runs(runs)
        states = {entry.folder.name: entry.state for entry in found}
        assert (states["stopped"], states["lost"]) == ("running", "damaged")
        assert {entry.folder.name for entry, _ in disposable(found)} == {"again", "noted"}
        with pytest.raises(ConfigError, match="another process"):
            remove(next(entry for entry in found if entry.folder.name == "stopped"))
    assert (runs / "stopped/config.yaml").is_file()


def test_best_of_each_data_set(runs: Path) -> None:
    """Scores of different data do not compare; what diverged does not count."""
    assert {entry.folder.name for entry in best(find_runs(runs))} == {"good", "elsewhere"}


def test_clean_asks_and_keeps(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run removes nothing; without a terminal it must be told; notes of the user's stay."""
    assert main(["runs", "clean", str(runs), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "would remove" in out
    assert "superseded by" in out
    assert "notes.txt, which training did not write" in out
    assert main(["runs", "clean", str(runs)]) == 2
    assert "add --yes" in capsys.readouterr().err
    assert (runs / "stopped").is_dir()
    assert main(["runs", "clean", str(runs), "--yes"]) == 0
    assert "removed 3 runs" in capsys.readouterr().out
    assert {path.name for path in runs.iterdir()} == {"good", "bench", "noted", "elsewhere", "empty"}
    assert (runs / "noted/checkpoints/last.ckpt").is_file()
    assert main(["runs", "clean", str(runs), "--yes"]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_table_and_json(runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A row for each run; the same as JSON."""
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["runs", str(runs)]) == 0
    out = capsys.readouterr().out
    for words in ("interrupted", "diverged", "0.800 linear", "har.npz", "1.1 kB"):
        assert words in out
    assert main(["runs", "best", str(runs), "--json"]) == 0
    assert {Path(entry["folder"]).name for entry in json.loads(capsys.readouterr().out)} == {"good", "elsewhere"}


def test_a_run_is_a_line_where_output_is_no_terminal(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its whole folder in it."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["runs", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for entry in find_runs(runs):
        (line,) = (line for line in lines if line.split() and line.split()[0] == str(entry.folder))
        assert entry.state in line


@pytest.mark.parametrize(
    ("argv", "message"),
    [(["no/where"], "does not exist"), (["bst"], "does not exist"), (["clean", "no/where"], "does not exist")],
)
def test_mistakes(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    assert main(["runs", *argv]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
