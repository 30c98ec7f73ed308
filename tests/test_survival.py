"""Whatever ends a run, going on ends where an undisturbed run ends; and no checkpoint is ever half-written."""

from __future__ import annotations

import errno
import io
import itertools
import os
import random
import resource
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress

import pytest
import survival
import torch
from lightning.pytorch import Callback
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.plugins.io import TorchCheckpointIO
from PIL import Image

from ssl_registry import registry
from ssl_registry._system.atomic import replacing
from ssl_registry._system.locking import lock_folder
from ssl_registry.checkpoint.io import AtomicCheckpointIO
from ssl_registry.cli import main
from ssl_registry.errors import BatchError, CheckpointError, ConfigError
from ssl_registry.workflows.train import train

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGKILL]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the network."""
    (tmp_path / "net.py").write_text(survival.NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run that nothing happens to leaves, and how long it takes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "net.py").write_text(survival.NET)
    survival.timed(folder, "--out", "first")  # the server's first process waits for its imports
    seconds = survival.timed(folder, "--out", "run")
    return torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True), seconds


def survive(folder, undisturbed, number, generator, kills=1):
    """Kill a run, at moments anywhere between its start and its end; go on; compare the ends."""
    whole, seconds = undisturbed
    last = folder / "run/checkpoints/last.ckpt"
    codes = []
    for _ in range(kills):
        begun = (folder / "run/config.yaml").exists()
        process = survival.start(folder, "--out", "run", *(["--resume"] if begun else []))
        process.join(generator.uniform(0, seconds))
        if process.is_alive():
            os.kill(process.pid, number)
        codes.append(survival.finish(process))
        if last.exists():
            torch.load(last, weights_only=True)  # whole
    begun = (folder / "run/config.yaml").exists()
    survival.timed(folder, "--out", "run", *(["--resume"] if begun else []))
    end = torch.load(last, weights_only=True)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert survival.same(whole[part], end[part]), f"{part} differs after {number.name}, exit codes {codes}"
    assert not list(last.parent.glob("*.part"))


@pytest.mark.parametrize(
    "number", [pytest.param(number, marks=[pytest.mark.slow] * (number != signal.SIGKILL)) for number in SIGNALS]
)
def test_killed_runs_end_as_an_undisturbed_one(number, folder, undisturbed):
    """Weights, optimizer and schedule, bit for bit."""
    survive(folder, undisturbed, number, random.Random(int(number)))


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Three shards of 250 grey images, and the options of a run over them that saves behind every second step of 25."""
    folder = tmp_path_factory.mktemp("shards")
    levels = iter(range(250))
    for shard, count in enumerate((60, 111, 79)):
        with tarfile.open(folder / f"{shard}.tar", "w") as archive:
            for level in itertools.islice(levels, count):
                stream = io.BytesIO()
                Image.new("L", (16, 16), level).save(stream, "PNG")
                member = tarfile.TarInfo(f"{level:03d}.png")
                member.size = stream.tell()
                archive.addfile(member, io.BytesIO(stream.getvalue()))
    options = ("--data", str(folder / "*.tar"), "--image_size", "16", "--batch_size", "10", "--workers", "2")
    return *options, "--checkpoint_every", "2", "--epochs", "2"


@pytest.mark.slow  # half a minute; tests/data has the order of shards after a restart
def test_killed_inside_an_epoch_of_shards(folder, shards):
    """It goes on behind the last checkpoint with the sample that was next: the end is the same, bit for bit."""
    survival.timed(folder, "--out", "whole", *shards)
    last = folder / "run/checkpoints/last.ckpt"
    process = survival.start(folder, "--out", "run", *shards)
    while process.is_alive() and not (last.exists() and checkpoint(folder / "run")["global_step"] > 25):
        time.sleep(0.002)
    process.kill()
    assert survival.finish(process) == -signal.SIGKILL
    assert 25 < checkpoint(folder / "run")["global_step"] < 50
    survival.timed(folder, "--out", "run", "--resume", *shards)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert survival.same(checkpoint(folder / "whole")[part], checkpoint(folder / "run")[part])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_twenty_killed_runs_end_as_an_undisturbed_one(seed, folder, undisturbed):
    """The same at forty other moments."""
    survive(folder, undisturbed, SIGNALS[seed % 3], random.Random(1000 + seed), kills=2)


class Kick(Callback):
    """Send this process a signal in the midst of a step."""

    def __init__(self, step, number):
        self.step, self.number = step, number

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


