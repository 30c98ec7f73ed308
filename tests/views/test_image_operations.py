"""Each operation on a batch equals torchvision's on each image, for the same parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from ssl_registry.views import ImageView
from ssl_registry.views.device.blur import gaussian_blur, kernel_size
from ssl_registry.views.device.color import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    grayscale,
    solarize,
)
from ssl_registry.views.device.geometry import affine, crop_resize, resize
from ssl_registry.views.keys import sample_keys
from ssl_registry.views.parameters import draw_image_parameters

BATCH = 6

properties = settings(deadline=None, derandomize=True, max_examples=40)


def images(channels=3, height=20, width=24, seed=0):
    x = torch.rand(BATCH, channels, height, width, generator=torch.Generator().manual_seed(seed))
    x[0] = 0.5  # grey has no hue
    x[1, :, :5] = 0.0
    x[2, :, :5] = 1.0
    return x


def each(function, x, *parameters):
    return torch.stack([function(x[i], *(p[i].item() for p in parameters)) for i in range(len(x))])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (adjust_brightness, reference.adjust_brightness),
        (adjust_contrast, reference.adjust_contrast),
        (adjust_saturation, reference.adjust_saturation),
    ],
)
@properties
@given(factors=st.lists(st.floats(0, 3), min_size=BATCH, max_size=BATCH), channels=st.sampled_from([1, 3]))
def test_brightness_contrast_and_saturation(ours, theirs, factors, channels):
    """Blending and clamping are torchvision's, within float32's rounding."""
    if channels == 1 and ours is adjust_saturation:
        channels = 3
    x, factor = images(channels), torch.tensor(factors)
    torch.testing.assert_close(ours(x, factor), each(theirs, x, factor), atol=1e-6, rtol=0)


@properties
@given(factors=st.lists(st.floats(-0.5, 0.5), min_size=BATCH, max_size=BATCH))
def test_hue(factors):
    """Turning the hue goes through HSV as torchvision does; grey stays grey."""
    x, factor = images(), torch.tensor(factors)
    torch.testing.assert_close(adjust_hue(x, factor), each(reference.adjust_hue, x, factor), atol=1e-5, rtol=0)


def test_grey_and_solarize():
    """Luma's weights and the threshold are torchvision's."""
    x = images()
    torch.testing.assert_close(grayscale(x), reference.rgb_to_grayscale(x), atol=1e-6, rtol=0)
    torch.testing.assert_close(solarize(x, 0.5), reference.solarize(x, 0.5))


@properties
@given(
    sigmas=st.lists(st.floats(0.1, 4), min_size=BATCH, max_size=BATCH),
    size=st.sampled_from([3, 5, 9]),
    channels=st.sampled_from([1, 3, 5]),
)
def test_blur(sigmas, size, channels):
    """Each image has its own width; borders are reflected."""
    x, sigma = images(channels), torch.tensor(sigmas)
    expected = each(lambda image, s: reference.gaussian_blur(image, [size, size], [s, s]), x, sigma)
    torch.testing.assert_close(gaussian_blur(x, sigma, size), expected, atol=1e-5, rtol=0)


def test_blur_of_tiny_images():
    """An image smaller than the kernel is blurred by what fits."""
    x = torch.rand(2, 3, 2, 2)
    assert gaussian_blur(x, torch.ones(2), 9).shape == x.shape
    assert kernel_size(4) == 3


@properties
@given(seed=st.integers(0, 1000), size=st.tuples(st.integers(1, 40), st.integers(2, 40)), data=st.data())
def test_crop_and_resize(seed, size, data):
    """Any box to any size, up and down, antialiased, with and without a flip."""
    x = images(seed=seed)
    view = ImageView(crop_scale=(0.01, 1.0), crop_ratio=(0.5, 2.0))
    boxes = torch.from_numpy(draw_image_parameters(view, sample_keys(seed, 0, range(BATCH)), 0, 20, 24).boxes)
    flip = torch.tensor(data.draw(st.lists(st.booleans(), min_size=BATCH, max_size=BATCH)))
    expected = torch.stack(
        [
            reference.resized_crop(image, *box.tolist(), list(size), antialias=True)
            for image, box in zip(x, boxes, strict=True)
        ]
    )
    expected = torch.where(flip[:, None, None, None], expected.flip(3), expected)
    torch.testing.assert_close(crop_resize(x, boxes, size, flip), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (60, 45, 20), (90, 70, 96)])
def test_crop_of_whole_grey_levels(height, width, size):
    """On uint8 images the batch's crop is torchvision's to the bit, although it is computed in float32."""
    x = torch.randint(0, 256, (8, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    drawn = draw_image_parameters(ImageView(crop_scale=(0.05, 1.0)), sample_keys(3, 0, range(8)), 0, height, width)
    expected = [
        reference.resized_crop(image[None].contiguous(memory_format=torch.channels_last), *box, [size, size])[0]
        for image, box in zip(x, drawn.boxes.tolist(), strict=True)
    ]
    ours = crop_resize(x.float(), torch.from_numpy(drawn.boxes), (size, size), whole=True)
    assert torch.equal(ours, torch.stack(expected).float())


def test_crop_to_a_single_column():
    """PIL is the reference here: torch 2.15's antialiased resize to a width of 1 repeats the first row."""
    image = torch.rand(1, 1, 13, 17)
    expected = Image.fromarray(image[0, 0].numpy()).resize((1, 2), Image.Resampling.BILINEAR)
    ours = crop_resize(image, torch.tensor([[0, 0, 13, 17]]), (2, 1))
    torch.testing.assert_close(ours[0, 0], torch.tensor(np.array(expected)), atol=1e-5, rtol=0)


def test_resize_whole_images():
    """Without a crop the whole image is resized the same way."""
    x = images()
    expected = reference.resize(x, [9, 11], antialias=True)
    torch.testing.assert_close(resize(x, (9, 11)), expected, atol=1e-5, rtol=0)
    assert resize(x, (20, 24)) is x


@properties
@given(
    degrees=st.lists(st.floats(-180, 180), min_size=BATCH, max_size=BATCH),
    zooms=st.lists(st.floats(0.5, 2), min_size=BATCH, max_size=BATCH),
    shift=st.integers(-5, 5),
)
def test_affine(degrees, zooms, shift):
    """Rotation, shift and zoom about the centre; torchvision counts angles clockwise."""
    x = images()
    moves = torch.tensor([[shift, -shift]] * BATCH, dtype=torch.float32)
    ours = affine(x, torch.tensor(degrees), moves, torch.tensor(zooms))
    expected = torch.stack(
        [
            reference.affine(
                image,
                angle=-angle,
                translate=[shift, -shift],
                scale=zoom,
                shear=[0.0, 0.0],
                interpolation=v2.InterpolationMode.BILINEAR,
            )
            for image, angle, zoom in zip(x, degrees, zooms, strict=True)
        ]
    )
    # Where a source point falls on the border to within rounding, one of the two takes it for outside.
    assert ((ours - expected).abs() < 1e-3).float().mean() > 0.99
