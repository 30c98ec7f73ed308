"""scikit-learn's handwritten digits: the data set that is in every installation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ssl_registry.data.arrays.memory import Part, source_in_memory
from ssl_registry.data.images.decode import resize
from ssl_registry.data.options import DataOptions
from ssl_registry.data.source import Source
from ssl_registry.errors import DataError

__all__ = ["digits"]

TEST_SCANS = 497
IMAGE_SIZE = 16
LARGEST = 512  # all of them lie in memory: half a gigabyte
GRAY_LEVELS = 16  # the scans count ink from 0 to 16 in each of 8 x 8 cells


def digits(spec: str, options: DataOptions) -> Source:
    """Open the 1,797 grey scans of the digits 0 to 9: 1,300 to train on, 497 held out.

    The parts are stratified and the same in every run, so that numbers compare between runs.
    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test part), as
    `sklearn.datasets.load_digits` has it.

    Args:
        spec: has no meaning here.
        options: ``image_size`` is the side to which the 8 x 8 scans are resized, once, without antialiasing.

    Raises:
        DataError: for sides of more than 512 pixels.

    Example:
        >>> digits("digits", DataOptions()).classes
        ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if options.image_size is not None and options.image_size > LARGEST:
        raise DataError(f"digits are scans of 8 x 8 pixels; image_size={options.image_size} is more than {LARGEST}")
    scans = load_digits()
    grayscale = torch.from_numpy((scans.images[:, None] * (255 / GRAY_LEVELS)).round().astype(np.uint8))
    images = resize(grayscale, options.image_size or IMAGE_SIZE, antialias=False).numpy()
    x, x_test, y, y_test = train_test_split(
        images, scans.target, test_size=TEST_SCANS, stratify=scans.target, random_state=0
    )
    parts = Part(x, y, "digits", "digits"), Part(x_test, y_test, "digits", "digits")
    source = source_in_memory("digits", *parts, options=DataOptions())
    return replace(source, forbids=("flip",))  # mirrored, a digit becomes another sign
