"""`RawTokens`: a network's patch tokens of samples as a source gives them, one row a sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ssl_registry.model.batches import read_batch
from ssl_registry.nn import evaluating, patch_sides, patchify, tokens
from ssl_registry.runs.opened import RawNetwork

__all__ = ["RawPatches", "RawTokens"]


class RawTokens(nn.Module):
    """Patch tokens, a feature map's positions, or the steps of a signal, flat, as what streams features takes them.

    Args:
        network: of the run or a baseline. It is called with one sample to measure ``grid`` and ``width``.

    Attributes:
        grid: positions along each axis, (rows, columns) or (steps,).
        width: of a token.

    Raises:
        BackboneError: if the network has no tokens.
    """

    def __init__(self, network: RawNetwork) -> None:
        super().__init__()
        self.network = network
        self.view_policy = network.view_policy
        self.input_shape = network.input_shape
        kind = torch.uint8 if len(network.input_shape) == 3 else torch.float32
        weight = next(network.parameters(), torch.empty(0))
        with torch.no_grad(), evaluating(network):
            found = tokens(
                network.backbone, self._prepared(torch.zeros(1, *network.input_shape, dtype=kind).to(weight.device))
            )
        self.grid = found.grid
        self.width = int(found.patches.shape[-1])

    @property
    def count(self) -> int:
        """Tokens of a sample."""
        return math.prod(self.grid)

    def forward(self, x: Tensor) -> Tensor:
        """Map raw samples [batch, ...] to [batch, count * width] in float32, position by position."""
        return tokens(self.network.backbone, self._prepared(x)).patches.float().flatten(1)

    def _prepared(self, x: Tensor) -> Tensor:
        (batch,) = read_batch(x, self.input_shape)
        return self.view_policy.prepare(batch)


class RawPatches(nn.Module):
    """The pixels of patches in the place of tokens: the baseline that tokens have to beat.

    Args:
        like: whose grid the images are cut into.

    Raises:
        BackboneError: if the grid does not divide the images.
    """

    def __init__(self, like: RawTokens) -> None:
        super().__init__()
        self.view_policy = like.view_policy
        self.input_shape = like.input_shape
        self.grid = like.grid
        self.sides = patch_sides(like.input_shape, like.grid)
        self.width = like.input_shape[0] * math.prod(self.sides)
        self.count = like.count

    def forward(self, x: Tensor) -> Tensor:
        """Map raw images [batch, channels, height, width] to [batch, count * width] in float32."""
        (batch,) = read_batch(x, self.input_shape)
        return patchify(self.view_policy.prepare(batch), self.sides).float().flatten(1)
