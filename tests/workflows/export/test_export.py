"""Exports are loaded without ssl_registry in a fresh process, and give the same numbers there."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from contextlib import suppress

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

import ssl_registry
from ssl_registry import registry
from ssl_registry.errors import ConfigError, SSLRegistryError
from ssl_registry.workflows.export import writing
from ssl_registry.workflows.export.check import largest_difference

# A ResNet, a ViT at a size of its own, a ConvNeXt, and an EfficientNet on 13 channels.
BACKBONES = {
    "resnet50": {"image_size": 64},
    "vit_tiny_patch16_224": {"image_size": 64},
    "convnext_atto": {"image_size": 64},
    "efficientnet_b0": {"image_size": 64, "in_chans": 13},
}
slow = pytest.mark.slow


def save(tmp_path, name, **options):
    """Write a checkpoint whose statistics of normalisation are not those of a new network."""
    model = registry.create("simclr", backbone=name, **options)
    with torch.no_grad():
        for key, value in model.backbone.state_dict().items():
            if key.endswith("running_mean"):
                value.normal_(generator=torch.Generator().manual_seed(0)).mul_(0.1)
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    return tmp_path / "model.ckpt"


@pytest.mark.parametrize(
    ("name", "format"),
    [
        pytest.param("efficientnet_b0", "timm", marks=pytest.mark.slow),
        pytest.param("vit_tiny_patch16_224", "hf", marks=slow),
        *(pytest.param(name, "timm", marks=slow) for name in list(BACKBONES)[:3]),
        *(pytest.param(name, "hf", marks=slow) for name in BACKBONES if not name.startswith("vit")),
        *(pytest.param(name, format, marks=slow) for name in BACKBONES for format in ("torch", "onnx")),
    ],
)
def test_round_trip(tmp_path, name, format):
    """The largest difference in a fresh process is below 1e-5, of ONNX below 1e-4."""
    result = ssl_registry.export(save(tmp_path, name, **BACKBONES[name]), format=format)
    assert result.difference < (1e-4 if format == "onnx" else 1e-5)
    assert result.folder == tmp_path / f"model-{format}"
    assert "config.json" in result.files


def test_shown_code_loads_it(run, monkeypatch):
    """What the user reads works as it stands, from any folder, and takes any batch."""
    monkeypatch.setattr(writing, "largest_difference", lambda *_: 0.0)  # what it does is done here by hand
    result = ssl_registry.export(run)
    code = (
        f"{result.code}\nimport torch, timm.data\nprint(list(model.eval()(torch.zeros(3, 1, 16, 16)).shape))\n"
        "prepared = timm.data.resolve_data_config(model=model)\n"
        "print(prepared['input_size'], prepared['interpolation'], prepared['crop_pct'], *prepared['mean'])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    mean = registry.load(run).view_policy.mean
    assert done.stdout.splitlines() == ["[3, 368]", f"(1, 16, 16) bilinear 1.0 {mean[0]}"]


def test_small_onnx(tmp_path):
    """A network of one's own, any batch size, through onnxruntime."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    checkpoint = save(tmp_path, net, image_size=8, in_chans=1)
    result = ssl_registry.export(checkpoint, format="onnx", backbone=net)
    assert result.difference < 1e-4
    assert set(result.files) == {"config.json", "model.onnx"}
    session = pytest.importorskip("onnxruntime").InferenceSession(result.folder / "model.onnx")
    assert session.get_inputs()[0].shape[0] == "batch"


@slow
def test_signals_as_a_program(tmp_path):
    """The core's own encoder needs no class of ours where it is loaded."""
    checkpoint = save(tmp_path, "signal_encoder", input_shape=(3, 32))
    result = ssl_registry.export(checkpoint, format="torch", out=tmp_path / "out")
    assert result.difference < 1e-5
    assert json.loads((tmp_path / "out/config.json").read_text())["input_size"] == [3, 32]


@pytest.mark.slow  # all formats of a ResNet
def test_low_resolution_stem(tmp_path, monkeypatch):
    """timm cannot build it by name: the code puts it in place; a folder for the hub is refused."""
    checkpoint = save(tmp_path, "resnet18", image_size=32, low_resolution=True)
    result = ssl_registry.export(checkpoint)
    assert result.difference < 1e-5
    assert "model.maxpool = torch.nn.Identity()" in result.code
    monkeypatch.setattr(writing, "largest_difference", lambda *_: 0.0)
    with pytest.raises(SSLRegistryError, match=r"low-resolution stem.*--format timm"):
        ssl_registry.export(checkpoint, format="hf")
    assert not (tmp_path / "model-hf").exists()


def test_configuration_tells_how_to_prepare(run, monkeypatch):
    """Size, mean and standard deviation are those of the run."""
    monkeypatch.setattr(writing, "largest_difference", lambda *_: 0.0)
    ssl_registry.export(run, format="hf")
    config = json.loads((run / "export-hf/config.json").read_text())
    view_policy = registry.load(run).view_policy
    assert config["pretrained_cfg"]["mean"] == list(view_policy.mean)
    assert config["pretrained_cfg"]["input_size"] == [1, 16, 16]
    assert "simclr" in (run / "export-hf/README.md").read_text()


