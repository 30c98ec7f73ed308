"""A run that diverges says so in one line, ends, and leaves a checkpoint with finite weights that resumes."""

from __future__ import annotations

import json
import math
import os
import signal

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from logged import logged

from ssl_registry.cli import main
from ssl_registry.data import Source
from ssl_registry.data.sample_set import SampleSet
from ssl_registry.errors import BatchError
from ssl_registry.model.module import SSLModule
from ssl_registry.testing.processes import run_in_two
from ssl_registry.training.callbacks import BestEpoch
from ssl_registry.training.callbacks.divergence import BEGAN
from ssl_registry.workflows.train import train

NET = """
from torch import nn

class Tiny(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv1d(2, 8, 5, 2), nn.BatchNorm1d(8), nn.ReLU(), nn.AdaptiveAvgPool1d(2), nn.Flatten())
"""
OPTIONS = {
    "byol": {"hidden_dim": 16, "projection_dim": 8},
    "simclr": {"projection_dim": 8, "optimizer": "adam", "learning_rate": 1e-3},
    "lfr": {"num_candidates": 3, "num_targets": 2},
}
METHODS = sorted(OPTIONS)
STEP = 7  # in which things go wrong; behind step 6 a checkpoint is saved
NAN, INFINITY = math.nan, math.inf


class Recordings(SampleSet):
    """Signals with a path; from some moment on two of them hold what is not finite."""

    def __init__(self, count=64):
        self.x = torch.randn(count, 2, 32, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index].clone()

    def name(self, index):
        return f"recordings/{index}.wav"

    def spoil(self, value):
        self.x[27, 0, 3], self.x[45, 1, 7] = value, value  # both in the batch of step 7


def source():
    return Source("recordings", "signal", (2, 32), Recordings())


class Spoil(Callback):
    """Do something in one step: to the samples before it, to a gradient, or to the weights behind it."""

    def __init__(self, what, value=NAN):
        self.what, self.value = what, value

    def on_train_batch_end(self, trainer, model, *_):
        if self.what == "batch" and trainer.global_step == STEP - 1:
            trainer.datamodule.source.train.spoil(self.value)
        if self.what == "weights" and trainer.global_step == STEP:
            with torch.no_grad():
                model.backbone[0].bias[2] = self.value

    def on_after_backward(self, trainer, model):
        if self.what == "gradient" and trainer.global_step == STEP - 1:
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.grad.flatten()[0] = self.value


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the network."""
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def spoil(monkeypatch):
    """Make a callback that has a run diverge; the loss is spoilt where the module computes it."""

    def prepare(what, value=NAN, steps=(STEP,)):
        if what == "loss":
            compute = SSLModule._loss

            def spoilt(model, views, ctx):
                loss, values = compute(model, views, ctx)
                return (loss * value if ctx.step + 1 in steps else loss), values

            monkeypatch.setattr(SSLModule, "_loss", spoilt)
        return Spoil(what, value)

    return prepare


def run(method, out="run", *, callbacks=(), trainer=None, options=None, **arguments):
    quiet = {"enable_progress_bar": False, "accelerator": "cpu", "logger": False, "callbacks": list(callbacks)}
    given = {"data": source(), "backbone": "net.py:Tiny", "batch_size": 16, "epochs": 4, "checkpoint_every": 3}
    return train(
        method,
        out=out,
        trainer=quiet | {"log_every_n_steps": 4} | (trainer or {}),
        options=OPTIONS[method] | (options or {}),
        **{**given, "workers": 0, "report": False, **arguments},
    )


def saved(out="run", name="last.ckpt"):
    return torch.load(f"{out}/checkpoints/{name}", weights_only=True)


def is_finite(checkpoint):
    """Whether every weight and all of the optimizer's state is."""
    states = [state for optimizer in checkpoint["optimizer_states"] for state in optimizer["state"].values()]
    tensors = [*checkpoint["state_dict"].values(), *(v for s in states for v in s.values() if torch.is_tensor(v))]
    return all(bool(value.isfinite().all()) for value in tensors)


def results(out="run"):
    with open(f"{out}/results.json") as file:
        return json.load(file)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("what", "value"), [("batch", NAN), ("batch", INFINITY), ("loss", NAN), ("gradient", INFINITY), ("weights", NAN)]
)
def test_divergence_ends_the_run_with_the_last_finite_checkpoint(method, what, value, folder, spoil):
    """One line names the step; the checkpoint before it stays; without the fault the run goes on from it."""
    with logged("ssl_registry.training") as lines:
        found = run(method, callbacks=[spoil(what, value)])
    assert found.diverged
    assert found.steps < 12
    (line,) = [line for line in lines if "diverged" in line]
    assert line == found.warning == results()["guard"]
    assert results()["diverged"] is True
    first = STEP if what in ("batch", "loss") else STEP + 1
    assert f"since step {first} (" in line
    assert f"at step {first - 1})" in line
    assert "weights are not finite at step 8" in line
    assert f"{folder}/run/checkpoints/last.ckpt of step 6 stays" in line
    assert ("in recordings/" in line) == (what == "batch")
    assert saved()["global_step"] == 6
    assert is_finite(saved())
    assert all(value.isfinite().all() for value in found.model.state_dict().values())


