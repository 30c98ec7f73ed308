"""A recipe is a value, its drawing a function of the generator, and it fits every kind of sample."""

from __future__ import annotations

import pytest
import torch
import yaml
from pydantic import ValidationError

from ssl_registry.errors import ConfigError
from ssl_registry.views import ImageView, SignalView, TableView, ViewPolicy, sample_keys

EVERY_STEP = dict.fromkeys(set(SignalView.steps) - {"permutation"}, 0.2) | {"permutation": 3}
FULL = ImageView(
    crop_scale=(0.2, 1.0),
    flip=0.5,
    rotation=10,
    translation=0.1,
    zoom=(0.9, 1.1),
    color_jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    grayscale=0.2,
    blur=0.5,
    solarize=0.2,
    noise=0.01,
    copies=2,
)


def draw(view_policy, x, seed=0):
    return view_policy.draw(x, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("view", [FULL, SignalView(jitter=0.1), TableView(corruption=0.5), ImageView()])
def test_round_trip_through_json_and_yaml(view):
    """What is saved draws the same views."""
    view_policy = ViewPolicy(views=(view,), image_size=16, mean=(0.5,), std=(0.2,))
    assert ViewPolicy.model_validate_json(view_policy.model_dump_json()) == view_policy
    assert ViewPolicy.model_validate(yaml.safe_load(yaml.safe_dump(view_policy.model_dump(mode="json")))) == view_policy


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5},
        {"flip": float("nan")},
        {"flipp": 0.5},
        {"crop_scale": (0.5, 0.2)},
        {"crop_scale": (0.0, 1.0)},
        {"hue": 0.7},
        {"copies": 0},
        {"noise": -1},
        {"modality": "signal"},
    ],
)
def test_wrong_values_are_refused(wrong):
    """Ranges, order and names are checked when a view is described."""
    with pytest.raises(ValidationError):
        ImageView(**wrong)


def test_a_recipe_needs_a_view():
    """No views, no recipe."""
    with pytest.raises(ValidationError):
        ViewPolicy(views=())


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_draws_images_of_any_channels(channels, dtype):
    """As many float32 views as copies, of the recipe's size and in range, and the input is left alone."""
    x = torch.randint(0, 256, (5, channels, 20, 28), dtype=torch.uint8)
    x = x if dtype == torch.uint8 else x / 255
    before = x.clone()
    views = draw(ViewPolicy(views=(FULL,), image_size=12), x)
    assert [view.shape for view in views] == [(5, channels, 12, 12)] * 2
    assert all(view.dtype == torch.float32 and view.min() >= 0 and view.max() <= 1 for view in views)
    assert not torch.equal(views[0], views[1])
    assert torch.equal(x, before)


def test_uint8_and_float_give_the_same_views():
    """The type of the input does not matter, only its meaning; crops of uint8 are whole grey levels."""
    x = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    for ours, theirs in zip(draw(ViewPolicy(views=(FULL,)), x), draw(ViewPolicy(views=(FULL,)), x / 255), strict=True):
        assert (ours - theirs).abs().mean() < 1 / 255
        assert (ours - theirs).abs().max() < 8 / 255


def test_views_of_a_sample_do_not_depend_on_its_batch():
    """With keys, a sample alone has the views that it has among others."""
    x, keys = torch.rand(6, 3, 16, 16), sample_keys(1, 2, [9, 4, 7, 30, 31, 2])
    together = ViewPolicy(views=(FULL,)).draw(x, keys=keys)
    alone = ViewPolicy(views=(FULL,)).draw(x[3:4], keys=keys[3:4])
    for ours, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(ours[3:4], theirs, atol=1e-5, rtol=0)


def test_same_generator_same_views():
    """Views are a function of samples and generator, not of the global random numbers."""
    x, view_policy = torch.rand(5, 3, 16, 16), ViewPolicy(views=(FULL,))
    first = draw(view_policy, x)
    torch.rand(3)
    assert all(torch.equal(a, b) for a, b in zip(first, draw(view_policy, x), strict=True))
    assert not torch.equal(first[0], draw(view_policy, x, seed=1)[0])


def test_each_sample_has_its_own_parameters():
    """One image, many times in a batch, gives many views."""
    x = torch.rand(1, 3, 16, 16).expand(8, -1, -1, -1)
    (view,) = draw(ViewPolicy(views=(ImageView(crop_scale=(0.1, 0.5)),)), x)
    assert len({tuple(image.flatten().tolist()) for image in view}) == 8


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (ImageView(flip=1.0), lambda x: x.flip(3)),
        (ImageView(solarize=1.0), lambda x: torch.where(x >= 0.5, 1 - x, x)),
        (
            ImageView(grayscale=1.0),
            lambda x: (0.2989 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]).expand(-1, 3, -1, -1),
        ),
        (ImageView(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0)), lambda x: x),
    ],
)
def test_certain_steps(view, expected):
    """What has probability 1 happens to every image."""
    x = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(draw(ViewPolicy(views=(view,)), x)[0], expected(x), atol=1e-6, rtol=0)


def test_probability_is_honoured():
    """Half of 2,000 images are flipped, within five standard deviations."""
    x = torch.arange(2.0).view(1, 1, 1, 2).expand(2000, -1, -1, -1) / 2
    (view,) = draw(ViewPolicy(views=(ImageView(flip=0.5),)), x)
    assert abs((view[:, 0, 0, 0] > 0).float().mean() - 0.5) < 5 * 0.5 / 2000**0.5


