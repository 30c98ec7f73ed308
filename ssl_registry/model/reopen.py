"""Building the model that a checkpoint describes, and whether a training can go on with one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ssl_registry.checkpoint.io import Checkpoint, read_checkpoint
from ssl_registry.checkpoint.record import BackboneRecord, Record, check_method
from ssl_registry.errors import CheckpointError, MethodNotFoundError, SSLRegistryError
from ssl_registry.model.backbones import WEIGHT_SOURCES

if TYPE_CHECKING:
    from ssl_registry._registry import Registry
    from ssl_registry.discovery.entry_points import MethodInfo
    from ssl_registry.model.module import SSLModule

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
    record, built = checkpoint.record, checkpoint.record.backbone
    info = _find_method(registry, record, path)
    check_method(record, info)
    network: str | nn.Module
    if backbone is not None:
        network = backbone
    elif built.name is not None:
        _check_backbone(built, path)
        network = built.name
    else:
        raise CheckpointError(f"{path} was trained on a module, {built.class_name}; build it and give it as backbone=")
    if missing := sorted(set(record.overridden) - heads.keys()):
        raise CheckpointError(f"{path} was trained with your own {missing[0]}; build it and give it as {missing[0]}=")
    model = registry.create(
        info.qualified,
        backbone=network,
        input_shape=built.input_shape,
        low_resolution=built.low_resolution and backbone is None,
        pooling=built.pooling,
        backbone_kwargs=built.kwargs if backbone is None else None,
        view_policy=record.view_policy,
        observers=observers,
        seed=record.seed,
        **(_migrated(registry, info, record, path) | heads),
    )
    try:
        model.load_state_dict(checkpoint.state_dict)
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise CheckpointError(f"{path} does not fit the model it describes: {problem[:500]}") from error
    return model


def _check_backbone(built: BackboneRecord, path: Path) -> None:
    """Refuse a backbone that building would fetch, read from elsewhere or run a file for."""
    sources = sorted(WEIGHT_SOURCES & built.kwargs.keys())
    if not re.fullmatch(r"[\w.]*", built.name or "") or sources:
        what = f"backbone_kwargs {sources[0]}" if sources else f"the backbone {built.name!r}"
        raise CheckpointError(
            f"{path} names {what}, which reopening would have to fetch or read from elsewhere; build the backbone "
            "and give it as backbone="
        )


def _find_method(registry: Registry, record: Record, path: Path) -> MethodInfo:
    try:
        return registry.info(record.qualified)
    except MethodNotFoundError as error:
        pinned = shlex.quote(f"{record.distribution}=={record.version}")
        mend = (
            f"if you know who wrote the file, run: pip install {pinned}"
            if record.distribution
            else f"it was registered in its own process: call registry.register({record.method!r}, ...) first"
        )
        fact = f"{path} was trained with {record.qualified}, which is not installed here"
        raise CheckpointError(f"{fact}; {mend}") from error


def _migrated(registry: Registry, info: MethodInfo, record: Record, path: Path) -> dict[str, Any]:
    """Return the saved options, translated by the plugin when another version of it saved them."""
    cls = registry.method_class(info.qualified)
    config = dict(record.config)
    if record.version != info.version:
        from ssl_registry.contract.validation import bind

        answer = bind(cls(cls.Config())).hook.migrate_config(config=config, saved_version=record.version)
        if answer is not None and not isinstance(answer, dict):
            raise SSLRegistryError(f"{info.qualified}: migrate_config must return a dict, not {type(answer).__name__}")
        config = config if answer is None else answer
    # Nothing but the method's own options: `create` takes others by name, among them some that fetch weights.
    if unknown := sorted(map(str, config.keys() - cls.Config.model_fields.keys())):
        raise CheckpointError(
            f"{path} has an option {unknown[0]!r}, which {info.qualified} {info.version} does not have; install the "
            f"version that wrote it, {record.version}"
        )
    return config


def check_goes_on(checkpoint: Checkpoint, model: SSLModule) -> None:
    """Refuse what a training of this model cannot go on with, before anything of its run is touched.

    Raises:
        CheckpointError: as `check_method`, and if the weights' names or shapes differ.
    """
    check_method(checkpoint.record, model.info)
    began, now = _shapes(checkpoint.state_dict), _shapes(model.state_dict())
    for name in now | began:
        if began.get(name) != now.get(name):
            raise CheckpointError(
                f"the run began with {_shaped(name, began)} and would go on with {_shaped(name, now)}; "
                "leave out the options that changed, or begin another run"
            )


def _shapes(state: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}


def _shaped(name: str, shapes: dict[str, tuple[int, ...]]) -> str:
    return f"{name} of shape {list(shapes[name])}" if name in shapes else f"no {name}"
