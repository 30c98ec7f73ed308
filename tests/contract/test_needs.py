"""What a method needs of samples and backbone: checked when it is registered, and before anything is built."""

from __future__ import annotations

import subprocess
import sys

import pytest
from timm.models import VisionTransformer
from torch import nn

from ssl_registry import MethodConfig, Needs, Registry, hookimpl
from ssl_registry.contract.needs import modality_of, needs_of
from ssl_registry.errors import BackboneError, ConfigError, ContractError
from ssl_registry.model.encoders import ENCODERS
from ssl_registry.nn import SignalEncoder, Tokens


class Method:
    """A method that does as little as it may."""

    class Config(MethodConfig):
        """No options."""

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim):
        return {"head": nn.Linear(feature_dim, 2)}

    @hookimpl
    def compute_loss(self, model, views):
        return model.heads["head"](model(views[0])).square().mean()


def registered(**needs):
    registry = Registry(entry_points=False)
    registry.register("needy", type("Needy", (Method,), {"needs": Needs(**needs)}))
    return registry


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"modalities": "image"}, "modalities='image' must be a tuple"),
        ({"modalities": ()}, "with at least one"),
        ({"modalities": ("images",)}, "'images'. Did you mean 'image'"),
        ({"tokens": 1}, "tokens=1 must be True or False"),
        ({"tokens": "drop"}, "tokens='drop' must be True or False, or 'keep' or 'mask'"),
        ({"backbone": nn.Identity}, "must be the name of a backbone"),
        ({"backbone": "resnet18", "backbone_kwargs": [1]}, "must be a dict"),
        ({"backbone": "resnet18", "backbone_kwargs": {"act_layer": nn.GELU}}, "plain values"),
        ({"backbone_kwargs": {"drop_path_rate": 0.1}}, "name it"),
    ],
)
def test_wrong_values_are_told_at_registration(values, match):
    """Each value of a wrong kind is named, before anyone uses the method."""
    with pytest.raises(ContractError, match=match):
        registered(**values)


def test_needs_of_another_type():
    """A dict in its place is answered with the line to write."""
    with pytest.raises(ContractError, match=r"write needs = Needs\("):
        Registry(entry_points=False).register("x", type("X", (Method,), {"needs": {"tokens": True}}))


def test_a_method_without_needs_takes_everything():
    """The defaults are those of a method that says nothing."""
    assert needs_of(Method) == Needs()
    assert needs_of(Method(None)).modalities == ("image", "signal", "table")


@pytest.mark.parametrize(
    ("modality", "told", "expected"),
    [
        ("image", (None, None), ("vit_tiny_patch16_224", {"drop_path_rate": 0.1})),
        ("image", ("vit_tiny_patch16_224", None), ("vit_tiny_patch16_224", {"drop_path_rate": 0.1})),
        ("image", ("vit_tiny_patch16_224", {}), ("vit_tiny_patch16_224", {})),
        ("image", ("resnet18", None), ("resnet18", {})),
        ("signal", (None, None), ("signal_encoder", {})),
    ],
)
def test_default_backbone(modality, told, expected):
    """It is for the first modality, with its arguments unless the user gives some; others get the core's."""
    needs = Needs(("image", "signal"), backbone="vit_tiny_patch16_224", backbone_kwargs={"drop_path_rate": 0.1})
    assert needs.choose_backbone(modality, *told) == expected


@pytest.mark.parametrize(
    ("shape", "patch"),
    [
        ((3, 224, 224), None),
        ((3, 128, 128), None),
        ((3, 96, 96), 8),
        ((1, 64, 256), 8),
        ((3, 32, 32), 4),
        ((1, 28, 28), 4),
        ((1, 16, 16), 4),
        ((3, 30, 30), None),  # nothing fits: the error about the image's size is timm's
        (None, None),
    ],
)
def test_small_images_get_small_patches(shape, patch):
    """Where neither names a backbone, or the method names a vision transformer; what was asked for is left alone."""
    size = {} if patch is None else {"patch_size": patch}
    for backbone in (None, "vit_tiny_patch16_224"):
        needs = Needs(("image",), tokens=True, backbone=backbone)
        name = backbone or "vit_small_patch16_224"
        assert needs.choose_backbone("image", None, None, input_shape=shape) == (name, size)
        assert needs.choose_backbone("image", name, None, input_shape=shape) == (name, {})
        assert needs.choose_backbone("image", None, {}, input_shape=shape) == (name, {})
    own = Needs(("image",), tokens=True, backbone="vit_tiny_patch16_224", backbone_kwargs={"patch_size": 2})
    assert own.choose_backbone("image", None, None, input_shape=shape)[1] == {"patch_size": 2}
    assert Needs().choose_backbone("image", None, None, input_shape=shape) == ("resnet18", {})


@pytest.mark.parametrize(("length", "patch"), [(128, 8), (125, 5), (48, 6), (16, 2), (10, 2), (151, 1)])
def test_signals_get_patches_that_divide_them(length, patch):
    """Of 8 moments at most and seven of them at least, where there are such; of a prime length each moment."""
    needs = Needs(tokens="keep")
    for backbone in (None, "signal_transformer"):
        name, kwargs = needs.choose_backbone("signal", backbone, None, input_shape=(9, length))
        assert (name, kwargs) == ("signal_transformer", {})
        assert ENCODERS.own[name]((9, length)).patch_size == patch
    assert needs.choose_backbone("table", None, None, input_shape=(length,)) == ("table_transformer", {})


