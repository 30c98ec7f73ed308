"""The page of a run that still trains: served here alone, new when the run is, with pictures at its end."""

from __future__ import annotations

import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssl_registry.cli import main
from ssl_registry.errors import ConfigError
from ssl_registry.workflows.report.live import LiveReport


@pytest.fixture
def training(run: Path, tmp_path: Path) -> Path:
    """A run as it lies on the disk before it has ended."""
    folder = tmp_path / "training"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("report.html", "results.json"))
    return folder


@pytest.fixture
def live(training: Path) -> Iterator[LiveReport]:
    server = LiveReport(training, trust=True)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.close()
    thread.join()


def get(url: str, **headers: str) -> tuple[str, dict[str, str]]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return answer.read().decode(), dict(answer.headers)


def test_a_run_that_trains_and_ends(live: LiveReport, training: Path, run: Path) -> None:
    """Curves while it trains, new steps when they are written; pictures and no further looks when it has ended."""
    page, headers = get(live.url)
    assert headers["Refresh"] == "5"
    assert "they come when the run has ended" in page
    assert "Nearest neighbours" not in page
    (metrics,) = (training / "metrics").glob("*/metrics.csv")
    steps = metrics.read_text()
    assert "777.25" not in page
    with metrics.open("a") as file:
        names = steps.partition("\n")[0].split(",")
        file.write(",".join({"step": "999", "train_loss": "777.25"}.get(name, "") for name in names) + "\n")
    assert "777.25" in get(live.url)[0]
    metrics.write_text(steps)
    shutil.copy(run / "results.json", training)
    page, headers = get(live.url)
    assert "Refresh" not in headers
    assert "Nearest neighbours" in page
    assert not (training / "report.html").exists()


def test_it_is_for_this_machine_alone(live: LiveReport) -> None:
    """No other path, and no name that another site could have pointed here."""
    for url, headers in ((f"{live.url}config.yaml", {}), (live.url, {"Host": "evil.example:80"})):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(url, **headers)
    assert live.url.startswith("http://127.0.0.1:")


def test_mistakes_are_told(training: Path, live: LiveReport, tmp_path: Path, capsys) -> None:
    """A folder that is no run, a port that is taken, options that do not go together."""
    with pytest.raises(ConfigError, match=r"has no config\.yaml"):
        LiveReport(tmp_path)
    with pytest.raises(ConfigError, match="0 takes any that is free"):
        LiveReport(training, port=int(live.url.rstrip("/").rpartition(":")[2]))
    with pytest.raises(ConfigError, match="cannot be used"):
        LiveReport(training, port=70_000)
    assert main(["report", str(training), "--watch", "--out", "x.html"]) == 2
    assert main(["report", str(training), "--port", "80"]) == 2
    assert "--port goes with --watch" in capsys.readouterr().err
