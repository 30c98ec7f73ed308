"""A backbone's layers in order, from the input to the features."""

from __future__ import annotations

from torch import nn

from ssl_registry.model.backbones import FeaturePool

__all__ = ["layer_groups"]


def layer_groups(backbone: nn.Module) -> list[list[nn.Module]]:
    """Return the modules with parameters of their own, layer by layer.

    timm's models say themselves what belongs to one layer (their ``group_matcher``: a stem, a residual block, a
    transformer block); of other networks each such module is a layer.

    Example:
        >>> [len(group) for group in layer_groups(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)))]
        [1, 1]
    """
    inner = backbone.module if isinstance(backbone, FeaturePool) else backbone
    owners = {name: part for name, part in inner.named_modules() if any(True for _ in part.parameters(recurse=False))}
    matcher = getattr(inner, "group_matcher", None)
    if matcher is None:
        return [[part] for part in owners.values()]
    from timm.models import group_parameters

    layers: dict[str, int] = group_parameters(inner, matcher(coarse=False), reverse=True)
    # A module follows its deepest parameter; a ViT's own ones (tokens, positions) lie in its first layer.
    depth = {
        name: max(layers[f"{name}.{key}" if name else key] for key, _ in part.named_parameters(recurse=False))
        for name, part in owners.items()
    }
    return [[owners[name] for name in owners if depth[name] == layer] for layer in sorted(set(depth.values()))]
