"""The table of encoders: backbones by name that timm has not, the core's own and those that plugins add.

An encoder is a callable that is given ``input_shape``, the shape of one sample, and the user's further arguments by
name, and returns an ``nn.Module`` whose output is a feature vector or can be pooled to one. A plugin adds it in the
group ``ssl_registry.backbones``. Importing this file imports no torch: the table is listed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ssl_registry.discovery.tables import PluginTable
from ssl_registry.errors import BackboneError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ENCODERS"]


def _signal_encoder(input_shape: tuple[int, ...], **kwargs: Any) -> nn.Module:
    from ssl_registry.nn import SignalEncoder

    _check_axes("signal_encoder", input_shape, "(channels, time)", 2)
    return SignalEncoder(input_shape[0], **kwargs)


def _table_encoder(input_shape: tuple[int, ...], **kwargs: Any) -> nn.Module:
    from ssl_registry.nn import TableEncoder

    _check_axes("table_encoder", input_shape, "(features,)", 1)
    return TableEncoder(input_shape[0], **kwargs)


def _check_axes(name: str, input_shape: tuple[int, ...], expected: str, axes: int) -> None:
    if len(input_shape) != axes:
        raise BackboneError(f"{name} takes {expected}; give that as input_shape, not {input_shape}")


def _check(found: Any) -> Callable[..., nn.Module]:
    if not callable(found):
        raise TypeError(f"is a {type(found).__name__}, not a callable that builds an nn.Module")
    encoder: Callable[..., nn.Module] = found
    return encoder


ENCODERS: PluginTable[Callable[..., nn.Module]] = PluginTable(
    "backbone", {"signal_encoder": _signal_encoder, "table_encoder": _table_encoder}, check=_check
)
