"""Photographs are decoded upright, as Pillow does it, at their size or at a fraction of it."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from ssl_registry.data.images import encoded_photo
from ssl_registry.data.images.decode import photograph
from ssl_registry.data.images.encoded_photo import EncodedPhoto
from ssl_registry.data.images.pixels import Pixels


def jpeg(mode="RGB", orientation=None, size=(120, 90)):
    image = Image.fromarray(load_sample_images().images[0]).resize(size).convert(mode)
    exif = Image.Exif()
    if orientation:
        exif[encoded_photo.ORIENTATION] = orientation
    file = BytesIO()
    image.save(file, "JPEG", quality=90, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_as_pillow_decodes_it(mode, channels, orientation):
    """Every orientation and colour space, within rounding; the size is known before."""
    data, pixels = jpeg(mode, orientation), Pixels(channels)
    encoded, expected = EncodedPhoto(data, pixels), photograph(data, pixels)
    assert (encoded.height, encoded.width) == expected.shape[:2]
    ours, shrink = encoded.decode(1)
    assert shrink == 1
    assert ours.shape == expected.shape
    # Colour to grey: the JPEG's own luma there, that of its rounded colours here.
    assert np.abs(ours.astype(int) - expected).max() <= (0 if mode != "RGB" or channels == 3 else 4)


@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 6])
def test_reduced(shrink, orientation):
    """A fraction of the size, rounded up, in the right direction."""
    encoded = EncodedPhoto(jpeg(orientation=orientation, size=(124, 90)), Pixels(3))
    ours, by = encoded.decode(shrink)
    assert by == shrink
    assert ours.shape[:2] == (-(-encoded.height // shrink), -(-encoded.width // shrink))


def test_without_simplejpeg(monkeypatch):
    """Pillow decodes, at full size."""
    monkeypatch.setattr(encoded_photo, "simplejpeg", None)
    data = jpeg()
    ours, by = EncodedPhoto(data, Pixels(3)).decode(8)
    assert by == 1
    assert np.array_equal(ours, photograph(data, Pixels(3)))


@pytest.mark.parametrize("data", [b"", b"no image", jpeg()[:40], jpeg()[:-400]])
def test_broken_ones_raise(data):
    """Whatever the readers raise, when it is opened or when it is decoded."""
    with pytest.raises(Exception, match=r"\w"):
        EncodedPhoto(data, Pixels(3)).decode(1)
