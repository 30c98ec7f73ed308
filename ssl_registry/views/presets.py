"""The views of photographs that most methods share, for each to vary."""

from __future__ import annotations

from typing import Any

from ssl_registry.views.specs import ImageView

__all__ = ["augmented_view", "multi_crop_views", "small_view_size"]

# Of DINO's small views, beside large ones of 224 pixels (Caron et al., 2021, arXiv:2104.14294, section 3).
SMALL_SHARE = 96 / 224
# A default vision transformer has the largest of these patches that leaves a grid of 7 x 7 of an image.
PATCH_SIZES, LEAST_GRID = (16, 8, 4), 7

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


def multi_crop_views(
    image_size: int | None,
    *,
    large: tuple[float, float],
    small: tuple[float, float],
    copies: int,
    size: int | None = None,
    large_size: int | None = None,
) -> tuple[ImageView, ...]:
    """Return DINO's views: two large crops, unequal as BYOL's, and small ones.

    Source: Caron et al., 2021, arXiv:2104.14294 (DINO), section 3, multi-crop, and the authors' code; iBOT
    (Zhou et al., 2021, arXiv:2111.07832) and DINOv2 (Oquab et al., 2023, arXiv:2304.07193) take other shares of the
    area.

    Args:
        image_size: side of the images in pixels, as `build_views` gets it.
        large, small: least and largest share of the area that a large and a small crop keep.
        copies: small crops.
        size: of the small crops in pixels; default: that of the images.
        large_size: of the large ones; default: that of the images.

    Example:
        >>> views = multi_crop_views(224, large=(0.4, 1.0), small=(0.05, 0.4), copies=8, size=96)
        >>> [(view.copies, view.size) for view in views]
        [(1, None), (1, None), (8, 96)]
    """
    views = [
        augmented_view(image_size, blur=1.0, crop_scale=large, size=large_size),
        augmented_view(image_size, blur=0.1, crop_scale=large, size=large_size, solarize=0.2),
    ]
    if copies:
        views.append(augmented_view(image_size, blur=0.5, crop_scale=small, size=size, copies=copies))
    return tuple(views)


def small_view_size(image_size: int | None) -> int | None:
    """Return the side of DINO's small views that a vision transformer cuts into whole patches: 96 pixels at 224.

    It is the share 96 / 224 of the image's, rounded down to a multiple of the patches that a default vision transformer
    has for such images: 16, 8 or 4 pixels.

    Args:
        image_size: side of the images in pixels; None where it is not known.

    Example:
        >>> [small_view_size(side) for side in (224, 96, 32, 16)]
        [96, 40, 12, 4]
    """
    if image_size is None:
        return None
    unit = next((size for size in PATCH_SIZES if image_size // size >= LEAST_GRID), PATCH_SIZES[-1])
    return max(unit, int(image_size * SMALL_SHARE / unit) * unit)
