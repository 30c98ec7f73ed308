"""The width of a backbone's features and tokens, and the pooling that makes a dense output a vector.

The width comes from a forward in evaluation mode at the real input shape: ``num_features`` is wrong for several models,
and absent from a user's own. Where a network can, it is measured without computing: a copy of it without numbers runs
on torch's ``meta`` device, which knows shapes alone. What needs numbers (a branch on a value, numpy, an operator that
has no such form) runs with them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ssl_registry.errors import BackboneError
from ssl_registry.nn import Tokens, embedding_dim, evaluating, tokens

__all__ = ["FeaturePool", "measure", "measure_tokens"]


Measured = TypeVar("Measured")


class FeaturePool(nn.Module):
    """A dense backbone made to return [batch, feature_dim].

    Takes the entry ``"out"``, else the last one, of a mapping, and the last one of a tuple; then averages
    what follows the channel axis: [B, C, H, W] and [B, C, T] over space or time, and the tokens [B, N, C]
    of an image backbone over N.

    Args:
        module: the dense backbone.
        channels_last: whether a 3-D output is [batch, tokens, channels] rather than [batch, channels, time].
        pooling: ``avg``, or ``flatten`` to keep every position.
    """

    def __init__(self, module: nn.Module, *, channels_last: bool, pooling: str = "avg") -> None:
        super().__init__()
        self.module = module
        self.channels_last = channels_last
        self.pooling = pooling

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, *input_shape] to [batch, feature_dim]."""
        return self.pool(self.module(x))

    def tokens(self, x: Tensor, **request: Any) -> Tokens:
        """Return the tokens of the module inside; arguments as `ssl_registry.nn.tokens`, which calls it."""
        return tokens(self.module, x, **request)

    @property
    def embedding_dim(self) -> int | None:
        """The width of a mask token for the module inside, where it is not that of the tokens."""
        return embedding_dim(self.module, 0) or None

    def pool(self, out: Any) -> Tensor:
        """Make a vector of each sample's output.

        Raises:
            BackboneError: if there is no tensor in it, or none with a batch.
        """
        while not isinstance(out, Tensor):
            if isinstance(out, Mapping) and out:
                out = out["out"] if "out" in out else list(out.values())[-1]
            elif isinstance(out, tuple | list) and out:
                out = out[-1]
            else:
                raise BackboneError(
                    f"the backbone returns {type(out).__name__}; it must return a tensor, or a non-empty mapping, "
                    "tuple or list of tensors"
                )
        if out.ndim < 2:
            raise BackboneError(f"the backbone returns shape {tuple(out.shape)}; its first axis must be the batch")
        if self.pooling == "flatten":
            return out.flatten(1)
        if out.ndim == 3 and self.channels_last:
            return out.mean(1)
        return out.flatten(2).mean(2) if out.ndim > 2 else out


def measure(module: nn.Module, shape: tuple[int, ...], pooling: str) -> tuple[nn.Module, int]:
    """Return the module, wrapped if its output is dense, and the width of its features.

    Leaves modes, statistics and the global random numbers as they are.

    Args:
        module: maps [batch, *shape] to features, or to what `FeaturePool` makes features of.
        shape: of one sample.
        pooling: see `FeaturePool`.

    Raises:
        BackboneError: if it does not take such samples, or its output is no feature.
    """
    dense, found = _measured(module, shape, partial(_features, pooling=pooling))
    if len(found) != 2 or found[0] != 2 or found[1] == 0:
        raise BackboneError(f"the backbone maps two samples to shape {found}, not to (2, feature_dim)")
    return FeaturePool(module, channels_last=len(shape) == 3, pooling=pooling) if dense else module, found[1]


