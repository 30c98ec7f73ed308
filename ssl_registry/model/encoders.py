"""The table of encoders: backbones by name that timm has not, the core's own and those that plugins add.

An encoder is a callable that is given ``input_shape``, the shape of one sample, and the user's further arguments by
name, and returns an ``nn.Module`` whose output is a feature vector or can be pooled to one. A plugin adds it in the
group ``ssl_registry.backbones``. Importing this file imports no torch: the table is listed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ssl_registry.contract.needs import LEAST_GRID
from ssl_registry.discovery.tables import PluginTable
from ssl_registry.errors import BackboneError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ENCODERS", "ENCODER_MODALITIES"]


def _signal_encoder(input_shape: tuple[int, ...], **kwargs: Any) -> nn.Module:
    from ssl_registry.nn import SignalEncoder

    _check_axes("signal_encoder", input_shape, "(channels, time)", 2)
    return SignalEncoder(input_shape[0], **kwargs)


def _table_encoder(input_shape: tuple[int, ...], **kwargs: Any) -> nn.Module:
    from ssl_registry.nn import TableEncoder

    _check_axes("table_encoder", input_shape, "(features,)", 1)
    return TableEncoder(input_shape[0], **kwargs)


def _signal_dilated(input_shape: tuple[int, ...], **kwargs: Any) -> nn.Module:
    from ssl_registry.nn import DilatedEncoder

    _check_axes("signal_dilated", input_shape, "(channels, time)", 2)
    return DilatedEncoder(input_shape[0], **kwargs)


def _signal_resnet(input_shape: tuple[int, ...], **kwargs: Any) -> nn.Module:
    from ssl_registry.nn import ResNet1d

    _check_axes("signal_resnet", input_shape, "(channels, time)", 2)
    return ResNet1d(input_shape[0], **kwargs)


def _signal_transformer(input_shape: tuple[int, ...], **kwargs: Any) -> nn.Module:
    from ssl_registry.nn import SignalTransformer

    _check_axes("signal_transformer", input_shape, "(channels, time)", 2)
    return SignalTransformer(input_shape[0], **{"patch_size": patch_of(input_shape[1]), **kwargs})


def _table_transformer(input_shape: tuple[int, ...], **kwargs: Any) -> nn.Module:
    from ssl_registry.nn import TableTransformer

    _check_axes("table_transformer", input_shape, "(features,)", 1)
    return TableTransformer(input_shape[0], **kwargs)


# What each of the core's encoders takes.
ENCODER_MODALITIES = {
    "signal": ("signal_dilated", "signal_encoder", "signal_resnet", "signal_transformer"),
    "table": ("table_encoder", "table_transformer"),
}


def patch_of(length: int) -> int:
    """Return how many moments a patch of a signal has, where nobody says it: a divisor of its length, up to 8.

    The largest that leaves 7 patches, as `Needs` has it for images, else the smallest above 1; 1 where nothing divides.

    >>> [patch_of(length) for length in (128, 125, 32, 10, 11)]
    [8, 5, 4, 2, 1]
    """
    fitting = [size for size in range(8, 1, -1) if length % size == 0]
    return next((size for size in fitting if length // size >= LEAST_GRID), fitting[-1] if fitting else 1)


def _check_axes(name: str, input_shape: tuple[int, ...], expected: str, axes: int) -> None:
    if len(input_shape) != axes:
        raise BackboneError(f"{name} takes {expected}; give that as input_shape, not {input_shape}")


def _check(found: Any) -> Callable[..., nn.Module]:
    if not callable(found):
        raise TypeError(f"is a {type(found).__name__}, not a callable that builds an nn.Module")
    encoder: Callable[..., nn.Module] = found
    return encoder


ENCODERS: PluginTable[Callable[..., nn.Module]] = PluginTable(
    "backbone",
    {
        "signal_encoder": _signal_encoder,
        "signal_dilated": _signal_dilated,
        "signal_resnet": _signal_resnet,
        "signal_transformer": _signal_transformer,
        "table_encoder": _table_encoder,
        "table_transformer": _table_transformer,
    },
    check=_check,
)
