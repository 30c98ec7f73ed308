"""What the images of a set have in common, told by a few of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from ssl_registry.data.decisions import Decisions
from ssl_registry.data.images.decode import GRAY_STATISTICS, RGB_STATISTICS, decode
from ssl_registry.data.images.pixels import Pixels, pixels_of, read_array, shorter_side
from ssl_registry.data.images.why_broken import why_broken
from ssl_registry.data.options import DataOptions
from ssl_registry.data.statistics import Statistics, channel_statistics
from ssl_registry.errors import ConfigError, DataError, MissingExtraError

__all__ = ["probe"]

PROBES = 16  # images that tell channels and depth
MEASURED = 64  # images whose mean and std stand for the set's, where no published ones do
MEASURED_SIZE = 64


def probe(
    read: Callable[[int], bytes], count: int, where: str, options: DataOptions, told: Decisions
) -> tuple[Pixels, Statistics]:
    """Look at a few images, from all over a set.

    Args:
        read: gives the bytes of an image by its number.
        count: how many there are.
        where: for the message.
        options: ``value_range`` is the user's.
        told: takes the range of 16-bit images, and that images are enlarged.

    Returns:
        The greatest number of channels among them, 16-bit if all of them are, and their range of values; and mean and
        std by channel of images in [0, 1]: ImageNet's for grey and RGB of 8 bits, measured for everything else.

    Raises:
        DataError: if no image of the set can be read.
        ConfigError: for a range of values of 8-bit images.
        MissingExtraError: if reading one needs a library that is not installed.
    """
    # The first that can be read decide; broken ones at the front are passed over.
    every = max(1, count // PROBES)
    found: list[Pixels] = []
    sides: list[int] = []
    why = ""
    for index in [*range(0, count, every), *range(count)]:
        if len(found) == min(PROBES, count):
            break
        data: bytes | None = None
        try:
            data = read(index)
            side = shorter_side(data)
            found.append(pixels_of(data))
            sides.append(side)
        except MissingExtraError:
            raise
        except Exception as error:  # the readers raise nearly anything for a broken file; another one decides
            why = why or why_broken(error, data)
    if not found:
        raise DataError(f"none of the {count} image files in {where} can be read; are they images? The first: {why}")
    if max(sides) < options.file_size:
        told.more.append(f"images of {max(sides)} pixels and fewer, enlarged to {options.file_size} (--image-size)")
    pixels = Pixels(max(one.channels for one in found), min(one.depth for one in found))
    if pixels.depth == 16:
        pixels = replace(pixels, value_range=options.value_range or _bits(read, count, told))
    elif options.value_range is not None:
        raise ConfigError(
            f"--data.range is for images of 16 bits and floats; those of {where} have 8 bits, leave it out"
        )
    if pixels.usual:
        return pixels, RGB_STATISTICS if pixels.channels == 3 else GRAY_STATISTICS
    return pixels, channel_statistics(
        torch.stack(_small(read, count, pixels, where)), scale=255.0 if pixels.depth == 8 else 1.0
    )


def _bits(read: Callable[[int], bytes], count: int, told: Decisions) -> tuple[float, float] | None:
    """Return the range of whole numbers of fewer bits than 16, which microscopes and scanners store in files of 16."""
    most = 0
    for index in np.linspace(0, count - 1, min(count, MEASURED)).astype(int).tolist():
        try:
            array = read_array(read(index))
        except Exception:  # a broken file tells nothing
            continue
        if array.dtype.kind not in "ui" or array.min() < 0:
            return None  # floats reach from 0 to 1
        if array.dtype != np.uint8:
            most = max(most, int(array.max()))
    bits = max(8, most.bit_length())
    if bits > 15:
        return None
    told.more.append(
        f"values up to {most:,} of 65,535: read as {bits} bits, 0 to {2**bits - 1:,} (--data.range 0,65535 for 16 bits)"
    )
    return 0.0, 2.0**bits - 1


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