def measure_tokens(
    module: nn.Module, shape: tuple[int, ...], hiding: Literal["keep", "mask"] | None = None
) -> tuple[int, tuple[int, ...]]:
    """Return the width of a backbone's patch tokens, and their grid.

    Args:
        module: a backbone.
        shape: of one sample.
        hiding: how patches will be hidden from it.

    Raises:
        BackboneError: if it has no tokens, or its patches cannot be hidden so.

    Example:
        >>> from ssl_registry.nn import SignalEncoder
        >>> measure_tokens(SignalEncoder(9), (9, 128))
        (128, (18,))
    """
    return _measured(module, shape, partial(_token_shape, hiding=hiding))


def _measured(module: nn.Module, shape: tuple[int, ...], ask: Callable[[nn.Module, Tensor], Measured]) -> Measured:
    # None means that numbers are needed, or that something is wrong, which is told better with them.
    return _without_numbers(module, shape, ask) or _with_numbers(module, shape, ask)


def _with_numbers(module: nn.Module, shape: tuple[int, ...], ask: Callable[[nn.Module, Tensor], Measured]) -> Measured:
    weight = next(module.parameters(), torch.zeros(()))
    # Its own generator: measuring must not move the user's random numbers.
    sample = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).to(weight)
    try:
        return _evaluated(module, sample, ask)
    except BackboneError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        raise BackboneError(
            f"the backbone does not take samples of shape {shape}: {error}. "
            "Give the true one through image_size and in_chans, or input_shape"
        ) from error


def _without_numbers(
    module: nn.Module, shape: tuple[int, ...], ask: Callable[[nn.Module, Tensor], Measured]
) -> Measured | None:
    """Return what `_with_numbers` returns, or None where that cannot be told from shapes alone."""
    with suppress(Exception):  # a network may raise anything, and does so again with numbers
        weight = next(module.parameters(), torch.zeros(()))
        # A copy: a forward may keep what it computed, such as a mask or position codes.
        shapes = _copy_without_numbers(module)
        with _FastNorms():
            found = _evaluated(shapes, torch.empty(2, *shape, dtype=weight.dtype, device="meta"), ask)
        # A network that makes parameters in its first forward must make them in the original.
        if shapes.state_dict().keys() == module.state_dict().keys():
            return found
    return None


def _evaluated(module: nn.Module, sample: Tensor, ask: Callable[[nn.Module, Tensor], Measured]) -> Measured:
    with evaluating(module), torch.no_grad():
        return ask(module, sample)


def _features(module: nn.Module, sample: Tensor, pooling: str) -> tuple[bool, tuple[int, ...]]:
    """Return whether the output is dense, and the shape of the features."""
    out = module(sample)
    if isinstance(out, Tensor) and out.ndim == 2:
        return False, tuple(out.shape)
    return True, tuple(FeaturePool(module, channels_last=sample.ndim == 4, pooling=pooling).pool(out).shape)


def _token_shape(module: nn.Module, sample: Tensor, hiding: str | None) -> tuple[int, tuple[int, ...]]:
    out = tokens(module, sample)
    batch, patches, width = out.patches.shape
    if hiding == "keep":
        tokens(module, sample, keep=torch.zeros(batch, 1, dtype=torch.int64, device=sample.device))
    if hiding == "mask":
        mask = torch.ones(batch, patches, dtype=torch.bool, device=sample.device)
        tokens(module, sample, mask=mask, mask_token=sample.new_zeros(embedding_dim(module, width)))
    return width, out.grid


def _copy_without_numbers(module: nn.Module) -> nn.Module:
    """Copy a module, its parameters and buffers as tensors of torch's ``meta`` device, which hold no memory."""
    parameters = {id(p): nn.Parameter(p.to("meta"), requires_grad=p.requires_grad) for p in module.parameters()}
    buffers = {id(buffer): buffer.to("meta") for buffer in module.buffers()}
    return copy.deepcopy(module, {**buffers, **parameters})


class _FastNorms(TorchFunctionMode):
    """Take batch normalisation, which changes no shape, for the identity; on ``meta`` it takes half a millisecond."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.batch_norm and len(args) > 1 and (args[1] is None or args[1].shape == args[0].shape[1:2]):
            return args[0]
        return func(*args, **(kwargs or {}))
