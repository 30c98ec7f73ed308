"""What the images of a set have in common, told by a few of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ssl_registry.data.images.decode import GRAY_STATISTICS, RGB_STATISTICS, decode
from ssl_registry.data.images.pixels import Pixels, pixels_of
from ssl_registry.data.statistics import Statistics, channel_statistics
from ssl_registry.errors import DataError, MissingExtraError

__all__ = ["probe"]

PROBES = 16  # images that tell channels and depth
MEASURED = 64  # images whose mean and std stand for the set's, where no published ones do
MEASURED_SIZE = 64


def probe(read: Callable[[int], bytes], count: int, where: str) -> tuple[Pixels, Statistics]:
    """Look at a few images, from all over a set.

    Args:
        read: gives the bytes of an image by its number.
        count: how many there are.
        where: for the message.

    Returns:
        The greatest number of channels among them, 16-bit if all of them are; and mean and std by channel of images
        in [0, 1]: ImageNet's for grey and RGB of 8 bits, measured for everything else.

    Raises:
        DataError: if no image of the set can be read.
        MissingExtraError: if reading one needs a library that is not installed.
    """
    # The first that can be read decide; broken ones at the front are passed over.
    every = max(1, count // PROBES)
    found: list[Pixels] = []
    for index in [*range(0, count, every), *range(count)]:
        if len(found) == min(PROBES, count):
            break
        try:
            found.append(pixels_of(read(index)))
        except MissingExtraError:
            raise
        except Exception:  # the readers raise nearly anything for a broken file; another one decides
            continue
    if not found:
        raise DataError(f"none of the {count} image files in {where} can be read; are they images?")
    pixels = Pixels(max(one.channels for one in found), min(one.depth for one in found))
    if pixels.usual:
        return pixels, RGB_STATISTICS if pixels.channels == 3 else GRAY_STATISTICS
    return pixels, channel_statistics(
        torch.stack(_small(read, count, pixels, where)), scale=255.0 if pixels.depth == 8 else 1.0
    )


def _small(read: Callable[[int], bytes], count: int, pixels: Pixels, where: str) -> list[torch.Tensor]:
    found, wrong = [], ""
    for index in np.linspace(0, count - 1, min(count, MEASURED)).astype(int).tolist():
        try:
            found.append(decode(read(index), size=MEASURED_SIZE, pixels=pixels))
        except Exception as error:  # as above
            wrong = wrong or " ".join(str(error).split())
    if not found:
        raise DataError(f"none of the images in {where} can be used: {wrong}")
    return found
