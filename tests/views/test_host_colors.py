"""Each change of colors on the host is torchvision's: alone on uint8, in every order in floats, at extreme factors."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from ssl_registry.views import ImageView, ViewPolicy, sample_keys
from ssl_registry.views.device.blur import kernel_size
from ssl_registry.views.host import image as host_image
from ssl_registry.views.host.draw import HostViews
from ssl_registry.views.host.image import finish_on_host
from ssl_registry.views.host.plan import Planner
from ssl_registry.views.parameters import Ranges, draw_image_parameters

JITTER = ImageView(color_jitter=1.0, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.5)
SIDE = 40
ADJUST = (
    reference.adjust_brightness,
    reference.adjust_contrast,
    reference.adjust_saturation,
    reference.adjust_hue,
)
EXTREMES = ([0.0, 0.5, 1.0, 2.0, 1e-7], [0.0, 0.5, 1.0, 2.0, 1e-7], [0.0, 0.5, 1.0, 2.0], [-0.5, -0.1, 0.0, 0.3, 0.5])
STEPS = ("brightness", "contrast", "saturation", "hue")


@pytest.fixture(params=[True, False], ids=["one by one", "many at a time"])
def each_way(request, monkeypatch):
    """Both ways of the host engine: photograph by photograph, and many small ones in one call."""
    monkeypatch.setattr(host_image, "SMALL", 0 if request.param else SIDE * SIDE * 3)


def photos(count, channels=3, seed=0):
    """Noise, smooth colors, black, white, grey, and saturated ones; uint8 [count, SIDE, SIDE, channels]."""
    numbers = np.random.default_rng(seed)
    images = numbers.integers(0, 256, (count, SIDE, SIDE, channels), np.uint8)
    coarse = torch.from_numpy(numbers.random((count, channels, 4, 4)))
    smooth = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear").permute(0, 2, 3, 1)
    images[count // 2 :] = (255 * smooth[count // 2 :]).round().to(torch.uint8).numpy()
    images[:, :4], images[:, 4:8], images[:, 8:12] = 0, 255, 131
    images[:, 12:16] = np.array([255, 0, 80])[:channels]
    return images


def parameters(view, count, **changed):
    return replace(draw_image_parameters(view, sample_keys(1, 0, range(count)), 0, SIDE, SIDE), **changed)


def theirs(photo):
    return torch.from_numpy(photo.copy()).permute(2, 0, 1)


def difference(expected, photo):
    return float((expected.float() - theirs(photo)).abs().max())


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize(
    ("number", "channels"), [(0, 1), (0, 3), (1, 1), (1, 3), (2, 3), (3, 3)], ids=lambda each: str(each)
)
def test_a_step_is_within_one_grey_level_of_torchvisions_on_uint8(number, channels):
    """At random factors, at no change, at the greatest and at the least; and its floats, rounded.

    Its saturation of uint8 cuts fractions off twice, of the luma and of the blend, and so may lie two levels lower.
    """
    view = ImageView(color_jitter=1.0, **{STEPS[number]: 0.5 if number == 3 else 1.0})
    low, high = (-0.5, 0.5) if number == 3 else (0, 2)
    factors = np.zeros((24, 4), np.float32)
    factors[:, number] = np.random.default_rng(number).uniform(low, high, 24)
    factors[: len(EXTREMES[number]), number] = EXTREMES[number]
    images = photos(24, channels)
    finished = finish_on_host(images, view, parameters(view, 24, factors=factors))
    for image, ours, factor in zip(images, finished, factors[:, number], strict=True):
        assert difference(ADJUST[number](theirs(image), float(factor)), ours) <= (2 if number == 2 else 1)
        assert difference(255 * ADJUST[number](theirs(image) / 255, float(factor)), ours) <= 0.51


@pytest.mark.usefixtures("each_way")
def test_grey_blur_and_solarization_are_within_one_grey_level_of_torchvisions_on_uint8():
    """Blurs from the least width to one that is wider than the kernel."""
    images, size = photos(12), kernel_size(SIDE)
    grey = finish_on_host(images, view := ImageView(grayscale=1.0), parameters(view, 12))
    sigma = np.array([0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.3, 1.7, 2, 3, 5, 9], np.float32)
    blurred = finish_on_host(images, view := ImageView(blur=1.0), parameters(view, 12, sigma=sigma))
    inverted = finish_on_host(images, view := ImageView(solarize=1.0), parameters(view, 12))
    for row, image in enumerate(images):
        assert difference(reference.rgb_to_grayscale(theirs(image), 3), grey[row]) <= 1
        expected = reference.gaussian_blur(theirs(image), [size, size], [float(sigma[row])] * 2)
        assert difference(expected, blurred[row]) <= 1
        assert difference(reference.solarize(theirs(image), 128), inverted[row]) == 0


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize("seed", range(3))
def test_every_order_at_extreme_factors(seed):
    """All 24 orders with factors drawn from the extremes, then grey, blurred, inverted or not: rounded once."""
    orders = np.array(list(permutations(range(4))))
    numbers = np.random.default_rng(seed)
    factors = np.stack([numbers.choice(each, len(orders)) for each in EXTREMES], 1).astype(np.float32)
    view = JITTER.model_copy(update={"grayscale": 0.3, "blur": 0.4, "solarize": 0.4, "solarize_threshold": 0.3})
    drawn = parameters(view, len(orders), order=orders, factors=factors)
    images, size = photos(len(orders), seed=seed), kernel_size(SIDE)
    finished = finish_on_host(images, view, drawn)
    wrong = []
    for row, image in enumerate(images):
        expected = theirs(image) / 255
        for number in orders[row]:
            expected = ADJUST[number](expected, float(factors[row, number]))
        if drawn.grayscale[row]:
            expected = reference.rgb_to_grayscale(expected, 3)
        if drawn.blurred[row]:
            expected = reference.gaussian_blur(expected, [size, size], [float(drawn.sigma[row])] * 2)
        if drawn.solarized[row]:
            # What lies within rounding of the threshold may fall on either side of it.
            unclear = ((expected - 0.3).abs() < 1e-5).any(0, keepdim=True)
            expected = reference.solarize(expected, 0.3).where(~unclear, theirs(finished[row]) / 255)
        wrong.append(difference(255 * expected, finished[row]))
    assert max(wrong) <= 0.6, wrong


def test_parameters_planned_for_a_batch_are_those_of_each():
    """Views of different crops, moves and colors, and copies, of photographs of any size: the same numbers."""
    views = ViewPolicy(
        views=(
            JITTER.model_copy(update={"crop_scale": (0.1, 0.5), "flip": 0.5}),
            ImageView(rotation=20.0, blur=0.5, blur_sigma=(0.5, 3.0)),
            ImageView(crop_scale=(0.9, 1.0), crop_ratio=(0.9, 0.95), copies=2),
        )
    ).image_views()
    keys = sample_keys(3, 1, range(40))
    planner = Planner(Ranges(views), [None] * 4, keys)
    for row in range(40):
        height, width = [(30, 90), (90, 30), (64, 64), (333, 500)][row % 4]
        plan = planner.plan(row, height, width)
        for number, view in enumerate(views):
            alone = vars(draw_image_parameters(view, keys[row : row + 1], number, height, width))
            own = vars(plan.drawn.part(slice(number, number + 1)))
            for name in alone.keys() - {"boxes"}:
                assert alone[name] is None or np.array_equal(own[name], alone[name]), name
            if view.crop_scale:
                assert plan.boxes[number] == tuple(alone["boxes"][0].tolist())
            else:
                assert plan.boxes[number][2:] == (min(height, width),) * 2


def test_a_batch_and_its_photographs_alone_are_the_same(monkeypatch):
    """Whatever the size: what is drawn in one call for many is what is drawn for each."""
    images, keys = photos(6), sample_keys(0, 0, range(6))
    engine = HostViews(ViewPolicy(views=(JITTER.model_copy(update={"blur": 0.5, "grayscale": 0.5}),)))
    (together,) = engine.draw(images, keys)
    for row in range(6):
        assert np.array_equal(engine.draw(images[row : row + 1], keys[row : row + 1])[0][0], together[row])