def run(out, *, callbacks=(), **arguments):
    trainer = {"enable_progress_bar": False, "max_steps": 30, "callbacks": list(callbacks)}
    trainer |= arguments.pop("trainer", {})
    options = {"projection_dim": 8, "lr_schedule": "cosine"}
    given = {"backbone": "net.py:Tiny", "batch_size": 64, "knn": False, "report": False} | arguments
    return train("simclr", out=out, trainer=trainer, options=options, **given)


def checkpoint(path):
    return torch.load(path / "checkpoints/last.ckpt", weights_only=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_signal_ends_the_run_behind_the_step_it_came_in(number, code, folder):
    """The step is finished and saved; the exit code tells a terminated run from an interrupted one."""
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        run("run", callbacks=[Kick(7, number)])
    assert stop.value.code == code
    assert checkpoint(folder / "run")["global_step"] == 8
    if number == signal.SIGTERM:
        assert signal.getsignal(number) == before
    run("run", resume=True)
    run("whole")
    assert survival.same(checkpoint(folder / "run")["state_dict"], checkpoint(folder / "whole")["state_dict"])


def test_slurm_preemption_saves_requeues_and_goes_on(folder, monkeypatch):
    """On SIGUSR1 it saves behind the step and requeues as Lightning does; the requeued job resumes by itself."""
    calls, saved = [], []
    monkeypatch.setattr("lightning.pytorch.trainer.connectors.signal_connector.call", lambda c: calls.append(c) or 0)
    for name, value in {"JOB_ID": 42, "NTASKS": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))

    class Stop(Callback):
        """Be ended as SLURM would, a few steps later."""

        def on_train_batch_end(self, trainer, *args):
            if calls and not saved:
                saved.append(checkpoint(folder / "run")["global_step"])
            if trainer.global_step == 12:
                raise RuntimeError("killed")

    slurm = {"plugins": [SLURMEnvironment()]}
    with pytest.raises(RuntimeError, match="killed"):
        run("run", callbacks=[Kick(7, signal.SIGUSR1), Stop()], trainer=slurm)
    assert calls == [["scontrol", "requeue", "42"]]
    assert saved == [8]
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run("run", trainer=slurm).steps == 30
    run("whole")
    assert survival.same(checkpoint(folder / "run")["state_dict"], checkpoint(folder / "whole")["state_dict"])


