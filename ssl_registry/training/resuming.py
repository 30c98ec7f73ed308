"""Going on with a run: the options that it was begun with, and errors of a checkpoint that cannot be restored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_registry._registry import Registry
from ssl_registry._system.trust import require_trust
from ssl_registry.errors import CheckpointError, SSLRegistryError
from ssl_registry.run_options import RunOptions
from ssl_registry.runs.deeds import deeds_of_settings
from ssl_registry.runs.folder import Run

__all__ = ["Recorded", "recorded_options", "told_restoring"]

# Lightning's file that puts a checkpoint's values into their places.
RESTORING = "lightning.pytorch.trainer.connectors.checkpoint_connector"
# Two options for one thing; who says one of them leaves out the recorded other.
RIVALS = (("epochs", "max_epochs"), ("logger", "logger"))  # the run's, and the Trainer's


@dataclass(frozen=True)
class Recorded:
    """Options of a run's ``config.yaml`` that a call left open.

    Args:
        run: the run's.
        options: the method's.
        trainer: Lightning's.
        origins: where they came from when the run began, by dotted name.
    """

    run: Mapping[str, Any]
    options: Mapping[str, Any]
    trainer: Mapping[str, Any]
    origins: Mapping[str, str]


def recorded_options(
    folder: Run,
    method: str,
    *,
    run: Mapping[str, Any],
    options: Mapping[str, Any],
    trainer: Mapping[str, Any],
    registry: Registry,
) -> Recorded:
    """Return what a run began with, where a call to go on with it says nothing.

    Args:
        folder: of the run.
        method: that goes on.
        run, options, trainer: as they were given.
        registry: where the method is looked up.

    Raises:
        ConfigError: if the run's ``config.yaml`` is damaged.
        TrustError: if a value of it would run, import or fetch something, without ``trust`` among the run's options.
    """
    if not folder.settings.exists():
        return Recorded({}, {}, {}, {})
    recorded = folder.read_settings()
    values = recorded.values
    kept = [name for name, field in RunOptions.model_fields.items() if not field.exclude]
    of_run = {name: values[name] for name in kept if name in values and name not in run}
    fields = registry.method_class(method).Config.model_fields
    of_method = {name: values[name] for name in fields if name in values and name not in options}
    lightnings = values.get("trainer")
    of_trainer = {k: v for k, v in lightnings.items() if k not in trainer} if isinstance(lightnings, Mapping) else {}
    for ours, theirs in RIVALS:
        if trainer.get(theirs) is not None:
            of_run.pop(ours, None)
        if run.get(ours) is not None:
            of_trainer.pop(theirs, None)
    taken = {**of_run, **of_method, "trainer": of_trainer}
    # Weights to start from are not read again where a checkpoint holds those of the run.
    unread = {"pretrained"} if folder.last_checkpoint.is_file() else set()
    asked = {name: value for name, value in taken.items() if name not in unread}
    require_trust(deeds_of_settings(asked), where=recorded.path, trust=bool(run.get("trust")))
    names = {*of_run, *of_method, *(f"trainer.{name}" for name in of_trainer)}
    origins = {
        option: place
        for option, place in folder.provenance().items()
        if any(f"{option}.".startswith(f"{name}.") for name in names)
    }
    return Recorded(of_run, of_method, of_trainer, origins)


@contextmanager
def told_restoring(checkpoint: Path | None) -> Iterator[None]:
    """Tell in a line what hinders Lightning from restoring a checkpoint.

    Args:
        checkpoint: that is restored in the block; None for none.

    Raises:
        CheckpointError: instead of any error that comes from restoring it.
    """
    try:
        yield
    except SSLRegistryError:
        raise
    except Exception as error:  # a value of another type, or one that is missing, raises nearly anything
        if checkpoint is None or not _comes_from(error, RESTORING):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise CheckpointError(
            f"{checkpoint} cannot be restored ({reason}); it is damaged, or of another version of Lightning. "
            "The run was not changed"
        ) from error


def _comes_from(error: BaseException, module: str) -> bool:
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == module:
            return True
        trace = trace.tb_next
    return False
