"""A subject in other processes: how they rebuild it, and how their results compare."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry._system.python_files import load_python_file
from ssl_registry.errors import SSLRegistryError
from ssl_registry.model.module import SSLModule
from ssl_registry.nn import gather, rank, world_size
from ssl_registry.testing.check import CheckFailure, NotApplicable
from ssl_registry.testing.processes import Outcome
from ssl_registry.testing.subject import Subject

__all__ = ["compare", "describe", "is_echo", "rebuild", "synchronize_norms", "values_of"]


def describe(subject: Subject) -> dict[str, Any]:
    """Describe a subject in plain values, for another process to build it.

    An installed method is found by its name there; one that a registry of its own knows, by its class.

    Raises:
        NotApplicable: if another process cannot import the class.
    """
    cls, where = subject.method_class, None
    if not _is_installed(subject):
        module = sys.modules[cls.__module__]
        if "<locals>" in cls.__qualname__:
            raise NotApplicable("its class is defined inside a function, where another process cannot import it")
        if _part(module, cls.__qualname__) is not cls:
            raise NotApplicable(
                f"another process cannot import its class: {cls.__module__} has no such {cls.__qualname__}"
            )
        file = getattr(module, "__file__", None)
        if file is None:
            raise NotApplicable("its class is defined in a session, which another process cannot import; use a file")
        where = (cls.__module__, file, cls.__qualname__)
    return {"name": subject.name, "options": subject.options, "where": where}


def _is_installed(subject: Subject) -> bool:
    """Whether the default registry gives another process this very class, which no process registered."""
    try:
        installed = default_registry.info(subject.name).status != "local"
        return installed and default_registry.method_class(subject.name) is subject.method_class
    except SSLRegistryError:
        return False


def _part(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part, None)
    return module


def rebuild(told: dict[str, Any]) -> Subject:
    """Build a subject from what `describe` told of it."""
    registry = default_registry
    if told["where"] is not None:
        module, file, name = told["where"]
        try:
            found: Any = importlib.import_module(module)
        except ImportError:
            found = load_python_file(file)
        registry = Registry(entry_points=False)
        registry.register(told["name"].rpartition(":")[2], _part(found, name))
        return Subject(told["name"].rpartition(":")[2], registry, told["options"])
    return Subject(told["name"], registry, told["options"])


def values_of(outcomes: list[Outcome]) -> list[Any]:
    """Return what the ranks returned.

    Raises:
        CheckFailure: if one hangs or fails, with the error that came first rather than its echo.
    """
    for number, outcome in enumerate(outcomes):
        if outcome.hung:
            raise CheckFailure(f"rank {number} of two never ends; do all ranks make the same collective calls?")
    if errors := [outcome.error for outcome in outcomes if outcome.error]:
        raise CheckFailure(f"two processes do not train: {min(errors, key=is_echo)}")
    return [outcome.value for outcome in outcomes]


def is_echo(error: str) -> bool:
    """Tell whether an error is only the other rank's end, as gloo tells it."""
    return "closed by peer" in error or "Connection reset" in error or "gloo" in error.lower()


def compare(found: list[Any], wanted: dict[str, Tensor], key: str, words: str) -> None:
    """Compare tensors by name under a key of each rank's result with those of one process.

    Raises:
        CheckFailure: naming the first that differs, in ``words``.
    """
    scale = max(float(tensor.abs().max()) for tensor in wanted.values() if tensor.is_floating_point())
    for name, tensor in wanted.items():
        for number, ranks in enumerate(found):
            other = ranks[key].get(name)
            if other is None or not torch.allclose(other, tensor, rtol=1e-3, atol=1e-6 * scale):
                raise CheckFailure(f"{words.format(name)} is not that of one process on rank {number} of two")


def _gathered_forward(norm: _BatchNorm, x: Tensor) -> Tensor:
    everyone: Tensor = type(norm).forward(norm, gather(x))
    return everyone[rank() * len(x) : (rank() + 1) * len(x)]


def synchronize_norms(model: SSLModule) -> None:
    """Let every BatchNorm of a model take its statistics over the batches of all ranks, on any device."""
    for part in model.modules():
        if isinstance(part, _BatchNorm) and world_size() > 1 and part.training:
            part.forward = partial(_gathered_forward, part)  # type: ignore[method-assign]  # as SyncBatchNorm would
