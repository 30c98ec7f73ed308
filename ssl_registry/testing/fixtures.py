"""What checks are made on: real digits as images, signals and tables, and a tiny backbone for each."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_registry.data import Source
from ssl_registry.data.samples import Samples
from ssl_registry.data.source import Modality
from ssl_registry.nn import DilatedEncoder, SignalTransformer, TableTransformer

__all__ = ["KINDS", "SHAPES", "digits", "tiny_backbone"]

KINDS: tuple[Modality, ...] = ("image", "signal", "table")
SHAPES: dict[Modality, tuple[int, ...]] = {"image": (1, 16, 16), "signal": (8, 16), "table": (64,)}
FEATURES = 24


@cache
def _scans() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's 1,797 scans [N, 8, 8] in [0, 1], mixed once, and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(data.images).float()[order] / 16, torch.from_numpy(data.target).long()[order]


def digits(
    modality: Modality = "image", train: int = 48, test: int = 16, *, image_shape: tuple[int, ...] = SHAPES["image"]
) -> Source:
    """Return real handwritten digits as a source.

    Args:
        modality: ``image``, uint8 [1, 16, 16]; ``signal``, 8 channels (the rows) over 16 points of time, standardised;
            ``table``, 64 features, standardised.
        train, test: numbers of samples; at most 1,797 together.
        image_shape: (channels, height, width) of images.

    Example:
        >>> digits("signal").input_shape
        (8, 16)
    """
    scans, labels = (part[: train + test] for part in _scans())
    if modality == "image":
        x = functional.interpolate((scans * 255).round().byte()[:, None], image_shape[1:], mode="nearest")
        x = x.repeat(1, image_shape[0], 1, 1)
    else:
        standard = (scans - 0.305) / 0.376  # mean and deviation of all scans
        x = standard.repeat_interleave(2, 2) if modality == "signal" else standard.flatten(1)
    classes = tuple("0123456789")
    parts = Samples(x[:train], labels[:train]), Samples(x[train:], labels[train:])
    return Source("digits", modality, tuple(x.shape[1:]), *parts, classes=classes)


def tiny_backbone(
    input_shape: tuple[int, ...],
    *,
    features: int = FEATURES,
    norm: bool = True,
    dropout: float = 0.0,
    tokens: bool | str = False,
) -> nn.Module:
    """Return a network of a few thousand weights: [batch, *input_shape] to [batch, features].

    Args:
        input_shape: (channels, height, width), (channels, time) or (features,).
        features: width of the output.
        norm: normalise over the batch.
        dropout: probability, before the last layer.
        tokens: give a network whose tokens can be hidden: a vision transformer of two blocks, or one of patches of
            time or of features; ``"moments"`` gives a dilated encoder, each of whose moments is a token. None looks at
            ``norm``.

    Example:
        >>> tiny_backbone((1, 16, 16))(torch.zeros(2, 1, 16, 16)).shape
        torch.Size([2, 24])
    """
    axes, width = len(input_shape) - 1, 16
    if tokens == "moments":
        return DilatedEncoder(input_shape[0], hidden_dim=8, out_features=features, depth=2, dropout=dropout)
    if tokens:
        return _tiny_transformer(input_shape, features, dropout)
    layer = {0: nn.Linear, 1: nn.Conv1d, 2: nn.Conv2d}[axes]
    normalize = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d}[axes]
    pool = {0: nn.Identity(), 1: nn.AdaptiveAvgPool1d(4), 2: nn.AdaptiveAvgPool2d(4)}[axes]
    spatial = {"kernel_size": 3, "padding": 1} if axes else {}
    return nn.Sequential(
        layer(input_shape[0], width, **spatial),
        normalize(width) if norm else nn.Identity(),
        nn.ReLU(),
        pool,
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(width * 4**axes, features),
    )


def _tiny_transformer(input_shape: tuple[int, ...], features: int, dropout: float) -> nn.Module:
    from timm.models import VisionTransformer

    heads = next(count for count in (4, 3, 2, 1) if features % count == 0)
    if len(input_shape) == 2:
        return SignalTransformer(
            input_shape[0], patch_size=2, dim=features, depth=2, num_heads=heads, mlp_ratio=2, dropout=dropout
        )
    if len(input_shape) == 1:
        return TableTransformer(input_shape[0], dim=features, depth=2, num_heads=heads, mlp_ratio=2, dropout=dropout)
    channels, height, width = input_shape
    return VisionTransformer(
        img_size=(height, width),
        patch_size=4,
        in_chans=channels,
        num_classes=0,
        embed_dim=features,
        depth=2,
        num_heads=heads,
        mlp_ratio=2,
        proj_drop_rate=dropout,
        dynamic_img_size=True,
    )
