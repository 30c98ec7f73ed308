"""Any timm name or module becomes [batch, ...] -> [batch, feature_dim], with a measured width."""

from __future__ import annotations

import socket
from collections import OrderedDict

import pytest
import timm
import torch
import torchvision
from huggingface_hub import constants
from torch import nn

from ssl_registry.errors import BackboneError
from ssl_registry.model.backbones import BackboneSpec, FeaturePool, create_backbone, list_backbones


class Dense(nn.Module):
    """A dense backbone in a shape of the caller's choice."""

    def __init__(self, wrap, in_chans=3):
        super().__init__()
        self.conv = nn.Conv2d(in_chans, 7, 3, stride=2)
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(self.conv(x))


class Signal(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(2, 6, 3)

    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
@pytest.mark.parametrize("in_chans", [1, 3, 13])
def test_width_is_measured_at_the_real_shape(name, in_chans):
    """What is measured is what a forward gives, whatever the model says of itself."""
    built = BackboneSpec(name, image_size=64, in_chans=in_chans).build()
    assert built.input_shape == (in_chans, 64, 64)
    assert built.module.eval()(torch.zeros(3, in_chans, 64, 64)).shape == (3, built.feature_dim)


def test_width_that_num_features_gets_wrong():
    """MobileNetV3's head widens its features behind num_features."""
    built = BackboneSpec("mobilenetv3_small_050", image_size=64).build()
    assert built.feature_dim != built.module.num_features


def test_default_size_is_what_the_model_was_made_for():
    """Without image_size a name tells its own."""
    assert BackboneSpec("resnet18").build().input_shape == (3, 224, 224)


def test_backbone_of_a_name_is_a_plain_timm_module():
    """Nothing is wrapped around a model that already pools."""
    module = BackboneSpec("resnet18", image_size=32).build().module
    assert type(module) is type(timm.create_model("resnet18"))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda out: out,
        lambda out: OrderedDict(aux=out[:, :2], out=out),
        lambda out: OrderedDict(first=out[:, :2], last=out),
        lambda out: (out[:, :2], out),
        lambda out: [OrderedDict(out=(out,))],
    ],
)
def test_dense_outputs_are_pooled(wrap):
    """4-D outputs, mappings, tuples and nests of them become vectors of channel means."""
    dense = Dense(wrap)
    built = BackboneSpec(dense, image_size=9).build()
    assert built.feature_dim == 7
    x = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(built.module(x), dense.conv(x).mean((2, 3)))


def test_pooling_can_keep_positions():
    """pooling=flatten keeps every position of a feature map."""
    assert BackboneSpec(Dense(lambda out: out), image_size=9, pooling="flatten").build().feature_dim == 7 * 16


def test_signal_output_is_pooled_over_time():
    """[B, C, T] of a 1-D network is channels first."""
    assert BackboneSpec(Signal(), input_shape=(2, 20)).build().feature_dim == 6


def test_tokens_of_an_image_backbone_are_pooled_over_tokens():
    """[B, N, C] of a transformer is channels last."""
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, global_pool="", img_size=32)
    assert BackboneSpec(vit, image_size=32).build().feature_dim == 192


def test_encoders_of_the_core():
    """Signals and tables have an encoder by name."""
    assert BackboneSpec("signal_encoder", input_shape=(9, 128)).build().feature_dim == 2304
    assert BackboneSpec("table_encoder", input_shape=(14,)).build().feature_dim == 256


def test_measuring_leaves_no_trace():
    """Modes, BatchNorm statistics and the global random numbers are as before."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten())
    net[2].eval()
    state = torch.get_rng_state()
    BackboneSpec(net, image_size=8).build()
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in net] == [True, True, False, True]
    assert net[1].num_batches_tracked == 0


def test_low_resolution_stem():
    """A ResNet keeps the resolution of small images up to its second stage."""
    module = BackboneSpec("resnet18", image_size=32, low_resolution=True).build().module
    assert module.conv1.stride == (1, 1)
    assert module.layer1(module.maxpool(module.conv1(torch.zeros(1, 3, 32, 32)))).shape[-1] == 32


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ({"backbone": "resnet81"}, r"no backbone 'resnet81'\. Did you mean 'resnet"),
        ({"backbone": "resnet18", "pooling": "max"}, "'avg' or 'flatten'"),
        ({"backbone": "resnet18", "image_size": 0}, "image_size=0 must be a whole number"),
        ({"backbone": "resnet18", "in_chans": 3, "input_shape": (3, 8, 8)}, "not both"),
        ({"backbone": "resnet18", "input_shape": (9, 128)}, "signal_encoder"),
        ({"backbone": "resnet18", "input_shape": ()}, "not a sample's shape"),
        ({"backbone": "signal_encoder"}, r"\(channels, time\)"),
        ({"backbone": "vit_tiny_patch16_224", "low_resolution": True}, "patch_size"),
        ({"backbone": "resnet18", "kwargs": {"no_such": 1}}, "cannot be built"),
        ({"backbone": nn.Linear(4, 2)}, r"input_shape=\(features,\)"),
        ({"backbone": nn.Linear(4, 2), "input_shape": (5,)}, "does not take samples of shape"),
        ({"backbone": nn.Linear(4, 2), "input_shape": (4,), "pretrained": True}, "you gave a module"),
        ({"backbone": nn.Flatten(0), "input_shape": (4,)}, "first axis must be the batch"),
        ({"backbone": Dense(lambda out: 3), "image_size": 9}, "returns int"),
    ],
)
def test_mistakes_are_told(spec, match):
    """Each wrong argument is answered with what mends it."""
    with pytest.raises(BackboneError, match=match):
        BackboneSpec(**spec).build()


def test_pattern_lists_names():
    """The shell pattern selects among timm's names and the core's encoders."""
    assert "resnet50" in list_backbones("resnet*")
    assert list(list_backbones("*_encoder")) == ["signal_encoder", "table_encoder"]


def test_pool_is_part_of_the_state():
    """A wrapped module's weights keep its names under one prefix."""
    assert set(FeaturePool(nn.Linear(2, 2), channels_last=False).state_dict()) == {"module.weight", "module.bias"}


