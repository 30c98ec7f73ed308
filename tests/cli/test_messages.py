"""What the library logs becomes lines while a command runs, and nothing otherwise."""

from __future__ import annotations

import logging

import pytest

import ssl_registry
from ssl_registry.cli import messages
from ssl_registry.cli.messages import show_messages

log = logging.getLogger("ssl_registry.some.module")


def test_lines_are_printed(capsys):
    """One a message, with a word before warnings; debugging stays unseen."""
    with show_messages():
        log.debug("details")
        log.info("reading %d files", 3)
        log.warning("collapse")
    captured = capsys.readouterr()
    assert captured.out == "reading 3 files\nWarning: collapse\n"
    assert captured.err == ""


def test_another_stream_and_a_prefix(capsys):
    """What a command prints as JSON keeps stdout for itself."""
    with show_messages(stream="stderr", prefix="... "):
        log.info("measuring")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "... measuring\n")


def test_a_call_from_python_prints_nothing(capsys):
    """Before and after the block the logger is as any library's."""
    logger = logging.getLogger("ssl_registry")
    before = logger.level, list(logger.handlers)
    with show_messages():
        pass
    log.info("reading")
    assert (logger.level, logger.handlers) == before
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_of_several_processes_the_first_one_prints(variable, capsys, monkeypatch):
    """Whoever started them."""
    for rank in ("1", "0"):
        monkeypatch.setenv(variable, rank)
        with show_messages():
            log.info(f"rank {rank}")
    assert capsys.readouterr().out == "rank 0\n"


def test_a_script_asks_for_the_lines(capsys):
    """From the call on, each once however often it is called."""
    try:
        ssl_registry.print_messages()
        ssl_registry.print_messages()
        log.info("reading")
    finally:
        (printing,) = messages._printing
        printing.close()
        messages._printing.clear()
    log.info("unseen")
    assert capsys.readouterr().out == "reading\n"
