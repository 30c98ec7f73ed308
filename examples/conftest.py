"""How the gallery's scripts are run in tests: as they stand, with trainings of two steps."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ssl_registry
from ssl_registry.cli import messages

# Scripts run when they are imported, as those that look for doctests would.
collect_ignore = [f"{name}/{name}.py" for name in ("adapt", "curate", "few_labels", "search")]
QUIET = {"max_steps": 2, "accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture
def run_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Iterator[Callable[..., str]]:
    """Run ``examples/NAME/NAME.py`` in an empty folder and return what it printed."""
    train = ssl_registry.train
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSL_REGISTRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ssl_registry, "train", lambda method, **rest: train(method, **rest, trainer=QUIET))

    def run(name: str, *words: str) -> str:
        script = Path(__file__).parent / name / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [str(script), *words])
        runpy.run_path(str(script))
        return str(capsys.readouterr().out)

    yield run
    for printing in messages._printing:  # later tests print nothing
        printing.close()
    messages._printing.clear()
