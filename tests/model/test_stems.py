"""Which stem a ResNet has where nobody says: one rule for Python, the command line, weights and opened files."""

import pytest
import torch

from ssl_registry import registry
from ssl_registry.model.backbones import BackboneSpec, create_backbone
from ssl_registry.model.stems import has_small_stem
from ssl_registry.runs.opened import open_run
from ssl_registry.training.building import decide, read_options


def kernel(model):
    return model.backbone.conv1.kernel_size[0]


@pytest.mark.parametrize(
    ("backbone", "shape", "small"),
    [
        ("resnet18", (3, 32, 32), True),
        ("resnet18.a1_in1k", (3, 32, 32), True),
        ("wide_resnet50_2", (1, 28, 28), True),
        ("resnet18", (3, 33, 33), False),
        ("resnet18", (3, 32, 128), False),  # a strip has places left along its length
        ("resnet18d", (3, 32, 32), False),
        ("vit_tiny_patch16_224", (3, 32, 32), False),
        ("signal_encoder", (3, 32), False),
    ],
)
def test_rule(backbone, shape, small):
    """Plain ResNets of timm's, images of 32 pixels and fewer."""
    assert has_small_stem(backbone, shape) is small


def test_a_stem_of_another_kind_is_a_wish():
    """What the arguments of the network ask for is built, and is no error."""
    module = BackboneSpec("resnet18", image_size=32, kwargs={"stem_type": "deep"}).build().module
    assert isinstance(module.conv1, torch.nn.Sequential)


@pytest.mark.parametrize(("size", "small"), [(32, True), (64, False)])
def test_python_and_command_line_build_the_same(size, small, tmp_path):
    """`registry.create` has the stem that `train` decides on; the record and the file say which."""
    model = registry.create("simclr", backbone="resnet18", image_size=size, in_chans=1)
    asked, source = read_options({"data": "digits", "image_size": size}, owner="train")
    run, _ = decide("simclr", asked, source, {"accelerator": "cpu"}, registry=registry)
    assert (kernel(model) == 3) is run.low_resolution is model.backbone_record.low_resolution is small
    for given in (True, False):
        told = registry.create("simclr", backbone="resnet18", image_size=size, in_chans=1, low_resolution=given)
        assert (kernel(told) == 3) is given


@pytest.mark.parametrize("trained_with", [True, False])
def test_weights_keep_their_stem(trained_with, tmp_path):
    """Of a file from elsewhere and of a checkpoint, whatever the images' size."""
    first = create_backbone("resnet18", (3, 64, 64)).module
    if trained_with:
        first = BackboneSpec("resnet18", input_shape=(3, 64, 64), low_resolution=True).build().module
    file = tmp_path / "weights.pth"
    torch.save(first.state_dict(), file)
    for size in (32, 64):
        model = registry.create("simclr", backbone="resnet18", image_size=size, weights=file)
        assert (kernel(model) == 3) is trained_with
        assert torch.equal(model.backbone.conv1.weight, first.conv1.weight)
    assert (kernel(open_run(file, backbone="resnet18", image_size=32).model) == 3) is trained_with


def test_timms_weights_keep_their_stem():
    """A new first layer would throw away what was asked for."""
    asked, source = read_options({"data": "digits", "backbone": "resnet18", "pretrained": True}, owner="train")
    run, deciders = decide("simclr", asked, source, {"accelerator": "cpu"}, registry=registry)
    assert (run.low_resolution, deciders["low_resolution"]) == (False, "weights")


def test_files_of_the_time_before_the_rule_are_read():
    """A checkpoint of 32 pixels with timm's stem says so, and is built as it says."""
    model = registry.create("simclr", backbone="resnet18", image_size=32, low_resolution=False, projection_dim=8)
    record = model.backbone_record
    assert record.low_resolution is False
    built = BackboneSpec("resnet18", input_shape=record.input_shape, low_resolution=record.low_resolution).build()
    built.module.load_state_dict(model.backbone.state_dict())
