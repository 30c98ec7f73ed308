"""Building the model that a checkpoint describes, and whether a training can go on with one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from ssl_registry._system.trust import deed_of_backbone, require_trust
from ssl_registry.checkpoint.io import Checkpoint, read_checkpoint
from ssl_registry.checkpoint.record import Record, check_method
from ssl_registry.errors import CheckpointError, MethodNotFoundError, SSLRegistryError
from ssl_registry.model.backbones import own_backbone

if TYPE_CHECKING:
    from ssl_registry._registry import Registry
    from ssl_registry.discovery.entry_points import MethodInfo
    from ssl_registry.model.module import SSLModule

__all__ = ["check_goes_on", "no_larger_than", "reopen"]

# While a model is built, parts are made and replaced (a stem, a head of timm's): so much more than the file holds may
# be made; 2**26 numbers are a quarter of a gigabyte.
SPARE_NUMBERS = 2**26
SPARE_TENSORS = 10_000


def reopen(
    registry: Registry,
    path: Path,
    *,
    backbone: nn.Module | None,
    observers: Sequence[object],
    heads: dict[str, Any],
    trust: bool,
) -> SSLModule:
    """Build the model that a checkpoint describes and load its weights; see `Registry.load`."""
    checkpoint = read_checkpoint(path)
    record, built = checkpoint.record, checkpoint.record.backbone
    info = _find_method(registry, record, path)
    check_method(record, info)
    network: str | nn.Module
    if backbone is not None:
        network = backbone
    elif built.name is None:
        raise CheckpointError(f"{path} was trained on a module, {built.class_name}; build it and give it as backbone=")
    else:
        require_trust([deed_of_backbone(built.name, built.kwargs)], where=path, trust=trust)
        own = ".py:" in built.name
        network = own_backbone(built.name, built.kwargs, record.seed) if own else built.name
    if missing := sorted(set(record.overridden) - heads.keys()):
        raise CheckpointError(f"{path} was trained with your own {missing[0]}; build it and give it as {missing[0]}=")
    given = isinstance(network, nn.Module)
    options = _migrated(registry, info, record, path) | heads
    try:
        with no_larger_than(checkpoint.file, checkpoint.state_dict):
            model = registry.create(
                info.qualified,
                backbone=network,
                input_shape=built.input_shape,
                low_resolution=built.low_resolution and not given,
                pooling=built.pooling,
                backbone_kwargs=None if given else built.kwargs,
                view_policy=record.view_policy,
                num_samples=record.num_samples,
                observers=observers,
                seed=record.seed,
                **options,
            )
        model.load_state_dict(checkpoint.state_dict)
    except SSLRegistryError:
        raise
    except Exception as error:  # constructors raise nearly anything for arguments that do not fit
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        raise CheckpointError(f"{path} does not fit the model it describes: {problem[:500]}") from error
    return model


@contextmanager
def no_larger_than(file: Path, state_dict: Mapping[str, Tensor]) -> Iterator[None]:
    """Stop building a model whose parameters are more than the file can hold, before they are filled.

    Raises:
        CheckpointError: saying so.
    """
    numbers = sum(value.numel() for value in state_dict.values())
    left = {"numbers": SPARE_NUMBERS + 2 * numbers, "tensors": SPARE_TENSORS + 2 * len(state_dict)}

    def count(module: nn.Module, name: str, value: Tensor | None) -> None:
        if value is None:
            return
        left["numbers"] -= value.numel()
        left["tensors"] -= 1
        if min(left.values()) < 0:
            raise CheckpointError(
                f"{file} describes a model of many more parameters than it holds; it is damaged, or was "
                "made to fill the memory"
            )

    hooks = [register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


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