@pytest.mark.parametrize("method", METHODS)
def test_kept_checkpoint_resumes(method, folder, spoil, monkeypatch):
    """Without what went wrong it ends as a run that nothing happened to, bit for bit."""
    with monkeypatch.context() as patched:
        run(method, callbacks=[spoil("gradient")])
    patched.undo()
    assert run(method, resume=True).diverged is False
    assert results()["diverged"] is False
    run(method, "whole")
    whole, resumed = saved("whole"), saved()
    assert whole["global_step"] == resumed["global_step"] == 16
    assert all(torch.equal(value, resumed["state_dict"][key]) for key, value in whole["state_dict"].items())


@pytest.mark.parametrize("method", METHODS)
def test_rate_that_is_too_large(method, folder):
    """The rate is named first, with the method's own beside it; what is left, if anything, is finite."""
    found = run(method, options={"learning_rate": 1e30})
    assert found.diverged
    assert found.steps <= 8
    assert "Likely causes: (1) --learning_rate 1e+30 is too high for" in found.warning
    assert "(the method's default: " in found.warning
    assert "change --learning_rate first" in found.warning or is_finite(saved())


def test_temperature_that_is_too_small(folder):
    """It is named before the rate."""
    found = run("simclr", options={"temperature": 1e-30})
    assert found.diverged
    assert "(1) temperature=1e-30 is too small" in found.warning


@pytest.mark.parametrize("value", [NAN, INFINITY])
def test_batch_is_named_by_its_samples(value, folder, spoil):
    """By their paths, and no other cause is guessed."""
    line = run("simclr", callbacks=[spoil("batch", value)]).warning
    assert "Likely causes: (1) the batch held NaN or infinity, in recordings/27.wav, recordings/45.wav: mend" in line
    assert "(2)" not in line
    assert "Mend the samples and go on with --resume" in line


def test_weights_that_are_not_finite_from_the_start(folder):
    """The run ends behind its first step, and blames nothing that happened in it."""

    class Begin(Callback):
        def on_fit_start(self, trainer, model):
            with torch.no_grad():
                model.backbone[0].bias[2] = NAN

    found = run("simclr", callbacks=[Begin()])
    assert found.steps == 1
    assert "weights are not finite at step 0: backbone.0.bias (before the first step)" in found.warning
    assert found.warning.endswith(f"Likely causes: (1) {BEGAN[0]}")
    assert not list(folder.rglob("*.ckpt"))


def test_first_samples_of_a_method_that_looks_at_them(folder):
    """LFR chooses its targets by them: the error is one line, and nothing is written."""
    given = source()
    given.train.spoil(NAN)
    with pytest.raises(BatchError, match=r"samples hold NaN or infinity: number .* of the batch; mend or remove them"):
        run("lfr", data=given, batch_size=64)
    assert not list(folder.rglob("*.ckpt"))


def test_best_epoch_is_one_with_finite_weights(folder, spoil):
    """Its checkpoint stays, and it goes on saying which epoch that was."""

    class Labelled(Recordings):
        def __getitem__(self, index):
            return super().__getitem__(index), torch.tensor(index % 2)

    best = BestEpoch(folder / "run/checkpoints/best.ckpt")
    data = Source("recordings", "signal", (2, 32), Labelled(), classes=("a", "b"))
    assert run("simclr", data=data, callbacks=[spoil("weights"), best], guard="off", knn=False).diverged
    assert best.epoch == 1
    assert saved(name="best.ckpt")["global_step"] == 4
    assert is_finite(saved(name="best.ckpt"))


@pytest.mark.parametrize("guard", ["warn", "stop", "off"])
def test_what_each_mode_does(guard, folder, spoil):
    """Off trains to the end, and keeps the finite checkpoint all the same."""
    found = run("simclr", callbacks=[spoil("gradient")], guard=guard)
    assert found.steps == (16 if guard == "off" else 8)
    assert found.diverged
    assert "of step 6 stays" in found.warning
    assert saved()["global_step"] == 6
    assert is_finite(saved())


@pytest.mark.parametrize(("guard", "steps"), [("warn", 16), ("stop", 8), ("off", 16)])
def test_loss_that_is_infinite_once_and_leaves_the_weights_finite(guard, steps, folder, monkeypatch):
    """It is told; the run goes on, unless it is to stop."""
    compute = SSLModule._loss

    def spoilt(model, views, ctx):
        loss, values = compute(model, views, ctx)
        return loss + (INFINITY if ctx.step + 1 == STEP else 0), values

    monkeypatch.setattr(SSLModule, "_loss", spoilt)
    found = run("simclr", guard=guard)
    assert found.steps == steps
    assert not found.diverged
    assert saved()["global_step"] == steps
    if guard != "off":
        assert "a loss is not finite, the weights are: the loss was inf at step 7" in found.warning


