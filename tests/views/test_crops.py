"""Crops: where they lie is a function of keys, and signals can be told to overlap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_registry import Registry
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.views import ImageView, SignalView, ViewPolicy, sample_keys
from ssl_registry.views.crops import image_cut, signal_crops

STEPS = 50
KEYS = sample_keys(0, 0, range(64))


def crops(*views, overlap=None, batch_key=1, keys=KEYS, length=STEPS):
    found = signal_crops(views, keys, length, overlap=overlap, batch_key=batch_key)
    return [found[number] for number in sorted(found)]


def common(a, b):
    """Return how many steps two crops share, [B]."""
    return np.minimum(a[:, 1], b[:, 1]) - np.maximum(a[:, 0], b[:, 0])


def test_boxes_of_images_of_many_sizes_are_those_of_each():
    """One call over all heights and widths gives what a call for each gives."""
    view = ImageView(crop_scale=(0.05, 1.0), crop_ratio=(0.2, 5.0), flip=0.5)
    sizes = np.random.default_rng(0).integers(1, 90, (64, 2))
    together = image_cut(view, KEYS, 3, sizes)
    for row, (height, width) in enumerate(sizes.tolist()):
        alone = image_cut(view, KEYS[row : row + 1], 3, (height, width))
        assert together.box[row].tolist() == alone.box[0].tolist()
        assert together.flipped[row] == alone.flipped[0]


def test_an_image_without_a_crop():
    """All of it; of a photograph of its own size the centered square."""
    assert image_cut(ImageView(), KEYS[:1], 0, (30, 50)).box.tolist() == [[0, 0, 30, 50]]
    assert image_cut(ImageView(), KEYS[:2], 0, np.array([[30, 50], [9, 4]])).box.tolist() == [
        [0, 10, 30, 30],
        [2, 0, 4, 4],
    ]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    least=st.floats(0.01, 1),
    more=st.floats(0, 1),
    overlap=st.none() | st.floats(0, 1),
    stretch=st.tuples(*[st.booleans()] * 3),
    length=st.integers(1, 90),
    batch_key=st.integers(0, 2**63 - 1),
)
def test_crops_lie_inside_and_overlap(least, more, overlap, stretch, length, batch_key):
    """Whatever is asked for: inside of the signal, as long as told, and with as much in common with the first."""
    scale = (least, min(1.0, least + more))
    views = [SignalView(crop_scale=scale, stretch=each) for each in stretch]
    found = crops(*views, overlap=overlap, batch_key=batch_key, length=length)
    sizes = [crop[:, 1] - crop[:, 0] for crop in found]
    for crop, size in zip(found, sizes, strict=True):
        assert crop.min() >= 0
        assert crop.max() <= length
        assert (size >= max(1, round(scale[0] * length) - 1)).all()
        assert (size <= max(1, round(scale[1] * length) + 1)).all()
    alike = [number for number, each in enumerate(stretch) if not each]
    for number in alike:
        assert len(set(sizes[number])) == 1
    if overlap is not None:
        first = (alike or [0])[0]
        for number in range(3):
            least_common = np.maximum(1, np.ceil(overlap * np.minimum(sizes[first], sizes[number])))
            assert (common(found[first], found[number]) >= least_common).all()
        for number in alike:
            assert len(set(found[number][:, 0] - found[first][:, 0])) == 1


def test_stretched_crops_do_not_depend_on_the_batch():
    """They are a function of each sample's key."""
    view = SignalView(crop_scale=(0.2, 0.9))
    both = crops(view, view, overlap=0.3)
    for row in (0, 5, 63):
        alone = crops(view, view, overlap=0.3, batch_key=9, keys=KEYS[row : row + 1])
        assert [crop[row].tolist() for crop in both] == [crop[0].tolist() for crop in alone]
    assert len({tuple(crop) for crop in both[0].tolist()}) > 50


def test_whole_crops_are_alike_in_a_batch_and_others_in_the_next():
    """Lengths and how they lie come from the batch, the place of all of them from the sample."""
    view = SignalView(crop_scale=(0.2, 0.9), stretch=False)
    by_batch = set()
    for batch_key in range(20):
        first, second = crops(view, view, overlap=0.1, batch_key=batch_key)
        sizes = (first[0, 1] - first[0, 0], second[0, 1] - second[0, 0], second[0, 0] - first[0, 0])
        by_batch.add(tuple(map(int, sizes)))
        room = STEPS - (max(first[0, 1], second[0, 1]) - min(first[0, 0], second[0, 0])) + 1
        assert 1 <= len(set(first[:, 0])) <= room
    assert len(by_batch) > 15


