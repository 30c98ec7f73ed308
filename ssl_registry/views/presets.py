"""The view of photographs that most methods share, for each to vary."""

from __future__ import annotations

from typing import Any

from ssl_registry.views.specs import ImageView

__all__ = ["augmented_view"]

# Up to this side, in pixels, nothing is blurred: SimCLR leaves the blur out on CIFAR-10 (Chen et al., 2020,
# arXiv:2002.05709, appendix B.9), and of a blurred thumbnail little is left.
MAX_SIDE_WITHOUT_BLUR = 64


def augmented_view(image_size: int | None, *, blur: float = 0.0, **changes: Any) -> ImageView:
    """Return a random crop with flip, color jitter and grayscale, as SimCLR introduced and most later methods take it.

    The crop keeps 8 to 100 % of the area; the jitter happens with probability 0.8 and has the strengths of BYOL: 0.4
    (brightness, contrast), 0.2 (saturation) and 0.1 (hue); grayscale happens with probability 0.2.

    Source: Grill et al., 2020, arXiv:2006.07733, appendix B, table 6, without its blur and solarization, which differ
    between its two views.

    Args:
        image_size: side of the images in pixels, as `build_views` gets it.
        blur: probability of a Gaussian blur; none at 64 pixels and below, and where the size is not known.
        **changes: other values for fields of `ImageView`.

    Example:
        >>> augmented_view(224, blur=0.5, solarize=0.1).model_dump(include={"blur", "solarize", "saturation"})
        {'saturation': 0.2, 'blur': 0.5, 'solarize': 0.1}
        >>> augmented_view(32, blur=0.5).blur
        0.0
    """
    fields: dict[str, Any] = {
        "crop_scale": (0.08, 1.0),
        "flip": 0.5,
        "color_jitter": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.2,
        "hue": 0.1,
        "grayscale": 0.2,
        "blur": blur if image_size is not None and image_size > MAX_SIDE_WITHOUT_BLUR else 0.0,
    }
    return ImageView(**fields | changes)
