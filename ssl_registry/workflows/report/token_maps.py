"""What patch tokens tell of images: their main components as colors, and their similarity to a patch of choice."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry.errors import BackboneError
from ssl_registry.model.module import SSLModule
from ssl_registry.nn import evaluating, tokens
from ssl_registry.workflows.report.thumbnails import Sprite, sprite

__all__ = ["PackedTokens", "TokenMaps", "colors_of", "draw_token_maps", "pack"]

# Bytes of all tokens on the page before they become text, a third more: about what the thumbnails of the map take.
BUDGET = 150_000
LEAST_DIMENSIONS = 16
# Of all images together; finer grids show fewer images.
MOST_TOKENS = 4096
LEAST_TOKENS = 4  # of an image: fewer make no map
QUANTILE = 0.01  # of the tokens at either end of a component that share a color


@dataclass(frozen=True)
class PackedTokens:
    """Tokens as the page's script reads them: the product of two, times ``scale`` squared, is their cosine similarity.

    Args:
        grid: rows and columns of an image.
        dimensions: numbers a token.
        scale: of the whole numbers.
        kept: the share of the tokens' squared length that is left in these dimensions.
        values: base64 of int8 [images, rows * columns, dimensions].
    """

    grid: tuple[int, int]
    dimensions: int
    scale: float
    kept: float
    values: str


@dataclass(frozen=True)
class TokenMaps:
    """Pictures of patch tokens.

    Args:
        pictures: rows of a sample and the first three components of its tokens as red, green and blue.
        tokens: for similarities.
    """

    pictures: Sprite
    tokens: PackedTokens


def draw_token_maps(model: SSLModule, samples: list[Tensor], side: int) -> tuple[TokenMaps | None, list[str]]:
    """Draw the patch tokens of the model's product for some images.

    Args:
        model: on any backbone.
        samples: raw images [channels, height, width].
        side: of a picture, see `sprite`.

    Returns:
        The pictures, None for a network without tokens or with fewer than four; and in words why they are missing.
    """
    found = _tokens(model.product, model, samples)
    if found is None:
        return None, []
    patches, grid = found
    if not bool(patches.isfinite().all()):
        return None, ["no maps of patch tokens: they hold NaN or infinite values; training has diverged"]
    plain = model.view_policy.model_copy(update={"mean": None, "std": None})
    images = plain.prepare(torch.stack(samples[: len(patches)]))
    height, width = images.shape[2:]
    shrink = min(1.0, side / max(height, width))
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    small = F.interpolate(images, size, mode="bilinear", antialias=True) if shrink < 1 else images
    colors = colors_of(patches).mT.reshape(len(patches), 3, *grid)
    pairs = zip(small, F.interpolate(colors, size, mode="nearest-exact"), strict=True)
    shown = [picture for pair in pairs for picture in pair]
    return TokenMaps(sprite(shown, side, columns=2), pack(patches, grid)), []


def _tokens(network: nn.Module, model: SSLModule, samples: list[Tensor]) -> tuple[Tensor, tuple[int, int]] | None:
    """Return tokens of as many images as the page can hold, float32 [images, N, D] on the CPU, and their grid."""
    with torch.no_grad(), evaluating(network), torch.compiler.set_stance("force_eager"):
        try:
            first = tokens(network, model.prepared(samples[0][None]))
        except BackboneError:  # a network that gives one vector a sample, as it may
            return None
        count = math.prod(first.grid)
        if len(first.grid) != 2 or count < LEAST_TOKENS:
            return None
        shown = samples[: max(1, MOST_TOKENS // count)]
        patches = tokens(network, model.prepared(torch.stack(shown))).patches
    return patches.float().cpu(), (first.grid[0], first.grid[1])


def colors_of(patches: Tensor) -> Tensor:
    """Return the first three principal components of tokens, over all of them, as numbers in [0, 1].

    Source: Oquab et al., 2023, arXiv:2304.07193, section 7.3, where a component is a color of the picture.

    Args:
        patches: [images, N, D].

    Returns:
        [images, N, 3]; 0.5 for a component that all tokens have alike.
    """
    rows = patches.flatten(0, 1).double()
    centered = rows - rows.mean(0)
    axes = _main_axes(centered, 3)
    # Which end of a component is bright is open; the side of its largest weight is, so that runs can be repeated.
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    found = F.pad(centered @ axes.T, (0, 3 - len(axes)))
    low, high = found.quantile(QUANTILE, 0), found.quantile(1 - QUANTILE, 0)
    span = high - low
    flat = span <= 1e-6 * rows.abs().max().clamp_min(1e-12)
    scaled = ((found - low) / span.masked_fill(flat, 1)).clamp(0, 1).masked_fill(flat, 0.5)
    return scaled.float().view(*patches.shape[:2], 3)


def pack(patches: Tensor, grid: tuple[int, int], budget: int = BUDGET) -> PackedTokens:
    """Make tokens small, so that their cosine similarities change as little as can be.

    Each is brought to length one, and all to the dimensions in which the squares of their products differ least
    (the truncated singular value decomposition; Eckart and Young, 1936), and to whole numbers of 8 bits.

    Args:
        patches: [images, N, D].
        grid: of N.
        budget: bytes for all of them, but at least 16 dimensions.
    """
    z = F.normalize(patches.double(), dim=2).flatten(0, 1)
    dimensions = min(*z.shape, max(LEAST_DIMENSIONS, budget // len(z)))
    reduced: NDArray[np.float64] = (z @ _main_axes(z, dimensions).T).numpy()
    scale = max(float(np.abs(reduced).max()), 1e-12) / 127
    codes = np.round(reduced / scale).astype(np.int8)
    kept = float((reduced**2).sum()) / max(float(z.square().sum()), 1e-12)
    return PackedTokens(grid, dimensions, scale, kept, base64.b64encode(codes.tobytes()).decode("ascii"))


def _main_axes(x: Tensor, count: int) -> Tensor:
    """Return the right singular vectors of the largest singular values, [up to count, D], of float64 [M, D]."""
    if len(x) <= x.shape[1]:
        axes: Tensor = torch.linalg.svd(x, full_matrices=False).Vh
    else:  # of many rows two fifths of the time (2738 x 1024), and half of the digits: more than 8 bits keep
        axes = torch.linalg.eigh(x.T @ x).eigenvectors.flip(1).T
    return axes[:count]