def test_jitter_changes_the_order_of_its_steps():
    """With several steps on one image, their order differs from image to image: more results than one order gives."""
    x = torch.rand(1, 3, 4, 4).expand(64, -1, -1, -1)
    view = ImageView(color_jitter=1.0, brightness=1e-9, contrast=1e-9, saturation=1e-9, hue=0.0)
    assert torch.allclose(draw(ViewPolicy(views=(view,)), x)[0], x, atol=1e-5)
    strong = ImageView(color_jitter=1.0, brightness=0.8, contrast=0.8)
    assert len({tuple(image.flatten().tolist()) for image in draw(ViewPolicy(views=(strong,)), x)[0]}) == 64


def test_multi_crop():
    """Views of different size and number from one recipe."""
    large, small = (
        ImageView(size=16, crop_scale=(0.4, 1.0), copies=2),
        ImageView(size=8, crop_scale=(0.05, 0.4), copies=4),
    )
    views = draw(ViewPolicy(views=(large, small)), torch.rand(3, 3, 32, 32))
    assert [view.shape[-1] for view in views] == [16, 16, 8, 8, 8, 8]


def test_normalisation_comes_last():
    """Mean and deviation apply to the finished view, in `draw` and `prepare` alike."""
    x = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    view_policy = ViewPolicy(views=(ImageView(),), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    expected = (x / 255 - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    torch.testing.assert_close(view_policy.prepare(x), expected)
    torch.testing.assert_close(draw(view_policy, x)[0], expected)


def test_prepare_resizes():
    """Evaluation sees whole images at the recipe's size."""
    assert ViewPolicy.plain(image_size=8).prepare(torch.rand(2, 3, 20, 30)).shape == (2, 3, 8, 8)


def test_plain():
    """Plain is the sample itself, however often."""
    assert ViewPolicy.plain().is_plain
    assert ViewPolicy(views=(TableView(copies=3),)).is_plain
    assert not ViewPolicy(views=(FULL,)).is_plain
    x = torch.randn(4, 7)
    assert torch.equal(draw(ViewPolicy.plain(), x)[0], x)


@pytest.mark.parametrize(("shape", "modality"), [((9, 64), SignalView), ((14,), TableView)])
def test_adapts_to_signals_and_tables(shape, modality):
    """As many views as before, of the right kind; plain stays plain."""
    view_policy = ViewPolicy(views=(FULL, ImageView()), image_size=16).adapted(shape)
    assert [type(view) for view in view_policy.views] == [modality, modality]
    assert [view.is_plain for view in view_policy.views] == [False, True]
    x = torch.randn(6, *shape)
    views = draw(view_policy, x)
    assert [view.shape for view in views] == [x.shape] * 3
    assert torch.equal(views[2], x)
    assert not torch.equal(views[0], views[1])


def test_images_keep_their_recipe():
    """Nothing is adapted where nothing must be."""
    view_policy = ViewPolicy(views=(FULL,), image_size=16)
    assert view_policy.adapted((3, 16, 16)) is view_policy


def test_forbidden_steps_are_left_out():
    """Everything else stays, and what the views had is told; what they had not is not."""
    cropped = ImageView(crop_scale=(0.2, 1.0), size=6, flip=0.5, blur=0.1, copies=2)
    view_policy = ViewPolicy(views=(cropped, ImageView())).without(["flip", "noise"])
    assert view_policy.views == (cropped.model_copy(update={"flip": 0.0}), ImageView())
    assert view_policy.left_out == ("flip",)
    assert view_policy.notes((3, 8, 8)) == ["the source of the samples forbids flip: left out of the views"]


@pytest.mark.parametrize("kind", [ImageView, SignalView, TableView])
def test_steps_are_what_a_view_does(kind):
    """Each is a field that does nothing by default; how many, how large and how cropped are none."""
    assert set(kind.steps) < set(kind.model_fields)
    assert not any(kind().does(step) for step in kind.steps)
    assert not {"copies", "size", "crop_scale", "crop_ratio"} & set(kind.steps)


def test_wrong_kind_of_samples():
    """A signal's view for images is refused with both named."""
    with pytest.raises(ConfigError, match="kind 'signal' cannot be drawn from images"):
        ViewPolicy(views=(SignalView(jitter=0.1),)).draw(torch.rand(2, 3, 8, 8))


def test_notes_say_what_is_left_out():
    """Grey and many-channel images lose colour steps, and the recipe says so."""
    view_policy = ViewPolicy(views=(FULL,))
    assert view_policy.notes((3, 8, 8)) == []
    assert view_policy.notes((1, 8, 8)) == ["grey images: saturation, hue, grayscale left out of the views"]
    assert "brightness" in view_policy.notes((13, 8, 8))[0]


@pytest.mark.parametrize(
    ("view", "shape"),
    [
        (FULL, (3, 32, 32)),
        (ImageView(), (3, 32, 32)),
        (SignalView(**EVERY_STEP), (3, 32)),
        (TableView(corruption=0.5), (5,)),
    ],
)
def test_drawing_never_asks_the_device(view, shape):
    """On a device that holds no values at all: an accelerator would have to be waited for."""
    view_policy = ViewPolicy(views=(view,), image_size=16, mean=(0.5,), std=(0.2,))
    x = torch.zeros(4, *shape, device="meta", dtype=torch.uint8 if len(shape) == 3 else torch.float32)
    assert all(one.device.type == "meta" for one in draw(view_policy, x))


def test_normalising_under_inference_spoils_no_later_gradient():
    """What is kept on the device serves evaluation and training alike."""
    view_policy = ViewPolicy(views=(ImageView(),), mean=(0.123,), std=(0.321,))
    with torch.inference_mode():
        view_policy.prepare(torch.rand(1, 1, 4, 4))
    x = torch.rand(1, 1, 4, 4, requires_grad=True)
    view_policy.prepare(x).sum().backward()
    assert torch.allclose(x.grad, torch.full_like(x, 1 / 0.321))
