"""Default random projectors, by the shape of one sample: [batch, *input_shape] -> [batch, out_dim].

They keep PyTorch's default initialisation; signals as in the authors' recipe for activity recognition, tables
a two-layer MLP as in theirs for income, images the same idea in two dimensions.
"""

from __future__ import annotations

import torch
from torch import nn

from ssl_registry.nn import RepeatedModuleList


class TableProjector(nn.Sequential):
    """A two-layer MLP."""

    def __init__(self, input_shape: tuple[int], out_dim: int, hidden_dim: int = 256) -> None:
        super().__init__(nn.Linear(input_shape[0], hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))


class SignalProjector(nn.Sequential):
    """Two blocks of convolution (16, 32 channels, kernel 8), ReLU and max-pool, then two linear layers."""

    def __init__(self, input_shape: tuple[int, int], out_dim: int, hidden_dim: int = 256) -> None:
        channels, time = input_shape
        features = nn.Sequential(
            nn.Conv1d(channels, 16, 8, padding=4, bias=False),
            nn.ReLU(),
            nn.MaxPool1d(2, padding=1),
            nn.Conv1d(16, 32, 8, padding=4, bias=False),
            nn.ReLU(),
            nn.MaxPool1d(2, padding=1),
            nn.Flatten(),
        )
        with torch.no_grad():
            width = features(torch.zeros(1, channels, time)).shape[1]
        # The linear layers follow each other without a nonlinearity, as in the authors' recipe.
        super().__init__(*features, nn.Linear(width, hidden_dim), nn.Linear(hidden_dim, out_dim))


class ImageProjector(nn.Sequential):
    """Two blocks of strided convolution (16, 32 channels), pooled to 4 x 4, then two linear layers."""

    def __init__(self, input_shape: tuple[int, int, int], out_dim: int, hidden_dim: int = 256) -> None:
        super().__init__(
            nn.Conv2d(input_shape[0], 16, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(32 * 16, hidden_dim),
            nn.Linear(hidden_dim, out_dim),
        )


def random_projectors(count: int, input_shape: tuple[int, ...], out_dim: int) -> RepeatedModuleList:
    """Build ``count`` projectors for samples of this shape."""
    modality = {1: TableProjector, 2: SignalProjector, 3: ImageProjector}[len(input_shape)]
    return RepeatedModuleList(count, modality, input_shape, out_dim)