def test_classifier_is_told(caplog):
    """Its outputs become the features, in words that say how to get those before it."""
    net = torchvision.models.resnet18()
    assert BackboneSpec(net, image_size=32).build().feature_dim == 1000
    assert "ends in a classifier, fc, whose 1000 outputs become the features" in caplog.text
    assert "backbone.fc = torch.nn.Identity()" in caplog.text
    caplog.clear()
    net.fc = torch.nn.Identity()
    assert BackboneSpec(net, image_size=32).build().feature_dim == 512
    assert not caplog.text
    BackboneSpec("resnet10t", image_size=32, kwargs={"num_classes": 7}).build()
    assert "backbone.reset_classifier(0)" in caplog.text


@pytest.mark.parametrize("key", ["pretrained_cfg", "pretrained_cfg_overlay"])
def test_file_of_weights_for_timm(key):
    """timm would load of it what fits, be it nothing: the message names the option that checks."""
    with pytest.raises(BackboneError, match=r"names a file of weights; give it as weights='a\.pth'"):
        BackboneSpec("resnet10t", image_size=32, pretrained=True, kwargs={key: {"file": "a.pth"}}).build()


def test_create_backbone_reads_weights_without_a_method(tmp_path):
    """A second backbone for a method's heads, with the weights of a file; its width is measured."""
    first = create_backbone("test_resnet", (1, 16, 16))
    torch.save({"state_dict": {f"teacher.{k}": v for k, v in first.module.state_dict().items()}}, tmp_path / "all.pt")
    again = create_backbone("test_resnet", (1, 16, 16), weights=tmp_path / "all.pt", weights_network="teacher")
    x = torch.rand(2, 1, 16, 16)
    assert (again.feature_dim, again.input_shape) == (96, (1, 16, 16))
    assert torch.equal(first.module.eval()(x), again.module.eval()(x))


@pytest.mark.parametrize("name", ["hf-hub:someone/network", "net.py:Net"])
def test_create_backbone_neither_fetches_nor_runs(name):
    """A method's options come from checkpoints too, and those from strangers."""
    with pytest.raises(BackboneError, match="would be fetched or run"):
        create_backbone(name, (3, 32, 32))


def test_create_backbone_takes_one_kind_of_weights():
    """Timm's or a file's."""
    with pytest.raises(BackboneError, match="not both"):
        create_backbone("test_resnet", (3, 32, 32), pretrained=True, weights="file.pt")


def test_weights_that_cannot_be_fetched(monkeypatch):
    """Without a network the Hub is not asked again and again, and the message says how the weights come here."""
    asked = []

    def nowhere(host, port, *args, **kwargs):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    for name in ("https_proxy", "http_proxy", "all_proxy", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", "/nonexistent")
    before = constants.HF_HUB_OFFLINE
    with pytest.raises(BackboneError, match=r"are not on this machine.*timm\.create_model\('resnet10t'"):
        create_backbone("resnet10t", (3, 32, 32), pretrained=True)
    assert len(asked) == 1
    assert before is constants.HF_HUB_OFFLINE


def test_residual_branches_begin_open():
    """A ResNet whose branches give nothing is no untrained baseline: it sees one pixel of many."""
    spec = {"image_size": 32, "in_chans": 3}
    network = BackboneSpec("resnet18", **spec).build().module
    as_timm_builds = BackboneSpec("resnet18", **spec, kwargs={"zero_init_last": True}).build().module
    assert network.layer1[0].bn2.weight.eq(1).all()
    assert as_timm_builds.layer1[0].bn2.weight.eq(0).all()
