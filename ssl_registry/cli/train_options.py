"""The options of ``ssl-registry train METHOD``: the run's, the method's own, every method's, Lightning's Trainer's."""

from __future__ import annotations

from typing import Any

from ssl_registry._system.options import allowed_values
from ssl_registry.cli.parsing import data_help
from ssl_registry.contract.config import MethodConfig
from ssl_registry.run_options import RunOptions

__all__ = ["make_parser"]

# Set by `train` itself, from its own options.
NOT_OURS = {"callbacks", "plugins", "profiler", "fast_dev_run"}


def make_parser(method: str, config_class: type[MethodConfig], *, trainer: bool = True) -> Any:
    """Build the parser of ``train METHOD``: run, method's own, every method's, Trainer's options.

    Args:
        method: its name.
        config_class: its options.
        trainer: False leaves the Trainer's out, and Lightning unimported: half of the seconds that help would take.
    """
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog=f"ssl-registry train {method}",
        description=f"Train {method}. What it is: ssl-registry show {method}",
        exit_on_error=False,
        default_env=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these options.")
    add = parser.add_argument_group("run").add_argument
    add(
        "--recipe",
        type=str | None,
        default=None,
        help="A recipe that the method ships (see `ssl-registry show`), or the path of your own .yaml.",
    )
    add(
        "--data",
        type=str,
        default="digits",
        help=data_help(),
    )
    add(
        "--backbone",
        type=str | None,
        default=None,
        help="timm name, signal_encoder, table_encoder, or file.py:Name.",
    )
    add(
        "--epochs",
        type=int | None,
        default=None,
        help="Passes over the data (100 unless the trainer has a limit).",
    )
    add("--batch_size", type=int, default=256, help="Samples a step and process.")
    add("--out", type=str | None, default=None, help="The run's folder (default: runs/METHOD-BACKBONE).")
    add("--resume", action="store_true", help="Go on from the last checkpoint in --out.")
    add("--trust", action="store_true", help=RunOptions.model_fields["trust"].description)
    add("--seed", type=int, default=0, help="Of weights, order, views and everything random.")
    add("--image_size", type=int | None, default=None, help="Side of the images in pixels.")
    add("--data_root", type=str | None, default=None, help="Where torchvision's data sets lie.")
    add(
        "--modality",
        type=str | None,
        default=None,
        help="image, signal or table, where an array leaves it open.",
    )
    add("--standardize", type=bool, default=True, help="Bring signals and tables to mean 0 and std 1.")
    add("--cache", type=str | None, default=None, help="Folder for images decoded and resized once.")
    add("--workers", type=int | None, default=None, help="Processes that load samples (default: for files only).")
    add(
        "--low_resolution",
        type=bool | None,
        default=None,
        help="3x3 stem (default: ResNets at 64 pixels and fewer).",
    )
    add("--pretrained", type=bool, default=False, help="Start from timm's pretrained weights.")
    add(
        "--start_from",
        "--from",
        type=str | None,
        default=None,
        help="Start from the backbone of a run, a checkpoint or an export.",
    )
    add(
        "--backbone_kwargs",
        type=dict[str, Any] | None,
        default=None,
        help="Further arguments of the backbone.",
    )
    add("--compile", type=bool, default=False, help="torch.compile backbone and heads; for long runs.")
    add(
        "--knn",
        type=bool,
        default=True,
        help="Measure k-NN and a linear probe before, while and after training, when there are labels.",
    )
    add("--probe_every", type=int, default=1, help="Epochs between two measurements while it trains; 0: none.")
    add("--probe_budget", type=float, default=0.03, help="Share of the training time that they may take.")
    add("--guard", type=str, default="warn", help="About a collapse: warn, stop, or off.")
    add(
        "--logger",
        type=str | None,
        default=None,
        help="csv, tensorboard, wandb, mlflow, with commas (default: csv, and tensorboard if installed).",
    )
    add("--report", type=bool, default=True, help="Write report.html at the end.")
    add(
        "--checkpoint_every",
        type=int | None,
        default=None,
        help="Steps between two checkpoints inside an epoch (default: at its end only).",
    )
    add(
        "--method",
        type=str | None,
        default=None,
        help="Ignored but for its value; a run's configuration names it.",
    )
    add(
        "--views",
        type=dict[str, Any],
        default={},
        help="--views.blur 0 changes a field of every view, --views.1.blur 0 of one; "
        "--views.engine auto, host, device or split.",
    )
    own = [name for name in config_class.model_fields if name not in MethodConfig.model_fields]
    for title, names in ((f"{method}'s own", own), ("every method's", list(MethodConfig.model_fields))):
        group = parser.add_argument_group(title)
        for name in names:
            field = config_class.model_fields[name]
            group.add_argument(
                f"--{name}",
                type=field.annotation,
                default=field.get_default(call_default_factory=True),
                help=f"{field.description or ''} [{allowed_values(config_class, name)}]".replace("%", "%%"),
            )
    if not trainer:
        parser.epilog = "--trainer.NAME is every argument of Lightning's Trainer; --trainer.help lists them."
        return parser
    from lightning.pytorch import Trainer

    parser.add_class_arguments(Trainer, "trainer", skip=NOT_OURS, instantiate=False)
    # None means "as `train` sets it"; the Trainer's own default applies where it sets nothing.
    parser.set_defaults({"trainer.logger": None})
    return parser
