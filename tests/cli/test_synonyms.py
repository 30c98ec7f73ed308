"""Options as other tools call them, in every kind of parser, and words that stand behind no option."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ssl_registry.cli import main


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "simclr", "--lr", "0.1"], "Did you mean --learning-rate?"),
        (["train", "simclr", "--bs", "8"], "Did you mean --batch-size?"),
        (["train", "simclr", "--imgsz=64"], "Did you mean --image-size?"),
        (["train", "simclr", "--num-workers", "2"], "Did you mean --workers?"),
        (["train", "simclr", "--batch_sise", "2"], "Did you mean --batch-size?"),
        (["train", "simclr", "--gpus", "2"], "Did you mean --trainer.devices?"),
        (["train", "simclr", "photos/"], "such as --data photos/"),
        (["finetune", "run", "--lr", "0.1"], "Did you mean --learning-rate?"),
        (["evaluate", "run", "--bs", "8"], "Did you mean --batch-size?"),
        (["embed", "run", "--out", "x.parquet", "--num_workers=2"], "Did you mean --workers?"),
        (["embed", "run", "photos/", "--out", "x.parquet"], "--data photos/"),
        (["predict", "run", "photos/", "--out", "x.csv"], "--data photos/"),
    ],
)
def test_what_was_meant(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line with the name that the option has here."""
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["train simclr", "evaluate", "finetune", "embed", "predict"])
def test_help_has_one_spelling(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Dashes, wherever an option is named."""
    with suppress(SystemExit):
        main([*command.split(), "--help"])
    out = capsys.readouterr().out
    assert "--batch-size" in out
    assert "--batch_size" not in out
