"""A session ends at its time limit, with the verdict of what ran."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def session(tmp_path):
    """Run pytest in a folder of test files, with a deadline that many seconds from now."""

    def run(seconds: float, *words: str, **files: str) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-p", "time_limit"]
        command += ["--deadline", str(time.time() + seconds), *words, *(f"{name}.py" for name in files)]
        # Plugins that are none of this test's business take seconds to import.
        environment = os.environ | {"PYTHONPATH": str(ROOT / "tools"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


TWO = "def test_first(): {}\ndef test_second(): raise SystemError\n"


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
@pytest.mark.parametrize(("first", "code"), [("pass", 0), ("assert False", 1)])
def test_tests_behind_the_limit_do_not_run_and_do_not_count(session, workers, first, code):
    """Also where workers of pytest-xdist hold the next tests; a failure before the limit stays one."""
    done = session(-1, *workers, test_a=TWO.format(first), test_b="def test_third(): raise SystemError\n")
    assert done.returncode == code, done.stdout + done.stderr
    assert re.search(r"^1 (passed|failed) in", done.stdout, re.MULTILINE)
    left = re.findall(r"^  (\S+)$", done.stdout.partition("left to `make test`:")[2], re.MULTILINE)
    assert [Path(path).name for path in left] == ["test_b.py"]


def test_session_within_the_limit_is_whole(session):
    """Before the limit every test runs."""
    done = session(1000, test_a=TWO.format("pass"))
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "make test" not in done.stdout


def test_interrupt_is_no_time_limit(session):
    """Ctrl-C is an interrupted session, not one that passed."""
    done = session(1000, test_a="def test_first(): raise KeyboardInterrupt\n")
    assert done.returncode == 2
