"""What a checkpoint records of its origin, and reopening it.

The record is plain values beside Lightning's own entries: it names the method and the distribution, never
an import path that reopening would follow, and the file is read with ``weights_only=True``.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ssl_registry import __version__
from ssl_registry.backbones import WEIGHT_SOURCES
from ssl_registry.errors import CheckpointError, MethodNotFoundError, SSLRegistryError

if TYPE_CHECKING:
    from ssl_registry._registry import Registry
    from ssl_registry.discovery import MethodInfo
    from ssl_registry.module import SSLModule
    from ssl_registry.views import Recipe

__all__ = ["RECORD_KEY", "check_record", "find_checkpoint", "load_plain", "make_record", "read_checkpoint", "reopen"]

RECORD_KEY = "ssl_registry"
FORMAT = 1
# What a record holds. Its values come from a file that anyone may have written: nothing in them is imported, and
# nothing they name is read or fetched.
FIELDS: dict[str, tuple[type, ...]] = {
    "core_version": (str,),
    "method": (str,),
    "distribution": (str, type(None)),
    "version": (str,),
    "config": (dict,),
    "backbone": (dict,),
    "recipe": (dict,),
    "overridden": (list,),
    "seed": (int,),
}
BACKBONE_FIELDS: dict[str, tuple[type, ...]] = {
    "name": (str, type(None)),
    "class": (str, type(None)),
    "input_shape": (list,),
    "low_resolution": (bool,),
    "pooling": (str,),
    "kwargs": (dict,),
}


def make_record(model: SSLModule) -> dict[str, Any]:
    """Describe a model in plain values: what `reopen` needs to build it again."""
    return {
        "format": FORMAT,
        "core_version": __version__,
        "method": model.info.name,
        "distribution": model.info.distribution,
        "version": model.info.version,
        "config": model.config.model_dump(mode="json"),
        "backbone": model.backbone_record,
        "recipe": model.recipe.model_dump(mode="json"),
        "overridden": list(model.overridden),
        "seed": model.seed,
    }


def check_record(checkpoint: dict[str, Any], info: MethodInfo) -> dict[str, Any]:
    """Return a checkpoint's record if it can go on as this method; training resumes through here.

    Raises:
        CheckpointError: if it has no record, a newer format, or another method's.
    """
    record = checkpoint.get(RECORD_KEY)
    if not isinstance(record, dict):
        raise CheckpointError("the checkpoint was not written by ssl-registry: it has no record of its method")
    if record.get("format") != FORMAT:
        raise CheckpointError(
            f"the checkpoint has format {record.get('format')}, written by ssl-registry {record.get('core_version')}; "
            f"this is {__version__}, which reads format {FORMAT}: pip install --upgrade ssl-registry"
        )
    _check_fields(record, FIELDS, "")
    _check_fields(record["backbone"], BACKBONE_FIELDS, "backbone.")
    if record["method"] != info.name:
        raise CheckpointError(f"the checkpoint holds {record['method']!r}, it cannot go on as {info.name!r}")
    return record


def check_goes_on(checkpoint: dict[str, Any], model: SSLModule) -> None:
    """Refuse what a training of this model cannot go on with, before anything of its run is touched.

    Raises:
        CheckpointError: as `check_record`, and if the weights' names or shapes differ.
    """
    check_record(checkpoint, model.info)
    began, now = (
        {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}
        for state in (checkpoint["state_dict"], model.state_dict())
    )
    for name in now | began:
        if began.get(name) != now.get(name):
            raise CheckpointError(
                f"the run began with {_shaped(name, began)} and would go on with {_shaped(name, now)}; "
                "leave out the options that changed, or begin another run"
            )


def _shaped(name: str, shapes: dict[str, tuple[int, ...]]) -> str:
    return f"{name} of shape {list(shapes[name])}" if name in shapes else f"no {name}"


def _check_fields(record: dict[str, Any], fields: dict[str, tuple[type, ...]], where: str) -> None:
    for key, kinds in fields.items():
        if key not in record or not isinstance(record[key], kinds):
            came = type(record[key]).__name__ if key in record else "missing"
            raise CheckpointError(
                f"the checkpoint's record is damaged: {where}{key} is {came}, not {kinds[0].__name__}; use another one"
            )


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint that a path means: itself, or the last one of a run's folder.

    Raises:
        CheckpointError: if there is none.
    """
    if path.is_file():
        return path
    last = path / "checkpoints" / "last.ckpt"
    if last.is_file():
        return last
    what = "holds no checkpoints/last.ckpt" if path.is_dir() else "does not exist"
    raise CheckpointError(f"{path} {what}; give a checkpoint file or a run's folder")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running code from it.

    Raises:
        CheckpointError: if the file is missing, cut short, or holds anything but tensors and plain values.
    """
    file = find_checkpoint(path)
    checkpoint = load_plain(file, map_location="cpu")
    if not isinstance(checkpoint, dict) or RECORD_KEY not in checkpoint or "state_dict" not in checkpoint:
        raise CheckpointError(f"{file} was not written by ssl-registry: it has no record of its method")
    return checkpoint


def load_plain(file: Path, map_location: Any) -> Any:
    """Load tensors and plain values from a file, and nothing else: no code of it is run.

    Args:
        file: that `torch.save` wrote.
        map_location: as `torch.load` takes it.

    Raises:
        CheckpointError: if the file is missing, cut short, or holds anything else.
    """
    try:
        return torch.load(file, map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{file} cannot be read as a checkpoint; it is damaged, or holds code, which is refused ({reason})"
        ) from error


def reopen(
    registry: Registry,
    path: Path,
    *,
    backbone: nn.Module | None,
    observers: Sequence[object],
    heads: dict[str, Any],
) -> SSLModule:
    """Build the model that a checkpoint describes and load its weights; see `Registry.load`."""
    checkpoint = read_checkpoint(path)
    record = checkpoint[RECORD_KEY]
    info = _find_method(registry, record, path)
    check_record(checkpoint, info)
    built = record["backbone"]
    if backbone is None:
        _check_backbone(built, path)
    if built["name"] is None and backbone is None:
        raise CheckpointError(f"{path} was trained on a module, {built['class']}; build it and give it as backbone=")
    if missing := sorted(set(record["overridden"]) - heads.keys()):
        raise CheckpointError(f"{path} was trained with your own {missing[0]}; build it and give it as {missing[0]}=")
    model = registry.create(
        info.qualified,
        backbone=built["name"] if backbone is None else backbone,
        input_shape=built["input_shape"],
        low_resolution=built["low_resolution"] and backbone is None,
        pooling=built["pooling"],
        backbone_kwargs=built["kwargs"] if backbone is None else None,
        recipe=_recipe(record, path),
        observers=observers,
        seed=record["seed"],
        **(_migrated(registry, info, record) | heads),
    )
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise CheckpointError(f"{path} does not fit the model it describes: {problem[:500]}") from error
    return model


def _check_backbone(built: dict[str, Any], path: Path) -> None:
    """Refuse a backbone that building would fetch, read from elsewhere or run a file for."""
    name = built["name"] or ""
    sources = sorted(WEIGHT_SOURCES & built["kwargs"].keys())
    if not re.fullmatch(r"[\w.]*", name) or sources:
        what = f"backbone_kwargs {sources[0]}" if sources else f"the backbone {name!r}"
        raise CheckpointError(
            f"{path} names {what}, which reopening would have to fetch or read from elsewhere; build the backbone "
            "and give it as backbone="
        )


def _recipe(record: dict[str, Any], path: Path) -> Recipe:
    from pydantic import ValidationError

    from ssl_registry.views import Recipe

    try:
        return Recipe.model_validate(record["recipe"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{path} holds a damaged recipe: {where}: {first['msg']}; use another one") from error


def _find_method(registry: Registry, record: dict[str, Any], path: Path) -> MethodInfo:
    name, distribution = record.get("method"), record.get("distribution")
    qualified = f"{distribution}:{name}" if distribution else str(name)
    try:
        return registry.info(qualified)
    except MethodNotFoundError as error:
        mend = (
            f"run: pip install {distribution}=={record.get('version')}"
            if distribution
            else f"it was registered in its own process: call registry.register({name!r}, ...) first"
        )
        raise CheckpointError(f"{path} was trained with {qualified}, which is not installed here; {mend}") from error


def _migrated(registry: Registry, info: MethodInfo, record: dict[str, Any]) -> dict[str, Any]:
    """Return the saved options, translated by the plugin when another version of it saved them."""
    config: dict[str, Any] = dict(record["config"])
    if record["version"] == info.version:
        return config
    from ssl_registry.contract import bind

    cls = registry.method_class(info.qualified)
    answer = bind(cls(cls.Config())).hook.migrate_config(config=config, saved_version=record["version"])
    if answer is not None and not isinstance(answer, dict):
        raise SSLRegistryError(f"{info.qualified}: migrate_config must return a dict, not {type(answer).__name__}")
    return config if answer is None else answer
