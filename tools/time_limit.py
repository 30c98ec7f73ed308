"""A plugin of pytest: no test begins after `--deadline`. What did not run is named, and is no failure.

It runs in pytest-xdist's workers too: these have to stop by themselves, since each has its next tests already.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

REACHED = "the time limit is reached"


class TimeLimit:
    """Stop a test session at a point in time, between two tests.

    Args:
        deadline: in seconds since the epoch, as `time.time` gives it.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.begun: set[str] = set()
        self.reached = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the files of which tests ran."""
        self.begun.add(report.nodeid.partition("::")[0])

    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Look at the clock after each test."""
        if time.time() > self.deadline:
            item.session.shouldstop = REACHED

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tell the time limit, which pytest treats as an interrupt, from Ctrl-C."""
        self.reached = REACHED in str(excinfo.value)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge the session by the tests that ran."""
        if self.reached:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED if session.testsfailed else pytest.ExitCode.OK

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Name the files of which no test ran."""
        if self.reached:
            left = [path for path in config.args if not any(path.endswith(file) for file in self.begun)]
            terminalreporter.write_line(
                "At the time limit these and the rest of the last files are left to `make test`:"
            )
            for path in left:
                terminalreporter.write_line(f"  {path}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--deadline", type=float, help="seconds since the epoch after which no test begins")


def pytest_configure(config: pytest.Config) -> None:
    """Watch the time where there is a limit."""
    if config.option.deadline is not None:
        config.pluginmanager.register(TimeLimit(config.option.deadline))