def test_write_that_ends_early_leaves_what_was_there(tmp_path):
    """The old content, and nothing beside it."""
    path = tmp_path / "x.ckpt"
    path.write_bytes(b"old")

    def interrupted():
        with replacing(path) as file:
            file.write(b"half of the new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def full_disk():
    """No file can grow beyond a number of bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_leaves_the_last_checkpoint_whole(tmp_path, full_disk):
    """The error names the file and the way on."""
    io, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    io.save_checkpoint({"step": 1, "x": torch.zeros(1000)}, path)
    full_disk(2000)
    with pytest.raises(CheckpointError, match=r"last\.ckpt: File too large; the one before it is whole.*--resume"):
        io.save_checkpoint({"step": 2, "x": torch.zeros(1000)}, path)
    assert io.load_checkpoint(path)["step"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_in_the_midst_of_a_run_is_one_line(folder):
    """A run whose first checkpoint does not fit on the disk ends with code 2, and leaves no half of it."""
    assert survival.finish(survival.start(folder, "--out", "run", limit=10_000)) == 2
    (line,) = [line for line in (folder / "err.txt").read_text().splitlines() if line.startswith("ssl-registry")]
    assert "cannot write the checkpoint" in line
    assert "last.ckpt: File too large" in line
    assert not list(folder.rglob("*.ckpt*"))


def test_lightnings_own_write_is_not_atomic_across_disks(tmp_path, monkeypatch):
    """Why there is a plugin at all: its file is made in the temporary folder, and moved."""
    moved = []
    monkeypatch.setattr("shutil.move", lambda source, target: moved.append(source))
    with suppress(FileNotFoundError):  # nothing arrives
        TorchCheckpointIO().save_checkpoint({"x": 1}, tmp_path / "x.ckpt")
    assert moved
    assert os.path.dirname(moved[0]) != str(tmp_path)


def test_full_disk_at_the_start_is_told_before_training(folder, monkeypatch, capsys):
    """The configuration is the first file; where it cannot be written nothing is trained."""
    full = OSError(errno.ENOSPC, "No space left")
    monkeypatch.setattr("ssl_registry.runs.folder.write_beside", lambda path, text: _raise(full))
    assert main([*survival.ARGV, "--out", "run"]) == 2
    assert "cannot write the run run: No space left" in capsys.readouterr().err


def _raise(error):
    raise error


def test_unwritable_folder_is_told_before_training(folder, capsys):
    """One line, and nothing is left behind."""
    (folder / "file").write_text("")
    assert main([*survival.ARGV, "--out", "file/run"]) == 2
    assert "cannot write in file/run: Not a directory" in capsys.readouterr().err


def test_two_runs_never_write_one_folder(folder):
    """Of two processes that start at once one trains, and the other is refused."""
    both = [survival.start(folder, "--out", "run") for _ in range(2)]
    assert sorted(map(survival.finish, both)) == [0, 2]
    assert checkpoint(folder / "run")["global_step"] == 80
    assert "run" in (folder / "err.txt").read_text()


def test_lock_is_held_until_the_process_ends_however_that_is(tmp_path):
    """Refused while another process lives, free when it was killed."""
    process = survival.context().Process(target=survival.hold, args=(tmp_path, 600))
    process.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with pytest.raises(ConfigError, match="another process is writing the run"), lock_folder(tmp_path):
        pass
    process.kill()
    process.join()
    with lock_folder(tmp_path):
        pass


def test_run_that_failed_gives_its_folder_back(folder):
    """In one process a second attempt is free to go on."""
    with pytest.raises(RuntimeError, match="stop here"):
        run("run", callbacks=[Fail()])
    assert run("run", resume=True).steps == 30


class Fail(Callback):
    def on_train_batch_end(self, trainer, *args):
        raise RuntimeError("stop here")


@pytest.mark.parametrize(
    ("samples", "batch_size", "words"),
    [
        (0, 4, "expected at least one sample"),
        (1, 4, "a batch of one sample cannot go through BatchNorm"),
        (8, 1, "a batch of one sample"),
    ],
)
def test_too_few_samples_are_one_line(samples, batch_size, words, folder, capsys):
    """An empty source, a source of one sample, a batch of one."""
    torch.save(torch.rand(samples, 1, 16, 16), "x.pt")
    argv = [*survival.ARGV, "--data", "x.pt", "--out", "run", "--batch_size", str(batch_size)]
    assert main(argv) == 2
    err = capsys.readouterr().err.strip()
    assert words in err
    assert len(err.splitlines()) == 1


def test_fewer_samples_than_a_batch_are_one_smaller_batch(folder):
    """As the data module documents it."""
    torch.save(torch.rand(5, 1, 16, 16), "x.pt")
    assert main([*survival.ARGV, "--data", "x.pt", "--out", "run"]) == 0
    assert checkpoint(folder / "run")["global_step"] == 4


def test_nan_in_an_array_is_one_line(folder, capsys):
    """The source refuses it before anything is built."""
    x = torch.rand(8, 1, 16, 16)
    x[3, 0, 2, 2] = float("nan")
    torch.save(x, "x.pt")
    assert main([*survival.ARGV, "--data", "x.pt", "--out", "run"]) == 2
    assert "NaN" in capsys.readouterr().err
    assert not (folder / "run").exists()


def test_nan_in_the_first_batch_of_ones_own_loader_is_told():
    """Images are looked at once; what comes later is the collapse guard's to notice."""
    model = registry.create("simclr", backbone="resnet10t", image_size=32)
    with pytest.raises(BatchError, match="samples hold NaN or infinity: number 0, 1, 2, 3 of the batch"):
        model.training_step(torch.full((4, 3, 32, 32), float("nan")), 0)


@pytest.mark.slow
def test_terminated_ranks_stop_at_one_step(folder):
    """SIGTERM to torchrun reaches both ranks; they agree on a step, save once, and resume to the undisturbed end."""

    def torchrun(out, *argv):
        words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
        words += ["ssl_registry.cli", *survival.ARGV, "--out", out, "--epochs", "40", *argv]
        words += ["--trainer.accelerator", "cpu", "--trainer.devices", "2"]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    process = torchrun("run")
    last = folder / "run/checkpoints/last.ckpt"
    while not last.exists() and process.poll() is None:
        time.sleep(0.05)
    process.terminate()
    assert process.wait() != 0
    assert checkpoint(folder / "run")["global_step"] < 400
    assert torchrun("run", "--resume").wait() == 0
    assert torchrun("whole").wait() == 0
    first, second = checkpoint(folder / "run"), checkpoint(folder / "whole")
    assert first["global_step"] == second["global_step"] == 400
    assert survival.same(first["state_dict"], second["state_dict"])
