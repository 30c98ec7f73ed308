"""Words become options: either spelling, None, files, and one line for each mistake; nothing is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_registry import MethodConfig, registry
from ssl_registry.cli import main
from ssl_registry.cli.settings import resolve
from ssl_registry.cli.train_options import make_parser
from ssl_registry.cli.words import short_names
from ssl_registry.errors import ContractError, TrustError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(*words):
    return resolve("byol", registry.method_class("byol").Config, list(words))


def test_dashes_and_underscores_are_one_option():
    """Also of what lies in a mapping, and of the method's own."""
    dashes = settings("--batch-size", "8", "--hidden-dim=16", "--optimizer-kwargs.momentum", "0.5")
    underscores = settings("--batch_size=8", "--hidden_dim", "16", "--optimizer_kwargs.momentum=0.5")
    assert dashes == underscores
    assert (dashes.run.batch_size, dashes.options["hidden_dim"]) == (8, 16)
    assert dashes.options["optimizer_kwargs"] == {"momentum": 0.5}


def test_switches_need_no_value():
    """A value works as well."""
    assert settings("--compile", "--report", "false").run.compile is True
    assert settings("--compile", "--report=false").run.report is False


@pytest.mark.parametrize("words", [["--schedule", "None"], ["--schedule=None"], ["--schedule", "null"]])
def test_none_in_pythons_spelling(words):
    """A user of Python writes None, YAML null."""
    assert settings("--schedule", "5").options["schedule"] == 5
    assert settings(*words).options["schedule"] is None


def test_only_given_arguments_reach_the_trainer():
    """Lightning's defaults stay Lightning's."""
    assert settings("--trainer.max_steps", "5").trainer == {"max_steps": 5}
    assert settings().trainer == {}


@pytest.mark.parametrize(
    ("config", "words", "expected"),
    [
        ("epochs: 3", ["--trainer.max_epochs", "2"], (None, 2)),
        ("trainer: {max_epochs: 3}", ["--epochs", "2"], (2, None)),
        ("trainer: {max_epochs: 3}", [], (None, 3)),
        ("epochs: 3\ntrainer: {max_epochs: 3}", [], (3, 3)),  # which `train` refuses
    ],
)
def test_a_flag_wins_over_the_other_option_for_the_same(config, words, expected, folder):
    """Of --epochs and --trainer.max_epochs the one from the more important place counts."""
    (folder / "c.yaml").write_text(config)
    found = settings("--config", "c.yaml", *words)
    assert (found.run.epochs, found.trainer.get("max_epochs")) == expected
    if expected[0] is None:
        assert "epochs" not in found.origins


def test_paths_and_repeated_views():
    """A path is a path; all that is said of one view counts."""
    run = settings("--out", "a/b", "--from", "c", "--views.0.blur", "0", "--views.0.flip=0.5").run
    assert (run.out, run.start_from) == (Path("a/b"), Path("c"))
    assert run.views == {"0": {"blur": 0, "flip": 0.5}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "many"], "--epochs 'many' is not accepted (allowed: int >= 1 | None)"),
        (["--epochs", "0"], "byol: epochs=0 is not accepted, it should be greater than or equal to 1"),
        (["--momentum", "2"], "byol: momentum=2.0 is not accepted, it should be less than or equal to 1"),
        (["--guard", "loud"], "--guard 'loud' is not accepted (allowed: warn | stop | off)"),
        (["--report", "maybe"], "--report 'maybe' is not accepted (allowed: bool)"),
        (["--epochs"], "--epochs needs a value"),
        (["--out="], "--out needs a value"),
        (["--out", ""], "--out needs a value"),
        (["--batch-siz", "3"], "byol has no option --batch-siz. Did you mean --batch-size"),
        (["photos/"], "photos/ stands behind no option; options begin with --, such as --data photos/"),
        (["--trainer.max_step", "3"], "has no option --trainer.max_step. Did you mean --trainer.max_steps"),
        (["--trainer.max_steps", "many"], "--trainer.max_steps 'many' is not accepted; --trainer.help tells"),
        (["--trainer.fast_dev_run", "true"], "leaves neither metrics nor a checkpoint; --trainer.max_steps 5"),
        (["--trainer.callbacks", "x"], "callbacks is a Python object, so it can be given in Python alone"),
        (["--epochs", "1", "--trainer.max_epochs", "1"], "give --epochs or --trainer.max_epochs, not both"),
        (["--resume"], "--resume needs --out"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys, folder):
    """The option, what it takes, exit code 2, and no folder."""
    assert main(["train", "byol", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert list(folder.iterdir()) == []


def test_a_mistake_in_a_file_names_the_file(capsys, folder):
    """Another method's configuration, and an option that is not there."""
    (folder / "other.yaml").write_text("method: simclr\n")
    (folder / "wrong.yaml").write_text("batch-size: 3\n")
    for name, message in (
        ("other.yaml", "other.yaml is a configuration of simclr, not byol"),
        ("wrong.yaml", "wrong.yaml: byol has no option --batch-size. Did you mean 'batch_size'"),
    ):
        assert main(["train", "byol", "--config", name]) == 2
        assert message in capsys.readouterr().err


def test_an_option_named_as_one_of_trains_is_told():
    """Registration refuses such a method; a parser made for one says so instead of failing."""

    class Config(MethodConfig):
        epochs: int = 3

    with pytest.raises(ContractError, match="mine: its option epochs has a name that train takes"):
        make_parser("mine", Config, trainer=False)


def test_help_shows_dashes(capsys):
    """One spelling, with what the option takes, its default, and one description."""
    assert main(["train", "byol", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "--seed SEED Seed of weights, order, views and everything else random. [int >= 0, default: 0]" in out
    assert "--start-from START_FROM, --from START_FROM" in out
    assert "--batch_size" not in out
    epochs = "Passes over the data (default: 100, fewer for images on a CPU, unless the trainer has a limit)."
    assert f"--epochs EPOCHS {epochs} [int >= 1 | None]" in out


def test_what_the_data_mean_is_said_behind_data():
    """Short names of the options; columns to drop add up, however they are given."""
    short = settings("--data.label", "price", "--data.test=b.csv", "--data.drop", "a,b", "--data.drop=c")
    long = settings("--label-column=price", "--test-data", "b.csv", "--drop-columns", "a, b, c")
    assert short == long
    assert (short.run.label_column, short.run.test_data, short.run.drop_columns) == ("price", "b.csv", ("a", "b", "c"))
    assert short.origins == {"label_column": "flag", "test_data": "flag", "drop_columns": "flag"}


@pytest.mark.parametrize("flag", short_names())
def test_every_short_name_tells_that_it_was_given(flag):
    """Those of `DataOptions`: an option that the user gave is told as his, under each of its names."""
    value = {"--data.range": "0,5"}.get(flag, "4")
    assert resolve("simclr", registry.method_class("simclr").Config, [flag, value]).origins == {
        short_names()[flag][2:]: "flag"
    }


def test_a_file_cannot_name_a_command_for_the_test_part(folder):
    """What `--data` needs trust for, its test part needs too."""
    (folder / "x.yaml").write_text("test_data: 'pipe:touch canary'\n")
    with pytest.raises(TrustError, match=r"test.data.*run the command"):
        settings("--config", "x.yaml")
    assert settings("--config", "x.yaml", "--trust").run.test_data == "pipe:touch canary"
