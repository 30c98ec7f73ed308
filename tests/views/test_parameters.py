"""Parameters are a function of the sample's key, and distributed as torchvision draws them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, ks_2samp, kstest
from torchvision.transforms import v2

from ssl_registry.views import ImageView, sample_keys
from ssl_registry.views.parameters import draw_image_parameters

VIEW = ImageView(
    crop_scale=(0.08, 1.0), flip=0.5, color_jitter=0.8, brightness=0.4, contrast=0.6, saturation=0.2, hue=0.1,
    grayscale=0.2,
    blur=0.5, solarize=0.3, rotation=10, translation=0.1, zoom=(0.8, 1.2), noise=0.1,
)  # fmt: skip
COUNT = 4000


def draw(view=VIEW, count=COUNT, number=0, height=40, width=60, seed=0, epoch=0):
    return draw_image_parameters(view, sample_keys(seed, epoch, range(count)), number, height, width)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_a_sample_keeps_its_parameters_in_any_batch():
    """Alone, in another order, again: the same; another seed, epoch, sample or view: others."""
    whole = draw(count=9)
    assert same(whole, draw(count=9))
    assert same(whole.part(slice(4, 5)), draw_image_parameters(VIEW, sample_keys(0, 0, [4]), 0, 40, 60))
    for other in (draw(count=9, seed=1), draw(count=9, epoch=1), draw(count=9, number=1)):
        assert not np.isclose(whole.factors, other.factors).any()


def test_a_step_that_is_switched_off_leaves_the_others_alone():
    """Every parameter has its own place in the sample's stream."""
    other = draw(VIEW.model_copy(update={"crop_scale": None, "color_jitter": 0.0, "rotation": 0.0, "zoom": None}))
    for name in ("flip", "factors", "order", "grayscale", "blurred", "sigma", "solarized", "noise"):
        assert np.array_equal(getattr(draw(), name), getattr(other, name)), name


def test_boxes_are_distributed_as_torchvisions():
    """Area, aspect ratio and place of 4,000 boxes pass a Kolmogorov-Smirnov test against RandomResizedCrop's."""
    top, left, height, width = draw().boxes.T
    torch.manual_seed(0)
    crop, image = v2.RandomResizedCrop(8, VIEW.crop_scale, VIEW.crop_ratio), torch.zeros(3, 40, 60)
    drawn = [crop.make_params([image]) for _ in range(COUNT)]
    their_top, their_left, their_height, their_width = (
        np.array([box[key] for box in drawn]) for key in ("top", "left", "height", "width")
    )
    for name, ours, theirs in (
        ("area", height * width, their_height * their_width),
        ("ratio", width / height, their_width / their_height),
        ("top", top, their_top),
        ("left", left, their_left),
    ):
        assert ks_2samp(ours, theirs).pvalue > 0.01, name


def test_factors_are_distributed_as_torchvisions():
    """ColorJitter draws each factor uniformly, and so do we."""
    torch.manual_seed(0)
    jitter = v2.ColorJitter(VIEW.brightness, VIEW.contrast, VIEW.saturation, VIEW.hue)
    theirs = [jitter.make_params([]) for _ in range(COUNT)]
    ours = draw().factors
    for number, key in enumerate(("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor")):
        assert ks_2samp(ours[:, number], [float(each[key]) for each in theirs]).pvalue > 0.01, key


def test_orders_are_equally_likely():
    """Each of the 24 orders of the four colour steps."""
    numbers = draw(count=24 * 400).order @ np.array([64, 16, 4, 1])
    _, counts = np.unique(numbers, return_counts=True)
    assert len(counts) == 24
    assert chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize(
    ("name", "probability"),
    [("flip", 0.5), ("jittered", 0.8), ("grayscale", 0.2), ("blurred", 0.5), ("solarized", 0.3)],
)
def test_probabilities(name, probability):
    """Each chance within four standard deviations of what was asked for."""
    share = getattr(draw(), name).mean()
    assert abs(share - probability) < 4 * (probability * (1 - probability) / COUNT) ** 0.5


def test_ranges():
    """Blur's width and the affine parameters are uniform over what was asked for."""
    drawn = draw()
    columns = [drawn.sigma, *drawn.affine.T]
    for column, (low, high) in zip(columns, [(0.1, 2.0), (-10, 10), (-0.1, 0.1), (-0.1, 0.1), (0.8, 1.2)], strict=True):
        assert kstest(column, "uniform", (low, high - low)).pvalue > 0.01


def test_parameters_are_independent():
    """No two of a view's numbers, nor the same number of two views or neighbours, are correlated."""
    one, two = draw(), draw(number=1)
    columns = [*one.factors.T, one.sigma, *one.affine.T, one.boxes[:, 1], *two.factors.T, two.sigma]
    columns += [np.roll(one.sigma, 1), np.roll(one.factors[:, 0], 1)]
    correlation = np.corrcoef(np.array(columns, np.float64)) - np.eye(len(columns))
    assert np.abs(correlation).max() < 5 / COUNT**0.5


@pytest.mark.parametrize(("height", "width"), [(5, 50), (50, 5), (1, 1), (30, 30)])
def test_boxes_lie_inside(height, width):
    """No box leaves the image, also where no attempt fits and the central one is taken."""
    view = ImageView(crop_scale=(0.5, 1.0))
    top, left, high, wide = draw(view, count=500, height=height, width=width).boxes.T
    assert (np.minimum(top, left) >= 0).all()
    assert (np.minimum(high, wide) >= 1).all()
    assert (top + high <= height).all()
    assert (left + wide <= width).all()