def test_places_are_even():
    """Every place where a crop fits is as likely as any other."""
    keys = sample_keys(0, 0, range(20_000))
    (found,) = crops(SignalView(crop_scale=(0.8, 0.8)), keys=keys)
    counts = np.bincount(found[:, 0], minlength=11)
    assert len(counts) == 11
    assert abs(counts / len(keys) - 1 / 11).max() < 0.01


def test_a_whole_crop_is_a_piece_of_the_signal():
    """Nothing is resampled; views of one batch differ in length as told."""
    policy = ViewPolicy(
        views=(SignalView(crop_scale=(0.5, 0.5), stretch=False), SignalView(crop_scale=(0.8, 0.8), stretch=False))
    )
    x = torch.randn(64, 3, STEPS)
    views = policy.draw(x, keys=KEYS, batch_key=4)
    assert [view.shape for view in views] == [(64, 3, 25), (64, 3, 40)]
    for number, view in enumerate(views):
        box = policy.cut(number, KEYS, (STEPS,), batch_key=4).box
        for row in range(64):
            assert torch.equal(view[row], x[row, :, box[row, 0] : box[row, 1]])


def test_a_stretched_crop_has_the_length_of_the_signal():
    """A ramp stays one, between the values at the crop's ends; a crop of everything changes nothing."""
    ramp = torch.arange(STEPS).float().expand(64, 2, STEPS)
    policy = ViewPolicy(views=(SignalView(crop_scale=(0.5, 0.5)), SignalView(crop_scale=(1.0, 1.0))))
    half, whole = policy.draw(ramp, keys=KEYS)
    torch.testing.assert_close(whole, ramp)
    box = torch.from_numpy(policy.cut(0, KEYS, (STEPS,)).box)
    assert torch.equal(half[:, 0].amin(1), box[:, 0].float())
    assert torch.equal(half[:, 0].amax(1), box[:, 1].float() - 1)
    torch.testing.assert_close(half.diff(dim=2)[..., 1:-1], torch.full((64, 2, STEPS - 3), 0.5), rtol=0, atol=1e-5)


def test_a_crop_leaves_the_other_numbers_as_they_were():
    """Noise is drawn from streams of its own."""
    x = torch.zeros(64, 3, STEPS)
    plain, cut = SignalView(jitter=1.0), SignalView(jitter=1.0, crop_scale=(0.5, 1.0))
    noise = [ViewPolicy(views=(view,)).draw(x, keys=KEYS)[0] for view in (plain, cut)]
    torch.testing.assert_close(*noise)


@pytest.mark.parametrize("crop_scale", [(0.0, 0.5), (0.8, 0.5), (0.5, 1.2)])
def test_wrong_ranges(crop_scale):
    """As for images."""
    with pytest.raises(ValueError, match="crop_scale"):
        SignalView(crop_scale=crop_scale)


def test_unknown_view():
    """Counted from 0."""
    with pytest.raises(ConfigError, match="there is no view 2; this method draws 2"):
        ViewPolicy(views=(SignalView(copies=2),)).cut(2, KEYS, (STEPS,))


def test_the_policy_survives_text():
    """With what it says of crops."""
    policy = ViewPolicy(views=(SignalView(crop_scale=(0.2, 0.5), stretch=False, copies=2),), overlap=0.5)
    assert ViewPolicy.model_validate_json(policy.model_dump_json()) == policy
    assert policy.own_shapes((3, STEPS)) == {(3, 10)}


def test_a_backbone_is_tried_on_the_shortest_crop():
    """One that takes no other length than the signal's is refused when the model is built."""
    from tiny import Tiny

    registry = Registry(entry_points=False)
    registry.register("tiny", Tiny)
    policy = ViewPolicy(views=(SignalView(crop_scale=(0.2, 0.5), stretch=False),))
    backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * STEPS, 4))
    with pytest.raises(BackboneError, match="the method draws views of 10 steps, which this backbone does not take"):
        registry.create("tiny", backbone=backbone, input_shape=(3, STEPS), view_policy=policy)
    registry.create("tiny", backbone="signal_encoder", input_shape=(3, STEPS), view_policy=policy)
