"""Building the model that a checkpoint describes, and whether a training can go on with one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ssl_registry.checkpoint.io import read_checkpoint
from ssl_registry.checkpoint.record import RECORD_KEY, check_record
from ssl_registry.errors import CheckpointError, MethodNotFoundError, SSLRegistryError
from ssl_registry.model.backbones import WEIGHT_SOURCES

if TYPE_CHECKING:
    from ssl_registry._registry import Registry
    from ssl_registry.discovery.entry_points import MethodInfo
    from ssl_registry.model.module import SSLModule
    from ssl_registry.views import ViewPolicy

__all__ = ["check_goes_on", "reopen"]


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
        view_policy=_recipe(record, path),
        num_samples=record["num_samples"],
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


def _recipe(record: dict[str, Any], path: Path) -> ViewPolicy:
    from pydantic import ValidationError

    from ssl_registry.views import ViewPolicy

    try:
        return ViewPolicy.model_validate(record["view_policy"])
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
    from ssl_registry.contract.validation import bind

    cls = registry.method_class(info.qualified)
    answer = bind(cls(cls.Config())).hook.migrate_config(config=config, saved_version=record["version"])
    if answer is not None and not isinstance(answer, dict):
        raise SSLRegistryError(f"{info.qualified}: migrate_config must return a dict, not {type(answer).__name__}")
    return config if answer is None else answer


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