@pytest.mark.parametrize("format", ["timm", "hf"])
def test_only_timm_builds_timm(tmp_path, format):
    """Another network is sent to the formats that hold programs."""
    with pytest.raises(SSLRegistryError, match="not one that timm builds; use --format torch"):
        ssl_registry.export(save(tmp_path, "table_encoder", input_shape=(4,)), format=format)


def test_wrong_outputs_are_found(tmp_path):
    """Whatever goes wrong in writing, nothing is left in place."""
    network = nn.Linear(2, 2)
    with pytest.raises(SSLRegistryError, match="does not load in a fresh process"):
        largest_difference(network, (2,), "import ssl_registry.model.module", tmp_path)
    code = "import torch\nmodel = torch.nn.Linear(2, 2)"
    assert largest_difference(network, (2,), code, tmp_path) > 1e-3


def test_export_that_differs_is_not_kept(run, monkeypatch):
    """The folder of before stays."""
    monkeypatch.setattr(writing, "largest_difference", lambda *_: 0.0)
    ssl_registry.export(run)
    before = (run / "export-timm/model.safetensors").read_bytes()
    monkeypatch.setattr(writing, "largest_difference", lambda *_: float("nan"))
    with pytest.raises(SSLRegistryError, match="differs by nan"):
        ssl_registry.export(run)
    assert (run / "export-timm/model.safetensors").read_bytes() == before
    assert not list(run.glob("*.part"))


def test_full_disk(run, small_disk):
    """One line, and nothing half-written."""
    small_disk(10_000)
    with pytest.raises(SSLRegistryError, match="export-timm cannot be written"):
        ssl_registry.export(run)
    assert not list(run.glob("export*"))


def test_wrong_options(run, tmp_path):
    """An unknown format, and a folder that holds something else."""
    with pytest.raises(ConfigError, match="Did you mean 'onnx'"):
        ssl_registry.export(run, format="onx")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").touch()
    with pytest.raises(ConfigError, match="left alone"):
        ssl_registry.export(run, out=tmp_path / "mine")


def test_without_onnx(run, monkeypatch):
    """Its absence answers with the command that installs it."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SSLRegistryError, match=r"pip install 'ssl-registry\[onnx\]'"):
        ssl_registry.export(run, format="onnx")


# What a name of a folder may hold: all that would end a text in code, and code behind it.
NASTY = "quote'\"\nline{folder}\\x\"+__import__('os').system('touch canary')+\""


@slow
def test_name_of_the_folder_is_a_text_in_the_code(run, tmp_path, monkeypatch):
    """Whatever the folder is called, the check loads the export from it."""
    monkeypatch.chdir(tmp_path)
    result = ssl_registry.export(run, out=tmp_path / NASTY)
    assert result.difference < 1e-5
    assert ast.literal_eval(result.code.partition("\n")[0].removeprefix("folder = ")) == str(tmp_path / NASTY)
    assert not list(tmp_path.rglob("canary"))


@pytest.mark.parametrize(
    "name",
    [
        "x=__import__('os').system('touch canary'),y",
        pytest.param("__class__", marks=slow),
        pytest.param("unheard_of", marks=slow),
    ],
)
def test_names_of_arguments_are_no_code(run, tmp_path, monkeypatch, name):
    """timm leaves out an argument that is None, whatever its name: it is in nobody's code."""
    monkeypatch.chdir(tmp_path)
    path = run / "checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["ssl_registry"]["backbone"]["kwargs"] = {name: None}
    torch.save(checkpoint, path)
    if name == "unheard_of":
        monkeypatch.setattr(writing, "largest_difference", lambda *_: 0.0)
    with suppress(SSLRegistryError):
        assert name not in ssl_registry.export(run).code
    assert not list(tmp_path.rglob("canary"))


def test_card_tells_no_secrets(run, tmp_path, monkeypatch):
    """Of a signed address, of a command and of a user's folders a card that is published has what may be read."""
    monkeypatch.setattr(writing, "largest_difference", lambda *_: 0.0)
    config = run / "config.yaml"
    before = config.read_text()
    for data, shown in (
        ("https://me:pass@host/{00..09}.tar?X-Amz-Signature=5f2b", "https://host/{00..09}.tar"),
        ("pipe:curl -H 'Authorization: Bearer 5f2b' https://host/x.tar", "the output of a command"),
        ("/home/me/5f2b/photos", "photos"),
        ("photos`\n# 5f2b <script>", "photos"),
    ):
        config.write_text(before.replace("data: digits", f"data: {json.dumps(data)}"))
        folder = tmp_path / str(len(shown))
        ssl_registry.export(run, format="hf", out=folder)
        card, facts = (folder / "README.md").read_text(), (folder / "config.json").read_text()
        assert f"`{shown}" in card
        assert "pass@" not in card + facts
        assert "Bearer" not in card + facts
        assert "<script>" not in card
        assert card.count("\n#") == 1
        if data.startswith(("http", "pipe", "/")):
            assert "5f2b" not in card + facts


@pytest.mark.parametrize("name", ["model.onnx", "model.pt"])
def test_out_is_a_folder(name, tmp_path):
    """A name of a file is not made a folder."""
    with pytest.raises(ConfigError, match=f"{name}: an export is a folder of several files; give --out .*model$"):
        ssl_registry.export(tmp_path / "run", out=tmp_path / name)
