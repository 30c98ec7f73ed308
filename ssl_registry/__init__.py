"""ssl-registry: self-supervised learning methods as plugins.

    from ssl_registry import registry

    model = registry.create("byol", backbone="resnet50")  # a LightningModule

Users need `registry`; authors of methods need `MethodConfig`, `Field`, `hookimpl`, `Needs`, `Declares` and the blocks
in `ssl_registry.nn`. Every name below is imported when it is first used: importing this package imports
neither torch nor a plugin.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ssl_registry._version import __version__

_HOME = {
    "registry": "ssl_registry._registry",
    "Registry": "ssl_registry._registry",
    "MethodInfo": "ssl_registry.discovery.entry_points",
    "MethodConfig": "ssl_registry.contract.config",
    "Field": "ssl_registry.contract.config",
    "hookimpl": "ssl_registry.contract.hookspecs",
    "Needs": "ssl_registry.contract.needs",
    "Declares": "ssl_registry.contract.declares",
    "Context": "ssl_registry.contract.context",
    "Overrides": "ssl_registry.contract.overrides",
    "Reconstruction": "ssl_registry.contract.reconstruction",
    "SSLModule": "ssl_registry.model.module",
    "SupervisedModule": "ssl_registry.model.supervised",
    "create_backbone": "ssl_registry.model.backbones",
    "Source": "ssl_registry.data.source",
    "SourceKind": "ssl_registry.data.kinds",
    "ExportFormat": "ssl_registry.workflows.export.format",
    # The command line's verbs.
    "train": "ssl_registry.workflows.train",
    "evaluate": "ssl_registry.workflows.evaluate.evaluate",
    "finetune": "ssl_registry.workflows.finetune",
    "predict": "ssl_registry.workflows.predict",
    "embed": "ssl_registry.workflows.embed",
    "export": "ssl_registry.workflows.export.writing",
    "print_messages": "ssl_registry.cli.messages",
}

__all__ = [
    "Context",
    "Declares",
    "ExportFormat",
    "Field",
    "MethodConfig",
    "MethodInfo",
    "Needs",
    "Overrides",
    "Reconstruction",
    "Registry",
    "SSLModule",
    "Source",
    "SourceKind",
    "SupervisedModule",
    "__version__",
    "create_backbone",
    "embed",
    "evaluate",
    "export",
    "finetune",
    "hookimpl",
    "predict",
    "print_messages",
    "registry",
    "train",
]

if TYPE_CHECKING:
    from ssl_registry._registry import Registry, registry
    from ssl_registry.cli.messages import print_messages
    from ssl_registry.contract.config import Field, MethodConfig
    from ssl_registry.contract.context import Context
    from ssl_registry.contract.declares import Declares
    from ssl_registry.contract.hookspecs import hookimpl
    from ssl_registry.contract.needs import Needs
    from ssl_registry.contract.overrides import Overrides
    from ssl_registry.contract.reconstruction import Reconstruction
    from ssl_registry.data.kinds import SourceKind
    from ssl_registry.data.source import Source
    from ssl_registry.discovery.entry_points import MethodInfo
    from ssl_registry.model.backbones import create_backbone
    from ssl_registry.model.module import SSLModule
    from ssl_registry.model.supervised import SupervisedModule
    from ssl_registry.workflows.embed import embed
    from ssl_registry.workflows.evaluate.evaluate import evaluate
    from ssl_registry.workflows.export.format import ExportFormat
    from ssl_registry.workflows.export.writing import export
    from ssl_registry.workflows.finetune import finetune
    from ssl_registry.workflows.predict import predict
    from ssl_registry.workflows.train import train


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
