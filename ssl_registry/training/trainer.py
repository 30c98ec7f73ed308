"""Lightning's Trainer for a run: the user's arguments untouched, ours where he gave none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar
from lightning.pytorch.plugins.io import CheckpointIO
from rich.console import Console

from ssl_registry._system.silence import silent
from ssl_registry.checkpoint.io import AtomicCheckpointIO
from ssl_registry.errors import ConfigError
from ssl_registry.runs.folder import Run
from ssl_registry.training.callbacks import (
    DivergenceGuard,
    NameBroken,
    Pace,
    Progress,
    SaveOnInterrupt,
    weights_are_finite,
)
from ssl_registry.training.loggers import make_loggers

__all__ = ["RunTrainer", "count_processes", "epochs_of", "make_trainer"]


class RunTrainer(Trainer):
    """Lightning's Trainer, which saves no weights that are not finite: what was saved before them stays.

    Whoever saves goes through here: its own checkpoints, the user's, and those at a signal. A `DivergenceGuard` among
    the callbacks looks at the weights.
    """

    def save_checkpoint(self, filepath: Any, weights_only: bool | None = None, storage_options: Any = None) -> None:
        """Save, if the weights are finite; all ranks must call it.

        Args:
            filepath, weights_only, storage_options: as Lightning's own takes them.
        """
        if not weights_are_finite(self):
            # Lightning's callbacks go on as if it were written, and would remove an older one in its place.
            self.strategy.remove_checkpoint = _keep  # type: ignore[method-assign]
            return
        super().save_checkpoint(filepath, weights_only, storage_options)
        for guard in self.callbacks:  # type: ignore[attr-defined]  # set in a helper: mypy does not see it
            if isinstance(guard, DivergenceGuard) and guard.checkpoint == Path(filepath).absolute():
                guard.kept_step = self.global_step


def _keep(filepath: Any) -> None:
    """Remove nothing."""


def epochs_of(epochs: int | None, trainer: Mapping[str, Any], *, default: int) -> int | None:
    """Return how many epochs a run has: as told, or a default where nothing limits it; None where the trainer does.

    Raises:
        ConfigError: if both say it.
    """
    if epochs is not None and trainer.get("max_epochs") is not None:
        raise ConfigError("give --epochs or --trainer.max_epochs, not both")
    unlimited = trainer.get("max_epochs") is None and trainer.get("max_time") is None
    return default if epochs is None and unlimited and trainer.get("max_steps") in (None, -1) else epochs


def make_trainer(
    arguments: Mapping[str, Any],
    run: Run,
    *,
    callbacks: Sequence[Callback] = (),
    logger: str | None = None,
    checkpoint_every: int | None = None,
) -> RunTrainer:
    """Build the Trainer of a run.

    Args:
        arguments: Lightning's own; those that are None count as not given.
        run: where it logs and saves.
        callbacks: ours, behind the user's.
        logger: names of loggers, see `make_loggers`.
        checkpoint_every: save behind every so many optimizer steps, too; None at the ends of epochs alone.

    Raises:
        ConfigError: if ``logger`` is given here and among Lightning's arguments, for a strategy that hands what its
            processes have seen to nobody, or if Lightning refuses its arguments.
    """
    given = {key: value for key, value in arguments.items() if value is not None}
    if given.get("accumulate_grad_batches", 1) < 1:  # Lightning divides by it later
        raise ConfigError("--trainer.accumulate_grad_batches must be at least 1")
    callbacks = [*given.pop("callbacks", []), *callbacks, NameBroken(run.broken)]
    guard = next((one for one in callbacks if isinstance(one, DivergenceGuard)), None)
    if guard is None:
        guard = DivergenceGuard("off")
        callbacks.append(guard)
    if logger is not None and "logger" in given:
        raise ConfigError("give --logger or --trainer.logger, not both")
    if given.get("enable_checkpointing", True):
        # The last one alone is kept: without labels there is no "best" to choose. (`save_last=True` with
        # `save_top_k=0` would write it at the very end only.)
        moments: list[dict[str, Any]] = [{"every_n_epochs": 1}]
        if checkpoint_every is not None:
            moments.append({"every_n_train_steps": checkpoint_every})
        for moment in moments:
            callbacks.append(ModelCheckpoint(run.checkpoints, "last", **moment, enable_version_counter=False))
        callbacks.append(SaveOnInterrupt(run.last_checkpoint))
        guard.checkpoint = run.last_checkpoint.absolute()
        plugins = given.get("plugins") or []
        plugins = list(plugins) if isinstance(plugins, list | tuple) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            given["plugins"] = [*plugins, AtomicCheckpointIO()]
    bar = given.get("enable_progress_bar", True)
    console = Console()
    is_shown = console.is_terminal or console.is_jupyter
    pace = next((one for one in callbacks if isinstance(one, Pace)), None)
    if pace is None:
        pace = Pace(estimate=False)
        callbacks.append(pace)
    pace.lines = bool(bar) and not is_shown
    if bar and not any(isinstance(one, ProgressBar) for one in callbacks):
        if is_shown:
            callbacks.append(Progress())
        else:
            given["enable_progress_bar"] = False  # a bar in a file is one line, at its end
    if torch.cuda.is_available() and given.get("accelerator", "auto") in ("auto", "gpu", "cuda"):
        given.setdefault("precision", "bf16-mixed")
    if "logger" not in given:
        given["logger"] = make_loggers(logger, run)
    given.setdefault("default_root_dir", run.folder)
    given.setdefault("log_every_n_steps", 10)
    given.setdefault("enable_model_summary", False)
    # Validation costs a pass over the held-out part each epoch; k-NN tells more. Switch it on with 1.0.
    given.setdefault("limit_val_batches", 0)
    with told_refusals():
        trainer = RunTrainer(callbacks=callbacks, **given)
    # Private, of `DDPStrategy` alone; "popen" starts the program itself once a process, as torchrun does.
    if (method := getattr(trainer.strategy, "_start_method", "popen")) != "popen":
        raise ConfigError(
            f"a run cannot train in processes that are started by {method!r} (ddp_spawn, ddp_notebook): of them "
            "nothing comes back but weights, neither steps nor what the guard found; use --trainer.strategy ddp, or "
            "torchrun; in a notebook one device, devices=1"
        )
    return trainer


@contextmanager
def told_refusals() -> Iterator[None]:
    """Tell what Lightning does not accept as a mistake in its arguments, which are the user's.

    Raises:
        ConfigError: in Lightning's words.
    """
    try:
        yield
    # Lightning raises these for a wrong value, a strategy or accelerator that there is not, a library that is missing.
    except (MisconfigurationException, ValueError, TypeError, ModuleNotFoundError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"Lightning's Trainer does not accept its arguments (--trainer.NAME): {reason}") from error


def count_processes(arguments: Mapping[str, Any]) -> int:
    """Tell in how many processes, over all nodes, a Trainer with these arguments trains here; log nothing."""
    deciding = ("accelerator", "strategy", "devices", "num_nodes")
    given = {key: arguments[key] for key in deciding if arguments.get(key) is not None}
    # This Trainer trains nothing, and a command asks before it has quietened Lightning.
    with told_refusals(), silent():
        return Trainer(**given, logger=False, enable_checkpointing=False, enable_progress_bar=False).world_size