ARGV = (
    *("train", "simclr", "--backbone", "net.py:Tiny", "--data", "x.pt", "--batch_size", "16", "--epochs", "3"),
    *("--projection_dim", "8", "--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "4"),
    *("--checkpoint_every", "3", "--out", "run", "--trainer.accelerator", "cpu"),
)


@pytest.mark.parametrize(("guard", "code"), [("warn", 1), ("stop", 1), ("off", 0)])
def test_command_ends_with_one_line_a_report_and_its_exit_code(guard, code, folder, spoil, monkeypatch, capsys):
    """No traceback; the report has the warning, too."""
    torch.save(torch.randn(64, 2, 32), "x.pt")
    spoil("loss", steps=range(STEP, 100))
    assert main([*ARGV, "--guard", guard]) == code
    told = capsys.readouterr()
    lines = f"{told.out}{told.err}".splitlines()
    assert sum("training has diverged" in line for line in lines) == 1
    assert "Traceback" not in told.err
    assert "training has diverged" in (folder / "run/report.html").read_text()
    assert is_finite(saved())
    # The same options diverge again, and lose nothing.
    assert main([*ARGV, "--guard", guard, "--resume"]) == code
    assert is_finite(saved())


def test_run_that_diverges_before_its_first_checkpoint_begins_anew(folder, spoil, capsys):
    """There is nothing to keep, nothing is written, and a report shows the curves all the same."""
    torch.save(torch.randn(64, 2, 32), "x.pt")
    spoil("loss", steps=range(1, 100))
    assert main([*ARGV]) == 1
    assert "No checkpoint was written before that" in capsys.readouterr().out
    assert not list(folder.rglob("*.ckpt"))
    assert (folder / "run/report.html").is_file()
    json.loads((folder / "run/results.json").read_text(), parse_constant=pytest.fail)


class Kick(Callback):
    """Spoil the weights and send a signal, so that the run saves itself at once."""

    def __init__(self, number):
        self.number = number

    def on_train_batch_end(self, trainer, model, *_):
        if trainer.global_step == STEP:
            with torch.no_grad():
                model.backbone[0].bias[2] = NAN
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_nothing_that_is_not_finite(number, folder):
    """It ends as told, and the checkpoint before stays."""
    with pytest.raises(SystemExit):
        run("simclr", callbacks=[Kick(number)])
    assert saved()["global_step"] == 6
    assert is_finite(saved())


def test_checkpoints_of_ones_own_stay_too(folder, spoil):
    """Lightning would remove the one before for one that was not written."""
    own = ModelCheckpoint("own", "{step}", every_n_train_steps=2, save_top_k=1)
    run("simclr", callbacks=[spoil("gradient"), own], guard="off")
    (kept,) = (folder / "own").iterdir()
    assert kept.name == "step=6.ckpt"
    assert is_finite(torch.load(kept, weights_only=True))


def test_infinite_mask_is_meant(folder):
    """What is not finite before the first step, such as a mask among the buffers, is no divergence."""

    class Mask(Callback):
        def setup(self, trainer, model, stage):
            if not hasattr(model.backbone, "mask"):
                model.backbone.register_buffer("mask", torch.full((3,), -INFINITY))

    assert not run("simclr", callbacks=[Mask()], epochs=2).diverged
    assert saved()["global_step"] == 8


@pytest.mark.parametrize("method", METHODS)
def test_watching_changes_nothing(method, folder):
    """Weights are bit-identical with and without the guard."""
    for guard in ("stop", "off"):
        run(method, guard, guard=guard, epochs=2)
    first, second = saved("stop")["state_dict"], saved("off")["state_dict"]
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def on_rank(rank, path, what):
    """Train with a rank's own fault: rank 1 alone has the samples, or the gradient, that are not finite."""
    os.chdir(path)
    with logged("ssl_registry.training") as lines:
        own = [Spoil(what)] if rank == 1 else []
        found = run("simclr", callbacks=own, trainer={"devices": 2, "strategy": "ddp"})
    return {"steps": found.steps, "diverged": found.diverged, "lines": [x for x in lines if "diverged" in x]}


def test_ranks_end_at_one_step_and_name_the_samples_of_any(folder):
    """Rank 1 alone reads what is not finite; both stop, rank 0 tells, and the checkpoint is finite."""
    first, second = run_in_two(on_rank, str(folder), "batch")
    assert (first.error, second.error) == ("", "")
    assert first.value["steps"] == second.value["steps"] == 8
    assert first.value["diverged"]
    assert second.value["diverged"]
    (line,) = first.value["lines"]
    assert second.value["lines"] == []
    assert "in recordings/" in line
    assert saved()["global_step"] == 6
    assert is_finite(saved())
