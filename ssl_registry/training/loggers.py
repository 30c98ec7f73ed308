"""Where a run's figures go: tables and TensorBoard by default, other services by name."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from ssl_registry._system.optional import require
from ssl_registry.errors import ConfigError, did_you_mean
from ssl_registry.runs.folder import Run

__all__ = ["make_loggers"]


def _csv(run: Run) -> Logger:
    return CSVLogger(run.folder, name="metrics")


def _tensorboard(run: Run) -> Logger:
    if not _has_tensorboard():
        require("tensorboardX", "tensorboard", "--logger tensorboard")
    return TensorBoardLogger(run.folder, name="tensorboard", version="")


def _wandb(run: Run) -> Logger:
    require("wandb", "wandb", "--logger wandb")
    return WandbLogger(name=run.folder.name, project="ssl-registry", save_dir=run.folder)


def _mlflow(run: Run) -> Logger:
    require("mlflow", "mlflow", "--logger mlflow")
    # MLflow 3.17 refuses to write plain files; its database is one file.
    place = run.folder.resolve()
    return MLFlowLogger(
        experiment_name="ssl-registry",
        run_name=run.folder.name,
        # As everywhere in MLflow, its environment variable wins.
        tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{place / 'mlflow.db'}",
        artifact_location=(place / "mlflow").as_uri(),
    )


LOGGERS: dict[str, Callable[[Run], Logger]] = {
    "csv": _csv,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}


def make_loggers(names: str | None, run: Run) -> list[Logger]:
    """Build loggers by name.

    Args:
        names: of `LOGGERS`, with commas between them; the tables (``csv``) are always written, since the report reads
            them. None also writes TensorBoard's events, if a package for that is installed.
        run: in whose folder they write.

    Raises:
        ConfigError: for a name that is not known.
        MissingExtraError: if a package is missing.
    """
    if names is None:
        wanted = ["csv", *(["tensorboard"] if _has_tensorboard() else [])]
    else:
        wanted = list(dict.fromkeys(["csv", *(name.strip() for name in names.split(","))]))
    for name in wanted:
        if name not in LOGGERS:
            raise ConfigError(
                f"there is no logger {name!r}.{did_you_mean(name, LOGGERS)} Loggers: {', '.join(LOGGERS)}; any "
                "other of Lightning's goes through --trainer.logger"
            )
    return [LOGGERS[name](run) for name in wanted]


def _has_tensorboard() -> bool:
    return any(importlib.util.find_spec(name) is not None for name in ("tensorboard", "tensorboardX"))