def test_create_gives_small_images_small_patches():
    """By their size or their shape; the record has it, so that reopening builds the same."""
    for arguments in ({"image_size": 32}, {"input_shape": (3, 32, 32)}):
        model = registered(tokens=True).create("needy", **arguments)
        assert (model.backbone_record.name, model.backbone_record.kwargs) == (
            "vit_small_patch16_224",
            {"patch_size": 4},
        )
        assert model.token_grid == (8, 8)


@pytest.mark.parametrize("hiding", ["keep", "mask"])
def test_backbones_that_cannot_hide_patches_are_refused(hiding):
    """At creation, in words that name what works; those that have tokens alone suit a method that hides none."""
    registry, anyone = registered(tokens=hiding), registered(tokens=True)
    registry.create("needy", backbone="vit_tiny_patch16_224", image_size=32)
    hybrid = {"backbone": "vit_tiny_r_s16_p8_224", "image_size": 64}
    steps = {"backbone": "signal_encoder", "input_shape": (2, 64)}
    for other in (hybrid, steps, {"backbone": "resnet10t", "image_size": 64}):
        with pytest.raises(BackboneError, match="vit_small_patch16_224"):
            registry.create("needy", **other)
    anyone.create("needy", **hybrid)
    anyone.create("needy", backbone="signal_encoder", input_shape=(2, 64))


@pytest.mark.parametrize(
    ("shape", "expected"), [((2, 64), "SignalTransformer"), ((7,), "TableTransformer"), (None, "VisionTransformer")]
)
@pytest.mark.parametrize("hiding", ["keep", "mask", True])
def test_methods_on_tokens_get_a_transformer(hiding, shape, expected):
    """Of every modality one whose tokens can be hidden."""
    model = registered(tokens=hiding).create("needy", input_shape=shape)
    assert type(model.backbone).__name__ == expected


@pytest.mark.parametrize(("shape", "expected"), [(None, "ResNet"), ((2, 40), "SignalEncoder"), ((7,), "TableEncoder")])
def test_create_without_a_backbone(shape, expected):
    """The samples' shape decides where neither user nor method does."""
    model = registered().create("needy", input_shape=shape)
    assert type(model.backbone).__name__ == expected


def test_create_takes_what_the_method_needs():
    """The named backbone is built with its arguments, and the record holds both, so that reopening builds the same."""
    registry = registered(backbone="vit_tiny_patch16_224", backbone_kwargs={"depth": 1})
    record = registry.create("needy", image_size=32).backbone_record
    assert (record.name, record.kwargs) == ("vit_tiny_patch16_224", {"depth": 1})


def test_another_modality_is_refused_before_anything_is_built():
    """The message names what the method takes."""
    with pytest.raises(ConfigError, match=r"needy does not take tables; it takes images: input_shape=\(channels, heig"):
        registered(modalities=("image",)).create("needy", backbone="no such", input_shape=(5,))


def test_a_backbone_without_tokens_is_refused():
    """The message names backbones that have them."""
    with pytest.raises(BackboneError, match="resnet18 does not have; use a vision transformer, such as backbone='vit_"):
        registered(tokens=True).create("needy", backbone="resnet18")


def test_a_single_patch_is_refused():
    """A grid of one has nothing to mask or to predict from; the message says what to change."""
    with pytest.raises(BackboneError, match=r"3 x 16 x 16 are a single patch of vit_.*larger --image-size"):
        registered(tokens=True).create("needy", image_size=16, backbone_kwargs={"depth": 1})


def test_a_method_on_tokens_gets_a_transformer_by_default():
    """Also where its author named none."""
    model = registered(tokens=True).create("needy", image_size=32, backbone_kwargs={"depth": 1})
    assert isinstance(model.backbone, VisionTransformer)


class OwnTokens(nn.Module):
    """A network with tokens of the user's making."""

    def forward(self, x):
        return x

    def tokens(self, x, keep=None, mask=None, mask_token=None, layers=()):
        return Tokens(x[:, None, :0], x[:, None], (1,))


@pytest.mark.parametrize(("backbone", "shape"), [(SignalEncoder(2), (2, 40)), (OwnTokens(), (7,))])
def test_other_backbones_with_tokens(backbone, shape):
    """The steps of a signal, and a module with a method of that name."""
    registered(tokens=True).create("needy", backbone=backbone, input_shape=shape)


def test_a_shape_that_none_has_is_left_to_the_backbone():
    """It is told there, in its own words."""
    assert modality_of((1, 2, 3, 4)) == "image"
    with pytest.raises(BackboneError, match="is not a sample's shape"):
        registered().create("needy", input_shape=(1, 2, 3, 4))


def test_reading_needs_imports_no_torch():
    """`list` and `show` answer at once."""
    code = (
        "import sys, ssl_registry; ssl_registry.Needs; from ssl_registry.contract import validation;"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr
