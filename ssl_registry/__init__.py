"""ssl-registry: self-supervised learning methods as plugins.

    from ssl_registry import registry

    model = registry.create("byol", backbone="resnet50")  # a LightningModule

Users need `registry`; authors of methods need `MethodConfig`, `Field`, `hookimpl` and the blocks in
`ssl_registry.nn`. Every name below is imported when it is first used: importing this package imports
neither torch nor a plugin.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "registry": "ssl_registry._registry",
    "Registry": "ssl_registry._registry",
    "MethodInfo": "ssl_registry.discovery",
    "MethodConfig": "ssl_registry.config",
    "Field": "ssl_registry.config",
    "hookimpl": "ssl_registry.hookspecs",
    "Context": "ssl_registry.context",
    "Overrides": "ssl_registry.overrides",
    "SSLModule": "ssl_registry.module",
    "SupervisedModule": "ssl_registry.supervised",
    # The command line's verbs.
    "train": "ssl_registry.training",
    "evaluate": "ssl_registry.evaluation.evaluate",
    "finetune": "ssl_registry.finetuning",
    "embed": "ssl_registry.embedding",
    "export": "ssl_registry.exporting",
}

__all__ = [
    "Context",
    "Field",
    "MethodConfig",
    "MethodInfo",
    "Overrides",
    "Registry",
    "SSLModule",
    "SupervisedModule",
    "__version__",
    "embed",
    "evaluate",
    "export",
    "finetune",
    "hookimpl",
    "registry",
    "train",
]

if TYPE_CHECKING:
    from ssl_registry._registry import Registry, registry
    from ssl_registry.config import Field, MethodConfig
    from ssl_registry.context import Context
    from ssl_registry.discovery import MethodInfo
    from ssl_registry.embedding import embed
    from ssl_registry.evaluation.evaluate import evaluate
    from ssl_registry.exporting import export
    from ssl_registry.finetuning import finetune
    from ssl_registry.hookspecs import hookimpl
    from ssl_registry.module import SSLModule
    from ssl_registry.overrides import Overrides
    from ssl_registry.supervised import SupervisedModule
    from ssl_registry.training import train


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
