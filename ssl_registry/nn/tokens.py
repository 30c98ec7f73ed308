"""`tokens`: a network's tokens, computed inside its own ``__call__``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ssl_registry.errors import BackboneError
from ssl_registry.nn.token_readers import Tokens, is_staged, read_feature_map, read_transformer

__all__ = ["MaskToken", "Tokens", "embedding_dim", "tokens"]


def tokens(
    network: nn.Module,
    x: Tensor,
    *,
    keep: Tensor | None = None,
    mask: Tensor | None = None,
    mask_token: Tensor | None = None,
    layers: Sequence[int] = (),
) -> Tokens:
    """Return a network's tokens, in place of the features that it pools from them.

    - A ``VisionTransformer`` or ``Eva`` of timm, with learned, fixed or rotary positions, registers, or neither
      class token nor registers: its tokens behind the last norm. Where timm puts that norm behind the pooling
      (``fc_norm``), each token goes through it.
    - Another network of timm (ResNet, ConvNeXt, Swin): the positions of its last feature map. It refuses ``keep``, and
      but for Swin and ConvNeXt ``mask``.
    - `SignalEncoder`: its steps in time; it refuses them too.
    - A module with a method ``tokens(x, *, keep, mask, mask_token, layers)`` that returns `Tokens`: what that returns.

    The network is called, so whatever is attached to that sees it: hooks, FSDP2, ``compile()``, DDP around the model.
    Nothing is left behind in the network: it stays the module that it was, with the same state dict. Only
    ``forward`` gives way for the time of the call, as Lightning's strategies do it for ``training_step``; two
    threads must therefore not call one network at the same time.

    Args:
        network: a backbone, or a copy of it such as a teacher.
        x: inputs, [batch, *input_shape].
        keep: indices of the patches that go through the network, [batch, K] int64. The others are dropped before
            the first block, so they cost nothing there: MAE (He et al., 2021, arXiv:2111.06377, section 3). Prefix
            tokens always stay.
        mask: True where an embedded patch is replaced by ``mask_token``, [batch, N] bool. It happens before positions
            are added, so the network knows where a masked patch is: BEiT (Bao et al., 2021, arXiv:2106.08254). In a
            Swin or a ConvNeXt it happens behind the stem, to all that is under a position of the last feature map:
            SimMIM (Xie et al., 2021, arXiv:2111.09886).
        mask_token: the learned vector, [`embedding_dim`]; see `MaskToken`.
        layers: numbers of blocks (of a convolutional network: stages) whose patch tokens are returned too; -1 is the
            last one. They are as the block leaves them, without the last norm.

    Returns:
        `Tokens`.

    Raises:
        BackboneError: if the network has no tokens, cannot hide patches, or has no such layer.
        ValueError: if ``keep``, ``mask`` or ``mask_token`` has another shape or type.

    Example:
        >>> import timm
        >>> vit = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=0)
        >>> images = torch.zeros(2, 3, 32, 32)
        >>> out = tokens(vit, images)
        >>> out.prefix.shape, out.patches.shape, out.grid
        (torch.Size([2, 1, 192]), torch.Size([2, 4, 192]), (2, 2))
        >>> tokens(vit, images, keep=torch.tensor([[0], [3]])).patches.shape
        torch.Size([2, 1, 192])
    """
    with _forward(network, partial(_answer, _reader(network))):
        found: Tokens = network(x, keep=keep, mask=mask, mask_token=mask_token, layers=tuple(layers))
    return found


class MaskToken(nn.Module):
    """The learned vector that stands for masked patches; a method keeps it among its heads.

    A module rather than a parameter, so that it can be a head, and that FSDP2 can shard it.

    Args:
        dim: width of the network's embedded patches, `embedding_dim`.

    Returns the vector [dim] when it is called. It starts from a normal distribution of standard deviation 0.02,
    as in MAE (He et al., 2021, arXiv:2111.06377, the authors' code).

    Example:
        >>> MaskToken(192)().shape
        torch.Size([192])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim).normal_(std=0.02))

    def forward(self) -> Tensor:
        """Return the vector."""
        # A copy: FSDP2 frees the parameter itself when this returns.
        return self.weight.clone()


def embedding_dim(network: nn.Module, token_dim: int) -> int:
    """Return the width that a mask token needs: that of the embedded patches, which may be less than the tokens'.

    Args:
        network: a backbone. One of yours tells its width in an attribute ``embedding_dim``.
        token_dim: the width of its tokens, which is returned where it has no other.

    Example:
        >>> import timm
        >>> embedding_dim(timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1)), 768)
        96
    """
    told: Any = getattr(network, "embedding_dim", None)
    if isinstance(told, int):
        return told
    stages: Any = network.feature_info if is_staged(network) else None
    return token_dim if stages is None else int(stages[0]["num_chs"])


def _reader(network: nn.Module) -> Callable[..., Tokens]:
    """Return the function that computes the tokens of such a network."""
    if has_method(network):
        return _own_tokens
    if hasattr(network, "forward_intermediates"):
        return read_transformer if is_plain_transformer(network) else read_feature_map
    raise BackboneError(
        f"{type(network).__name__} has no tokens; use a network of timm, such as vit_small_patch16_224 or resnet50, "
        "signal_encoder, or give your module a method tokens(x, *, keep, mask, mask_token, layers) that returns "
        "ssl_registry.nn.Tokens"
    )


def has_method(network: nn.Module) -> bool:
    """Whether a module has a method ``tokens`` of its own."""
    return inspect.ismethod(getattr(network, "tokens", None))


def is_plain_transformer(network: nn.Module) -> bool:
    """Whether its ``forward_features`` is that of one of the two classes that `read_transformer` knows."""
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    known = (VisionTransformer.forward_features, Eva.forward_features)
    return getattr(type(network), "forward_features", None) in known


def _answer(read: Callable[..., Tokens], network: nn.Module, x: Tensor, **request: Any) -> Tokens:
    """Do what runs in place of ``forward``."""
    found = read(network, x, **request)
    parts = (found.prefix, found.patches, *found.layers)
    # Copies, as they are parts of larger tensors: FSDP2 hooks into what a module returns, and loses a view's hook.
    prefix, patches, *layers = (part.clone(memory_format=torch.contiguous_format) for part in parts)
    return Tokens(prefix, patches, found.grid, tuple(layers))


def _own_tokens(network: Any, x: Tensor, **request: Any) -> Tokens:
    """Ask a module's method, with its ``forward`` back in place, since the method may call it."""
    with _forward(network, type(network).forward):
        found = network.tokens(x, **request)
    if not isinstance(found, Tokens):
        raise BackboneError(
            f"{type(network).__name__}.tokens returns {type(found).__name__}; it must return ssl_registry.nn.Tokens"
        )
    return found


@contextmanager
def _forward(network: nn.Module, function: Callable[..., Any]) -> Iterator[None]:
    """Let ``network(...)`` run a function in place of ``forward``, for the time of a block."""
    before = vars(network).get("forward")
    # A partial of a module's function, which torch.compile takes for the same at every call.
    vars(network)["forward"] = partial(function, network)
    try:
        yield
    finally:
        if before is None:
            del vars(network)["forward"]
        else:
            vars(network)["forward"] = before
