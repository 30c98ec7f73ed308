"""Weights alone, to the commands after training and as the start of one."""

from __future__ import annotations

import json
import pathlib

import pytest
import timm
import torch
from torch import nn

import ssl_registry
from ssl_registry import registry
from ssl_registry.cli import main
from ssl_registry.errors import ConfigError, TrustError
from ssl_registry.runs.opened import open_run

LIMITS = {"max_steps": 1, "enable_progress_bar": False, "accelerator": "cpu"}
ONE_CHANNEL = ["--backbone", "resnet10t", "--data", "digits", "--image-size", "16"]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A network for images of one channel, as digits are."""
    return timm.create_model("resnet10t", num_classes=0, in_chans=1).eval()


@pytest.fixture
def file(network: nn.Module, tmp_path: pathlib.Path) -> pathlib.Path:
    """Its weights as DINO leaves them, with a teacher of other numbers."""
    other = timm.create_model("resnet10t", num_classes=0, in_chans=1).state_dict()
    content = {
        "student": {f"module.backbone.{name}": value for name, value in network.state_dict().items()},
        "teacher": {f"backbone.{name}": value for name, value in other.items()},
    }
    torch.save(content, tmp_path / "dino.pth")
    return tmp_path / "dino.pth"


@pytest.fixture
def alone(network: nn.Module, tmp_path: pathlib.Path) -> pathlib.Path:
    """Its weights and nothing else."""
    torch.save(network.state_dict(), tmp_path / "alone.pth")
    return tmp_path / "alone.pth"


def test_evaluate(file: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The network that was chosen is measured beside the untrained one, and the lines say what was read."""
    command = ["evaluate", str(file), *ONE_CHANNEL, "--protocols", "knn", "--network", "student"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "loaded from 'student.module.backbone'" in out
    assert "weights of dino.pth on resnet10t on digits" in out
    assert "untrained" in out


def test_embed(file: pathlib.Path, network: nn.Module, tmp_path: pathlib.Path) -> None:
    """The rows are the network's features."""
    pq = pytest.importorskip("pyarrow.parquet", reason="embed writes Parquet")
    source = ssl_registry.data.open_source("digits", image_size=16)
    ssl_registry.embed(file, out=tmp_path / "x.parquet", data=source, backbone="resnet10t", network="student")
    opened = open_run(file, backbone="resnet10t", network="student", image_size=16)
    x = source.train[0][0].unsqueeze(0)
    wanted = network(opened.model.view_policy.prepare(x))
    found = torch.tensor(pq.read_table(tmp_path / "x.parquet")["vector"][0].as_py())
    torch.testing.assert_close(found, wanted[0].detach(), rtol=1e-4, atol=1e-5)


def test_export(
    alone: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights from elsewhere become an export, which is opened again without a word of what it is."""
    monkeypatch.setattr("ssl_registry.workflows.export.writing.largest_difference", lambda *_: 2e-7)
    command = ["export", str(alone), "--backbone", "resnet10t", "--image-size", "32", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "84 tensors" in capsys.readouterr().out
    opened, first = open_run(tmp_path / "out"), open_run(alone, backbone="resnet10t", image_size=32)
    assert opened.model.input_shape == first.model.input_shape == (1, 32, 32)
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(opened.model.embed(x), first.model.embed(x))


def test_network_is_not_told(alone: pathlib.Path, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    """The line says what to add."""
    for command in (
        ["evaluate", str(alone)],
        ["export", str(alone)],
        ["embed", str(alone), "--out", str(tmp_path / "x.pq")],
    ):
        assert main(command) == 2
        assert "does not tell their network; give it: --backbone NAME" in capsys.readouterr().err


def test_module(alone: pathlib.Path, network: nn.Module) -> None:
    """A module of the user's takes the weights too, and so does one that a Python file makes."""
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        wanted = network(x)
    built = timm.create_model("resnet10t", num_classes=0, in_chans=1)
    opened = open_run(alone, backbone=built, image_size=32)
    assert opened.untrained() is None
    torch.testing.assert_close(opened.model.embed(x), wanted)
    code = "import timm\ndef Net(): return timm.create_model('resnet10t', num_classes=0, in_chans=1)\n"
    (alone.parent / "net.py").write_text(code)
    opened = open_run(alone, backbone=f"{alone.parent / 'net.py'}:Net", image_size=32)
    torch.testing.assert_close(opened.model.embed(x), wanted)


def test_normalization(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    """By ImageNet's statistics, unless a configuration beside the weights has others."""
    caplog.set_level("INFO")
    torch.save(timm.create_model("resnet10t", num_classes=0).state_dict(), tmp_path / "pytorch_model.bin")
    policy = open_run(tmp_path, backbone="resnet10t", image_size=32).model.view_policy
    assert policy.mean == (0.485, 0.456, 0.406)
    assert "of ImageNet" in caplog.text
    told = {"input_size": [3, 32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet10t", "pretrained_cfg": told}))
    model = open_run(tmp_path).model
    assert (model.view_policy.mean, model.input_shape) == ((0.5, 0.5, 0.5), (3, 32, 32))


def test_small_stem(tmp_path: pathlib.Path) -> None:
    """A ResNet with the 3x3 stem is known by it, whatever the size of the images."""
    net = registry.create("simclr", backbone="resnet18", image_size=32, low_resolution=True).backbone
    torch.save(
        {"state_dict": {f"backbone.{name}": value for name, value in net.state_dict().items()}}, tmp_path / "x.ckpt"
    )
    opened = open_run(tmp_path / "x.ckpt", backbone="resnet18", image_size=32)
    assert opened.model.backbone_record.low_resolution


def test_run_tells_its_network(run: pathlib.Path) -> None:
    """A name beside a run is refused, and so is a part of names."""
    with pytest.raises(ConfigError, match="tells its network; leave --backbone out"):
        open_run(run, backbone="resnet18")
    with pytest.raises(ConfigError, match="network='teacher' is not known"):
        open_run(run, network="teacher")


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "resnet10t", "model_args": {"layers": 5}},
        {"architecture": "resnet10t", "model_args": {"channels": [10**6] * 4}},
        {"architecture": "resnet10t", "model_args": {"no": 1}},
        {"architecture": "resnet10t", "pretrained_cfg": {"input_size": [3, 10**6, 10**6]}},
        {"architecture": "resnet10t", "pretrained_cfg": {"input_size": [3, 10]}},
        {"architecture": "resnet10t", "pretrained_cfg": {"std": [0.0]}},
        {"architecture": "resnet10t", "pretrained_cfg": "\x1b[2J"},
        {"architecture": "no\x1b[2J"},
        {"architecture": 3},
    ],
)
def test_configuration_that_does_not_fit(
    alone: pathlib.Path, config: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and no memory is filled."""
    alone.rename(alone.parent / "pytorch_model.bin")
    (alone.parent / "config.json").write_text(json.dumps(config))
    assert main(["export", str(alone.parent)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.strip().isprintable()


def test_run_on_a_module_by_its_file(tmp_path: pathlib.Path) -> None:
    """A run that records only a class takes the file that builds it, and weights alone do as well."""
    code = "import timm\ndef Net(): return timm.create_model('resnet10t', num_classes=0, in_chans=1)\n"
    (tmp_path / "net.py").write_text(code)
    net = timm.create_model("resnet10t", num_classes=0, in_chans=1)
    arguments = {"data": "digits", "out": tmp_path / "run", "knn": False, "report": False, "trainer": LIMITS}
    model = ssl_registry.train("simclr", backbone=f"{tmp_path / 'net.py'}:Net", **arguments).model
    assert type(model.backbone) is type(net)
    (tmp_path / "run" / "config.yaml").unlink()
    opened = open_run(tmp_path / "run", backbone=f"{tmp_path / 'net.py'}:Net")
    assert torch.equal(opened.model.backbone.conv1[0].weight, model.backbone.conv1[0].weight.cpu())


def test_size_of_a_run_stays(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """`--image-size` of an export is for weights alone."""
    with pytest.raises(ConfigError, match="image_size=224 is for weights alone"):
        ssl_registry.export(run, out=tmp_path / "out", image_size=224)


def test_configuration_that_fetches(alone: pathlib.Path) -> None:
    """It is asked for trust, as everywhere."""
    alone.rename(alone.parent / "pytorch_model.bin")
    (alone.parent / "config.json").write_text('{"architecture": "hf-hub:a/b"}')
    with pytest.raises(TrustError, match="would fetch"):
        open_run(alone.parent)


def test_train_from(file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """`--from` and `--from-network`; the settings have both."""
    command = ["train", "simclr", "--from", str(file), "--from-network", "teacher", *ONE_CHANNEL]
    more = ["--out", str(tmp_path / "run"), "--knn", "false", "--report", "false"]
    assert main([*command, *more, "--trainer.max_steps", "1", "--trainer.accelerator", "cpu"]) == 0
    assert "from_network: teacher" in (tmp_path / "run" / "config.yaml").read_text()


def test_train_from_a_run_chooses_its_network(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Of a run `backbone` and `product`, and no other."""
    model = registry.create(
        "byol", backbone="regnetx_002", image_size=16, in_chans=1, weights=run, weights_network="backbone"
    )
    own = registry.load(run).backbone.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in model.backbone.state_dict().items())
    with pytest.raises(ssl_registry.errors.BackboneError, match=r"no network 'teacher'.*product or backbone"):
        registry.create(
            "byol", backbone="regnetx_002", image_size=16, in_chans=1, weights=run, weights_network="teacher"
        )


def test_weights_alone_are_not_trained(alone: pathlib.Path) -> None:
    """They have no loss."""
    model = open_run(alone, backbone="resnet10t", image_size=32).model
    with pytest.raises(ConfigError, match="no loss"):
        model.batch_loss(torch.rand(2, 1, 32, 32), 0)
