"""Another method starts from a backbone that was trained: from a run, a checkpoint or an export."""

from __future__ import annotations

import shutil

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

import ssl_registry
from ssl_registry import registry
from ssl_registry.checkpoint.weights import load_backbone_weights, load_weights
from ssl_registry.errors import BackboneError, CheckpointError

LIMITS = {"max_steps": 1, "enable_progress_bar": False, "accelerator": "cpu"}


def backbone_of(run):
    return registry.load(run).backbone.state_dict()


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.fixture
def exported(run, tmp_path):
    """The backbone as `export` lays it out."""
    folder = tmp_path / "exported"
    folder.mkdir()
    save_file(dict(backbone_of(run)), folder / "model.safetensors")
    (folder / "config.json").write_text('{"architecture": "regnetx_002", "model_args": {"in_chans": 1}}')
    return folder


@pytest.mark.parametrize("form", ["run", "checkpoint", "export", "file"])
def test_created_with_the_weights(run, exported, tmp_path, form):
    """Whatever form they come in, the new method's backbone has them, and so has BYOL's target."""
    place = {
        "run": run,
        "checkpoint": shutil.copy(run / "checkpoints" / "last.ckpt", tmp_path / "alone.ckpt"),
        "export": exported,
        "file": exported / "model.safetensors",
    }[form]
    model = registry.create("byol", backbone="regnetx_002", image_size=16, in_chans=1, weights=place)
    assert equal(model.backbone.state_dict(), backbone_of(run))
    target = model.heads["target"].state_dict()
    assert any(torch.equal(value, model.backbone.stem.conv.weight) for value in target.values())


def test_train_from_a_run(run, tmp_path):
    """The backbone's name is the run's; its settings repeat it, and other weights give other results."""
    started = ssl_registry.train("byol", start_from=run, out=tmp_path / "new", knn=False, report=False, trainer=LIMITS)
    assert started.model.backbone_record.name == "regnetx_002"
    settings = yaml.safe_load((tmp_path / "new" / "config.yaml").read_text())
    assert settings["start_from"] == str(run)
    assert registry.load(tmp_path / "new").info.name == "byol"


def test_method_need_not_be_installed(run, nothing_installed):
    """Only the backbone is read."""
    assert load_backbone_weights(run).backbone == "regnetx_002"


def test_what_does_not_fit():
    """The first difference is named."""

    class BackboneWeights:
        path, backbone, own = "there", "net", True

    for weights, message in (
        ({"weight": torch.zeros(3, 2)}, "there is no bias"),
        ({"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}, r"weight has shape \[3, 3\] there and \[3, 2\] here"),
        ({"weight": torch.zeros(3, 2), "bias": torch.zeros(3), "x": torch.zeros(1)}, "it has x"),
    ):
        BackboneWeights.weights = weights
        with pytest.raises(BackboneError, match=message):
            load_weights(nn.Linear(2, 3), BackboneWeights)


@pytest.mark.parametrize("content", [b"", b"half"])
def test_damaged_export(tmp_path, content):
    """It is told as such."""
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_backbone_weights(tmp_path)


def test_damaged_configuration(exported):
    """So is a configuration that is none."""
    (exported / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json is damaged"):
        load_backbone_weights(exported)
