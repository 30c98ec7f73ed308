"""The model for a source: which backbone, which stem, which views where the user said nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_registry._registry import Registry
from ssl_registry.contract.needs import needs_of
from ssl_registry.data import Source
from ssl_registry.model.backbones import own_backbone
from ssl_registry.model.module import SSLModule
from ssl_registry.views import ViewPolicy
from ssl_registry.views.changes import changed

__all__ = ["build_model", "choose_backbone"]

# The ResNets of one 7x7 stem, which `low_resolution` knows: not resnet18d, resnetv2_50, resnet50_clip.
PLAIN_RESNET = re.compile(r"(resnet|resnext|wide_resnet)\d+(?![a-z\d]|_clip|_mlp)")
# At this size and below a ResNet's 7x7 stride-2 stem and max-pool leave next to nothing of the image.
SMALL_IMAGE = 64


def choose_backbone(
    method: str,
    source: Source,
    backbone: str | None,
    backbone_kwargs: Mapping[str, Any] | None,
    *,
    registry: Registry,
) -> tuple[str, dict[str, Any] | None]:
    """Return the backbone's name and arguments: as told, else what the method needs or what suits the samples.

    Raises:
        ConfigError: if the method does not take samples of this kind.
        MethodNotFoundError, PluginError: if there is no such method.
    """
    needs = needs_of(registry.method_class(method))
    needs.check_modality(source.modality, owner=method)
    return needs.choose_backbone(source.modality, backbone, backbone_kwargs)


def build_model(
    method: str,
    source: Source,
    *,
    backbone: str,
    low_resolution: bool | None,
    pretrained: bool,
    weights: str | Path | None = None,
    backbone_kwargs: dict[str, Any] | None,
    seed: int,
    options: Mapping[str, Any],
    registry: Registry,
    views: Mapping[str, Any] | None = None,
) -> SSLModule:
    """Create the method on a backbone that takes the source's samples, with a recipe that suits them.

    Args:
        method: its name.
        source: of the samples.
        backbone: a timm name, an encoder of the core, or ``file.py:name``.
        low_resolution: a 3x3 stem; None takes it for ResNets and small images.
        pretrained: start from timm's weights.
        weights: start from those of a run, a checkpoint or an export.
        backbone_kwargs: further arguments of the backbone.
        seed: of the weights.
        options: the method's own.
        registry: where the method is looked up.
        views: changes to the views' fields, see `changed`.
    """
    if low_resolution is None:
        small = source.modality == "image" and source.input_shape[-1] <= SMALL_IMAGE
        low_resolution = small and PLAIN_RESNET.match(backbone) is not None
    own = ".py:" in backbone
    model = registry.create(
        method,
        backbone=own_backbone(backbone, backbone_kwargs, seed) if own else backbone,
        input_shape=source.input_shape,
        pretrained=pretrained,
        weights=weights,
        low_resolution=low_resolution,
        backbone_kwargs=None if own else backbone_kwargs,
        num_samples=len(source.train),  # type: ignore[arg-type]  # map-style data sets have a length
        seed=seed,
        **options,
    )
    model.view_policy = changed(_recipe_for(model, source), views or {})
    return model


def _recipe_for(model: SSLModule, source: Source) -> ViewPolicy:
    """The method says how many views and how strong; the source, what leaves its samples' meaning alone."""
    view_policy = model.view_policy if source.view is None else model.view_policy.with_view(source.view)
    if source.modality != "image":
        known = source.mean is not None and source.std is not None
        return view_policy.model_copy(update={"standardized": (source.mean, source.std)}) if known else view_policy
    height, width = source.input_shape[1:]
    # Images that are not square keep their shape, in every view.
    size = width if height == width else None
    return view_policy.model_copy(update={"image_size": size, "mean": source.mean, "std": source.std})
