"""`RunOptions`: every option of a training, declared once.

From it come the arguments of `ssl_registry.train` and of `profile`, the command line and its help, the table in the
docs, what a run's ``config.yaml`` holds, and the names that a method's own options cannot have. Imports no torch:
``--help`` reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, field_validator

from ssl_registry.data.options import DataOptions
from ssl_registry.errors import ConfigError

__all__ = ["MAY_CHANGE", "RESERVED", "GuardMode", "RunOptions", "check_guard"]

GuardMode = Literal["warn", "stop", "off"]


def check_guard(mode: GuardMode) -> GuardMode:
    """Return a mode of the guards.

    Raises:
        ConfigError: for one that there is not.
    """
    if mode not in get_args(GuardMode):
        raise ConfigError(f"guard={mode!r} is not known; use {', '.join(map(repr, get_args(GuardMode)))}")
    return mode


class RunOptions(DataOptions):
    """What a training can be told beside its method's own options and Lightning's.

    A field that is None is left open: the samples, the method or the weights to start from decide it. Fields with
    ``exclude=True`` belong to one call and are no part of the run's configuration. ``flags`` in a field's extra schema
    are further names of it on the command line.

    Example:
        >>> run = RunOptions(epochs=10, views={"blur": 0.1, "engine": "host"})
        >>> run.epochs, run.engine, run.view_changes
        (10, 'host', {'blur': 0.1})
    """

    data: str | None = Field(
        "digits",
        min_length=1,
        description="Source of samples: digits, a folder, a file (.npz, .npy, .pt, .csv, .parquet), shards, hf:NAME, "
        "or a torchvision name.",
    )
    backbone: str | None = Field(
        None,
        min_length=1,
        description="timm name, an encoder of signals or tables (ssl-registry backbones), or file.py:NAME of a "
        "callable that returns a module (default: what the method needs, or what suits the samples).",
    )
    backbone_kwargs: dict[str, Any] | None = Field(None, description="Further arguments of the backbone.")
    low_resolution: bool | None = Field(
        None, description="Use a 3x3 stem for small images (default: for ResNets at 32 pixels and fewer)."
    )
    pretrained: bool = Field(False, description="Start from timm's pretrained weights.")
    start_from: Path | None = Field(
        None,
        description="Start from the backbone of a run, a checkpoint of any method, an export, or a file of weights "
        "from elsewhere (torchvision, timm, lightly, DINO, MAE, ...).",
        json_schema_extra={"flags": ["--from"]},
    )
    from_network: str | None = Field(
        None,
        description="Which network of --from, where it has several: of a run product or backbone, of other files a "
        "part of the names, such as teacher.",
    )
    epochs: int | None = Field(
        None,
        ge=1,
        description="Passes over the data (default: 100, fewer for images on a CPU, unless the trainer has a limit).",
    )
    batch_size: int | None = Field(
        None,
        ge=1,
        description="Samples of a step and process (default: 256, of images on a CPU 64; at most a quarter of them).",
    )
    large_batch: int | None = Field(
        None,
        ge=1,
        description="Samples of a step and process where the device holds batch_size of them alone: the loss is that "
        "of all, and the network sees batch_size at a time, twice.",
    )
    workers: int | None = Field(
        None,
        ge=0,
        le=2**10,
        description="Processes that load samples (default: 0 for samples in memory, one a core for files, at most 8).",
    )
    cache: Path | None = Field(None, description="Folder for images that are decoded and resized once.")
    views: dict[str, Any] = Field(
        default_factory=dict,
        description="Changes to the method's views: --views.FIELD VALUE for every view, --views.NUMBER.FIELD VALUE for "
        "one; --views.engine is auto, host, device or split.",
    )
    compile: bool = Field(False, description="Compile backbone and heads with torch.compile; pays in long runs.")
    seed: int = Field(0, ge=0, strict=True, description="Seed of weights, order, views and everything else random.")
    knn: bool = Field(
        True, description="Measure k-NN and a linear probe before, during and after training, where there are labels."
    )
    probe_every: int = Field(1, ge=0, description="Epochs between two measurements during training; 0 for none.")
    probe_budget: float = Field(
        0.03, gt=0, description="Share of the training time that these measurements may take; others are left out."
    )
    probe_samples: int = Field(
        5_000, ge=1, description="Samples of each part that these measurements look at, of each class its share."
    )
    guard: GuardMode = Field(
        "warn",
        description="What to do about a collapse or a loss that is not finite: warn, stop the run, or nothing. Weights "
        "that are not finite end the run under warn, too, and are never saved.",
    )
    logger: str | None = Field(
        None,
        description="csv, tensorboard, wandb, mlflow, with commas (default: csv, and tensorboard if it is installed).",
    )
    report: bool = Field(True, description="Write report.html at the end.")
    checkpoint_every: int | None = Field(
        None, ge=1, description="Steps between two checkpoints within an epoch (default: at the end of epochs only)."
    )
    out: Path | None = Field(None, exclude=True, description="The run's folder (default: runs/METHOD-BACKBONE).")
    resume: bool = Field(False, exclude=True, description="Continue the run in --out from its last checkpoint.")
    trust: bool = Field(
        False,
        exclude=True,
        description="Run and fetch what files of others name: the Python file of a network, a command or an address "
        "that gives samples.",
    )

    @field_validator("out", "cache", "start_from", "data_root", mode="before")
    @classmethod
    def _not_empty(cls, path: object) -> object:
        # A shell's variable that is not set; as a path it would be the current folder.
        if isinstance(path, str) and not path.strip():
            raise ValueError("it is empty; give a path, such as ./ for the current folder")
        return path

    @property
    def data_options(self) -> DataOptions:
        """How the samples are read, apart from the run."""
        return DataOptions(**{name: getattr(self, name) for name in DataOptions.model_fields})

    @property
    def engine(self) -> str:
        """Who draws the views: ``auto``, ``host``, ``device`` or ``split``."""
        return str(self.views.get("engine", "auto"))

    @property
    def view_changes(self) -> dict[str, Any]:
        """Return the changes to the fields of views."""
        return {name: value for name, value in self.views.items() if name != "engine"}


# Names that `train` or its command line takes: a method's option of the same name could never be reached.
RESERVED = frozenset(RunOptions.model_fields) | {
    *("method", "options", "origins", "registry", "trainer"),
    *("config", "debug", "from", "help", "plugin", "print_config", "recipe"),
}
# What a run that is resumed can be told anew: where its samples and its network lie now, how long, how fast and under
# what watch it trains. Anything else would make it another run, whose record says that it always was one.
MAY_CHANGE = frozenset(
    {"data", "test_data", "data_root", "backbone", "start_from", "from_network", "epochs", "batch_size", "workers"}
    | {"large_batch", "cache", "compile", "trainer", "knn", "probe_every", "probe_budget", "probe_samples", "guard"}
    | {"logger", "report", "checkpoint_every"}
)
