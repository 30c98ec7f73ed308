"""How a ResNet begins: its stem of 7x7 or of 3x3, the rule that decides between them, and open residual branches."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from ssl_registry.errors import BackboneError

if TYPE_CHECKING:
    from ssl_registry.checkpoint.weights import BackboneWeights

__all__ = ["has_small_stem", "open_residual_branches", "use_small_stem"]

# At this size and below a ResNet's 7x7 stride-2 stem and max-pool leave one place of the image. The small stem makes a
# step nine times as long, so 32 pixels with it cost what 96 cost without.
SMALL_IMAGE = 32
# The ResNets of one 7x7 stem, which the small one can replace: not resnet18d, resnetv2_50, resnet50_clip.
PLAIN_RESNET = re.compile(r"(resnet|resnext|wide_resnet)\d+(?![a-z\d]|_clip|_mlp)")


def has_small_stem(
    backbone: str | nn.Module,
    input_shape: Sequence[int],
    kwargs: Mapping[str, Any] | None = None,
    *,
    pretrained: bool = False,
    weights: BackboneWeights | None = None,
) -> bool:
    """Tell whether a backbone gets the small stem where nobody says (``low_resolution=None``).

    Weights keep the stem that they were trained with. Without any, a plain ResNet of timm's has the small stem on
    images of 32 pixels and fewer.

    Args:
        backbone: a name; a module has the stem that it has.
        input_shape: of one sample.
        kwargs: further arguments of the backbone; a ``stem_type`` is a wish.
        pretrained: whether it has timm's own weights.
        weights: that it starts from.

    Example:
        >>> has_small_stem("resnet18", (3, 32, 32)), has_small_stem("resnet18", (3, 64, 64))
        (True, False)
        >>> has_small_stem("resnet18d", (3, 32, 32)), has_small_stem("resnet18", (3, 32, 32), pretrained=True)
        (False, False)
    """
    if not isinstance(backbone, str):
        return False
    if weights is not None and weights.low_resolution is not None and weights.backbone == backbone:
        return weights.low_resolution
    if not PLAIN_RESNET.match(backbone) or (kwargs or {}).get("stem_type"):
        return False
    if weights is not None:
        return weights.has_small_stem
    return not pretrained and len(input_shape) == 3 and max(input_shape[1:]) <= SMALL_IMAGE


def use_small_stem(module: nn.Module) -> None:
    """Replace a ResNet's 7x7 stride-2 stem and max-pool by a 3x3 convolution, as is usual for CIFAR.

    Raises:
        BackboneError: for a network of another kind.
    """
    stem = getattr(module, "conv1", None)
    if not (isinstance(stem, nn.Conv2d) and isinstance(getattr(module, "maxpool", None), nn.Module)):
        raise BackboneError(
            f"low_resolution knows the stem of ResNets, not of {type(module).__name__}; "
            "for others give a smaller patch, such as backbone_kwargs={'patch_size': 4}"
        )
    conv = nn.Conv2d(stem.in_channels, stem.out_channels, 3, padding=1, bias=stem.bias is not None)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    module.conv1 = conv
    module.maxpool = nn.Identity()


def open_residual_branches(module: nn.Module) -> None:
    """Set to 1 the norms that begin at 0, as timm ends each residual branch of a ResNet.

    A ResNet without branches is its 1x1 convolutions with strides, which see one pixel of many: no baseline that a
    trained network should be compared with, and short runs spend their steps on opening what is closed.
    """
    for layer in module.modules():
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, nn.Parameter) or weight.ndim != 1 or weight.device.type == "meta":
            continue
        if not isinstance(layer, nn.PReLU) and not weight.detach().any():
            nn.init.ones_(weight)
