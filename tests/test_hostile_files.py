"""Every verb over files that somebody made to run code, fetch something, fill the memory, hang or fail.

No file of theirs is run, nothing is connected to, and each refusal is one line that a terminal does not act on.
"""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
import torch

import ssl_registry
from ssl_registry import registry
from ssl_registry.cli import main
from ssl_registry.errors import SSLRegistryError
from ssl_registry.workflows.export import writing

# Of one entry, over what the process had before: a gigabyte that an archive hides is not read.
MOST_MEMORY = 2**29
SHORT = ("--epochs", "1", "--knn", "false", "--report", "false", "--trainer.enable_progress_bar", "false")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step, with a network of timm's."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    arguments: dict[str, Any] = {"options": {"projection_dim": 4}, "knn": False, "report": False}
    limits = {"accelerator": "cpu", "enable_progress_bar": False, "limit_train_batches": 1}
    ssl_registry.train("simclr", backbone="test_resnet", epochs=1, out=folder, trainer=limits, **arguments)
    return folder


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with code that waits to be run; afterwards nothing was run, connected to or read without a bound."""
    for name in ("evil.py", "evil_module.py"):
        (tmp_path / name).write_text(hostile.EVIL)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(hostile.Exploit()))
    (tmp_path / "evil.yaml").write_text("backbone: evil.py:Net\n")
    (tmp_path / "trainer.yaml").write_text("logger:\n  class_path: evil_module.Evil\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    connections: list[Any] = []

    def connect(*words: Any, **more: Any) -> Any:
        connections.append(words)
        raise OSError(101, "Network is unreachable")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, connect)
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, connect)
    # What an export is compared by takes a process of its own, which has tests of its own.
    monkeypatch.setattr(writing, "largest_difference", lambda *_: 0.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield tmp_path
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert not list(tmp_path.rglob("canary")), "code of a file was run"
    assert not connections
    assert grown * 1024 < MOST_MEMORY


def command(*words: str) -> Callable[[Path], int]:
    """A verb of the command line, with RUN in the place of the folder."""
    return lambda run: main([word.replace("RUN", str(run)) for word in words])


def python(call: Callable[[Path], Any]) -> Callable[[Path], int]:
    """A function of Python; its error counts as the command line's."""

    def run(folder: Path) -> int:
        try:
            call(folder)
        except SSLRegistryError:
            return 2
        return 0

    return run


VERBS: dict[str, Callable[[Path], int]] = {
    "load": python(lambda run: registry.load(run)),
    "create": python(
        lambda run: registry.create("simclr", backbone="test_resnet", image_size=16, in_chans=1, weights=run)
    ),
    "evaluate": command("evaluate", "RUN", "--protocols", "knn"),
    "finetune": command("finetune", "RUN", "--labels", "0.01", "--epochs", "1", "--out", "finetuned"),
    "embed": command("embed", "RUN", "--out", "x.parquet"),
    "export": command("export", "RUN", "--out", "exported"),
    "report": command("report", "RUN"),
    "explain": command("explain", "RUN"),
    "train --from": command("train", "simclr", "--from", "RUN", "--out", "new", *SHORT),
    "train --config": command("train", "simclr", "--config", "RUN/config.yaml", "--out", "again", *SHORT),
    "train --resume": command("train", "simclr", "--resume", "--out", "RUN"),
}
# Which verbs look into what an entry changes; the other verbs' ways are those of an untouched run.
LOOKS = {
    "record": hostile.READS_CHECKPOINT | {"report"},
    "checkpoint": hostile.READS_CHECKPOINT | {"report"},
    "settings": hostile.READS_SETTINGS,
    "results": {"report"},
    "metrics": {"report"},
}


