"""The host engine agrees with torchvision and with the device engine, sample by sample."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torchvision.transforms.v2 import functional as reference

from ssl_registry.errors import ConfigError
from ssl_registry.views import ImageView, SignalView, ViewPolicy, sample_keys
from ssl_registry.views.device.blur import kernel_size
from ssl_registry.views.host import image as host_image
from ssl_registry.views.host.draw import HostViews
from ssl_registry.views.host.image import cut
from ssl_registry.views.parameters import draw_image_parameters

FULL = ImageView(
    crop_scale=(0.08, 1.0), flip=0.5, color_jitter=0.8, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2,
    grayscale=0.2,
    blur=0.5, solarize=0.2,
)  # fmt: skip
MOVING = FULL.model_copy(update={"rotation": 20.0, "translation": 0.1, "zoom": (0.9, 1.1), "noise": 0.05})


@pytest.fixture(scope="module")
def photos():
    """Twelve photographs of 96 x 96 pixels."""
    (image, _) = load_sample_images().images
    return np.stack([image[top : top + 96, left : left + 96] for top in (0, 150, 300) for left in (0, 150, 300, 450)])


def as_batch(views):
    return torch.from_numpy(views).permute(0, 3, 1, 2)


@pytest.mark.parametrize("fast", [True, False], ids=["OpenCV", "torch"])
@pytest.mark.parametrize("view", [FULL, MOVING, ImageView(), ImageView(blur=1.0, solarize=1.0)])
@pytest.mark.parametrize("channels", [3, 1, 5])
def test_host_equals_device(photos, view, fast, channels, monkeypatch):
    """For the same keys all engines give the same views, within one grey level, whatever they share."""
    if not fast:
        monkeypatch.setattr(host_image, "cv2", None)
    photos = np.concatenate([photos, photos[..., ::-1]], 3)[..., :channels]
    view_policy = ViewPolicy(views=(view, view.model_copy(update={"size": 32, "copies": 2})), image_size=48)
    keys = sample_keys(5, 1, range(len(photos)))
    host, cropped = HostViews(view_policy).draw(photos, keys), HostViews(view_policy, finish=False).draw(photos, keys)
    device = view_policy.draw(as_batch(np.ascontiguousarray(photos)), keys=keys)
    split = view_policy.finish([as_batch(views) for views in cropped], keys)
    for ours, *theirs in zip(host, device, split, strict=True):
        assert ours.dtype == np.uint8
        for other in theirs:
            difference = (as_batch(ours).float() - 255 * other).abs()
            assert difference.max() <= 1
            assert difference.mean() < 0.3  # rounding alone


def test_grey_photographs_stay_grey(photos):
    """What differs between engines is not that both do nothing: views differ from the photographs."""
    view_policy = ViewPolicy(views=(FULL,), image_size=96)
    (views,) = HostViews(view_policy).draw(photos, sample_keys(0, 0, range(12)))
    assert (np.abs(views.astype(int) - photos).reshape(12, -1).mean(1) > 1).all()


@pytest.mark.parametrize("box", [(3, 5, 60, 80), (0, 0, 20, 25), (10, 2, 30, 70)])
@pytest.mark.parametrize("flip", [False, True])
def test_cut_is_torchvisions(photos, box, flip):
    """Enlarged, reduced or both: the antialiased resize of uint8, to the bit."""
    image = torch.from_numpy(photos[:1].copy()).permute(0, 3, 1, 2)
    expected = reference.resized_crop(image, *box, [48, 40], antialias=True)
    expected = reference.horizontal_flip(expected) if flip else expected
    ours = cut(np.ascontiguousarray(photos[0]), (48, 40), box, flip)
    assert torch.equal(as_batch(ours[None]), expected)
    exact = reference.resized_crop(image.float(), *box, [48, 40], antialias=True)
    exact = reference.horizontal_flip(exact) if flip else exact
    assert (exact - as_batch(ours[None])).abs().max() <= 1


def test_colour_is_torchvisions(photos):
    """All four steps in their drawn order, then grey, blur and solarisation, by torchvision in floating point."""
    certain = FULL.model_copy(update={"crop_scale": None, "flip": 0.0, "color_jitter": 1.0})
    keys = sample_keys(2, 0, range(len(photos)))
    (views,) = HostViews(ViewPolicy(views=(certain,))).draw(photos, keys)
    drawn = draw_image_parameters(certain, keys, 0, 96, 96)
    size = kernel_size(96)
    steps = (
        reference.adjust_brightness,
        reference.adjust_contrast,
        reference.adjust_saturation,
        reference.adjust_hue,
    )
    for row, photo in enumerate(photos):
        image = torch.from_numpy(photo.copy()).permute(2, 0, 1) / 255
        for number in drawn.order[row]:
            image = steps[number](image, float(drawn.factors[row, number]))
        if drawn.grayscale[row]:
            image = reference.rgb_to_grayscale(image, 3)
        if drawn.blurred[row]:
            image = reference.gaussian_blur(image, [size, size], [float(drawn.sigma[row])] * 2)
        if drawn.solarized[row]:
            image = reference.solarize(image, 0.5)
        assert (image * 255 - torch.from_numpy(views[row]).permute(2, 0, 1)).abs().max() <= 0.6


class Photo:
    """A photograph that is decoded at any size, and tells at which."""

    def __init__(self, photo):
        self.photo = photo
        self.height, self.width = photo.shape[:2]
        self.asked = []

    def decode(self, shrink):
        self.asked.append(shrink)
        image = torch.from_numpy(self.photo).permute(2, 0, 1)[None].float()
        size = [-(-self.height // shrink), -(-self.width // shrink)]
        return reference.resize(image, size, antialias=True).round()[0].permute(1, 2, 0).byte().numpy(), shrink


def test_a_photograph_is_decoded_once_and_no_larger_than_its_views_need(photos):
    """Boxes twice as large as their views allow for half the size; what comes out is the same to the eye."""
    photo = np.tile(photos[0], (4, 5, 1))  # 384 x 480
    view_policy = ViewPolicy(views=(ImageView(crop_scale=(0.5, 1.0), copies=2),), image_size=32)
    whole = HostViews(view_policy).draw(photo[None], sample_keys(0, 0, [3]))
    encoded = Photo(photo)
    reduced = HostViews(view_policy).draw_encoded(encoded, sample_keys(0, 0, [3]))
    assert encoded.asked == [4]
    for ours, theirs in zip(reduced, whole, strict=True):
        assert np.abs(ours.astype(int) - theirs[0]).mean() < 6
    small = Photo(photo)
    HostViews(view_policy.model_copy(update={"image_size": 200})).draw_encoded(small, sample_keys(0, 0, [3]))
    assert small.asked == [1]


def test_a_view_without_a_crop_is_the_centred_square(photos):
    """As the source gives it for evaluation."""
    photo = np.ascontiguousarray(photos[0][:, :60])
    (view,) = HostViews(ViewPolicy(views=(ImageView(),), image_size=60)).draw_encoded(
        Photo(photo), sample_keys(0, 0, [0])
    )
    assert np.array_equal(view, photo[18:78])


def test_it_travels_to_other_processes(photos):
    """Pickled and back, it draws the same."""
    host = HostViews(ViewPolicy(views=(FULL,), image_size=32))
    again = pickle.loads(pickle.dumps(host))
    keys = sample_keys(0, 0, range(2))
    assert np.array_equal(host.draw(photos[:2], keys)[0], again.draw(photos[:2], keys)[0])


def test_signals_are_not_for_it():
    """A recipe of another kind is refused when the engine is made."""
    with pytest.raises(ConfigError, match="'signal' cannot be drawn from images"):
        HostViews(ViewPolicy(views=(SignalView(jitter=0.1),)))