@pytest.mark.parametrize(
    "every", [pytest.param(False, id="a verb of each"), pytest.param(True, id="every verb", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", hostile.RUNS)
def test_every_verb_on_a_hostile_run(
    name: str, every: bool, trained: Path, guarded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused in one line by each verb that would act on it; passed over by the others."""
    change, refusing = hostile.RUNS[name]
    verbs = sorted(LOOKS[name.partition(":")[0]])
    if not every:  # one that refuses and one that does not, another for each entry
        parts = [[verb for verb in verbs if (verb in refusing) == refused] for refused in (True, False)]
        verbs = [part[list(hostile.RUNS).index(name) % len(part)] for part in parts if part]
    for verb in verbs:
        run = guarded / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(trained, run)
        change(run)
        # A verb that nothing hinders would train or measure: these are tested elsewhere.
        if verb not in refusing and verb not in ("report", "explain", "load", "create", "export"):
            continue
        code = VERBS[verb](run)
        out, err = capsys.readouterr()
        assert code in (0, 1, 2), verb
        assert code == 2 or verb not in refusing, f"{verb} did not refuse: {out}"
        if code == 2 and err:
            lines = [line for line in err.splitlines() if line.startswith("ssl-registry ")]
            assert len(lines) == 1, (verb, err)
            assert "Traceback" not in err
        assert not set("\x1b\u202e\x07") & set(out + err), verb


def test_trust_is_told_in_one_line(trained: Path, guarded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What would have been done, by which value of which file, and how to say yes."""
    run = shutil.copytree(trained, guarded / "run")
    hostile.in_settings(data="pipe:touch canary")(run)
    assert main(["evaluate", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{run / 'config.yaml'} says data: pipe:touch canary, which would run the command 'touch canary'" in line
    assert "add --trust" in line


# A copy of a run: Lightning tells that it lay elsewhere.
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_value_that_is_said_again_is_the_users(trained: Path, guarded: Path) -> None:
    """The file's own is not asked about then."""
    run = shutil.copytree(trained, guarded / "run")
    hostile.in_settings(data="pipe:touch canary", backbone="evil.py:Net")(run)
    words = ["--resume", "--out", str(run), "--data", "digits", "--backbone", "test_resnet"]
    assert main(["train", "simclr", *words]) == 0


def names(folder: Path) -> None:
    for name in (hostile.STEERING.replace("/", ""), "b"):
        (folder / name).mkdir()
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 255, (9, 9), dtype=np.uint8)
            from PIL import Image

            Image.fromarray(pixels).save(folder / name / f"{number}{name}.png")


def objects(folder: Path) -> None:
    np.savez(folder / "x.npz", X=np.array([hostile.Exploit()], dtype=object))


def unpickled(folder: Path) -> None:
    torch.save({"X": hostile.Exploit()}, folder / "x.pt")


def promising(folder: Path) -> None:
    with (folder / "x.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 3, 10**4)}
        np.lib.format.write_array_header_1_0(file, header)


def labels(folder: Path) -> None:
    (folder / "x.csv").write_text("a,b,label\n" + "".join(f"{n},1,{hostile.STEERING}{n % 2}\n" for n in range(8)))


PNG = b"\x89PNG\r\n\x1a\n"
DATA: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a folder of steering names": ("FOLDER", names),
    "an array of objects": ("FOLDER/x.npz", objects),
    "a pickled array": ("FOLDER/x.pt", unpickled),
    "a header without an array": ("FOLDER/x.npy", promising),
    "steering labels": ("FOLDER/x.csv", labels),
    "a member that leads out": ("FOLDER/x.tar", lambda folder: hostile.tar(folder / "x.tar", {"../canary.png": PNG})),
    "a label of a megabyte": ("FOLDER/x.tar", lambda folder: hostile.tar(folder / "x.tar", {"a.cls": b"1" * 2**20})),
    "steering members": (
        "FOLDER/x.tar",
        lambda folder: hostile.tar(folder / "x.tar", {f"{hostile.STEERING}.png": PNG}),
    ),
    "a name of a gigabyte": ("FOLDER/x.tar.gz", lambda folder: hostile.long_name(folder / "x.tar.gz")),
    "shards without end": ("FOLDER/{000000000..999999999}.tar", lambda folder: None),
    "a pipe among shards": ("FOLDER/*.tar", lambda folder: os.mkfifo(folder / "x.tar")),
    "a pipe for a table": ("FOLDER/*.parquet", lambda folder: os.mkfifo(folder / "x.parquet")),
    "a pipe among images": ("FOLDER", lambda folder: os.mkfifo(folder / "x.png")),
    "a garbled table": ("FOLDER/x.parquet", lambda folder: (folder / "x.parquet").write_bytes(b"PAR1" * 9) and None),
    "a script for a data set": (
        "hf:FOLDER",
        lambda folder: (folder / f"{folder.name}.py").write_text(hostile.EVIL) and None,
    ),
    "a name of 300 letters": ("x" * 300, lambda folder: None),
}


@pytest.mark.parametrize("verb", ["views", "profile", "train"])
@pytest.mark.parametrize("name", DATA)
def test_hostile_data(name: str, verb: str, guarded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A picture of what can be read, or one line."""
    if verb != "views" and name in ("a folder of steering names", "steering labels", "a name of a gigabyte"):
        return  # what can be read would be trained on; and what cannot is read once
    data, write = DATA[name]
    folder = guarded / "data"
    folder.mkdir()
    write(folder)
    words = {"views": ["--out", "x.png"], "profile": ["--steps", "1"], "train": ["--out", "run", *SHORT]}[verb]
    code = main([verb, "simclr", "--data", data.replace("FOLDER", str(folder)), *words])
    out, err = capsys.readouterr()
    assert code == 2 or name == "a folder of steering names"
    assert len([line for line in err.splitlines() if line.startswith("ssl-registry ")]) == (code == 2)
    assert not set("\x1b\u202e\x07") & set(out + err)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"architecture": "evil.py:Net"}', "would run the Python file evil.py"),
        ('{"architecture": "hf-hub:evil/evil"}', "would fetch"),
        (
            '{"architecture": "test_resnet", "model_args": {"checkpoint_path": "evil.pth"}}',
            "would read weights from elsewhere",
        ),
        ('{"architecture": "test_resnet", "model_args": {"x=open(1),y": null}}', "is no name of an argument"),
        ('{"architecture": 3}', "architecture: "),
        ("[" * 100_000, "nested too deeply"),
        (None, "no regular file"),
    ],
)
def test_hostile_export(
    text: str | None, message: str, trained: Path, guarded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``train --from`` takes a network's name from an export only if that is a name."""
    folder = guarded / "export"
    ssl_registry.export(trained, out=folder)
    (folder / "config.json").unlink()
    if text is None:
        os.mkfifo(folder / "config.json")
    else:
        (folder / "config.json").write_text(text)
    assert main(["train", "simclr", "--from", str(folder), "--out", "new", *SHORT]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (guarded / "new").exists()


def test_hostile_suite(guarded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``bench`` asks before a suite of somebody's runs a file or a command."""
    for settings, data in (("{backbone: 'evil.py:Net'}", "digits"), ("{}", "pipe:touch canary")):
        (guarded / "suite.yaml").write_text(f"recipe: small\ndata: '{data}'\nsettings: {settings}\n")
        assert main(["bench", "suite.yaml", "--methods", "simclr", "--seeds", "1", "--out", "out"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "add --trust" in line


def test_name_of_a_run(trained: Path, guarded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that a pattern of the shell brought along is shown without its escapes."""
    run = shutil.copytree(trained, guarded / hostile.STEERING.replace("/", ""))
    for words in (["report", str(run)], ["explain", str(run)], ["export", str(run)], ["evaluate", f"{run}x"]):
        main(words)
        out, err = capsys.readouterr()
        assert not set("\x1b\u202e\x07") & set(out + err), words
