"""A checkpoint says where it comes from, and is reopened without running code from it."""

from __future__ import annotations

import pickle

import pytest
import torch
from lightning.pytorch import Trainer
from ssl_registry_simclr import SimCLR
from torch import nn

from ssl_registry import Registry, registry
from ssl_registry.checkpoint.record import RECORD_KEY
from ssl_registry.errors import CheckpointError


def save(model, path):
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return path


@pytest.fixture
def byol(tmp_path):
    model = registry.create("byol", backbone="resnet18", image_size=32, in_chans=1, low_resolution=True, hidden_dim=16)
    return model, save(model, tmp_path / "model.ckpt")


def test_reopened_model_is_equal(byol):
    """Config, recipe, shape and every weight come back."""
    model, path = byol
    again = registry.load(path)
    assert again.config == model.config
    assert again.view_policy == model.view_policy
    assert again.input_shape == (1, 32, 32)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())


def test_record_is_plain_values(byol):
    """What is recorded tells method, distribution, versions and backbone, and is read without unpickling code."""
    record = torch.load(byol[1], weights_only=True)[RECORD_KEY]
    assert record["method"] == "byol"
    assert record["distribution"] == "ssl-registry-byol"
    assert record["backbone"]["name"] == "resnet18"
    assert record["config"]["hidden_dim"] == 16


def test_folder_of_a_run(byol, tmp_path):
    """A run's folder means its last checkpoint."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    byol[1].rename(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert registry.load(tmp_path / "run").info.name == "byol"


def test_own_modules_are_asked_for(tmp_path):
    """A backbone and a head that the user gave must be given again, and then fit."""
    backbone, head = nn.Linear(4, 6), nn.Linear(6, 2)
    model = registry.create("simclr", backbone=backbone, input_shape=(4,), projection_head=head)
    path = save(model, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="give it as backbone="):
        registry.load(path)
    with pytest.raises(CheckpointError, match="give it as projection_head="):
        registry.load(path, backbone=nn.Linear(4, 6))
    again = registry.load(path, backbone=nn.Linear(4, 6), projection_head=nn.Linear(6, 2))
    assert torch.equal(again.heads["projection_head"].weight, head.weight)


def test_wrong_module_does_not_fit(tmp_path):
    """A backbone of another shape is refused with the keys."""
    path = save(registry.create("simclr", backbone=nn.Linear(4, 6), input_shape=(4,)), tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="does not fit the model it describes"):
        registry.load(path, backbone=nn.Linear(4, 7))


def test_local_method_must_be_registered(tmp_path):
    """A method of another process is found once it is registered in this one."""
    mine = Registry(entry_points=False)
    mine.register("mine", SimCLR)
    path = save(mine.create("mine", backbone=nn.Linear(4, 6), input_shape=(4,)), tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"registry\.register\('mine'"):
        Registry(entry_points=False).load(path, backbone=nn.Linear(4, 6))
    assert mine.load(path, backbone=nn.Linear(4, 6)).info.name == "mine"


def test_plugin_that_is_not_installed(byol):
    """The message holds the command that installs the version it was trained with."""
    with pytest.raises(CheckpointError, match=r"pip install ssl-registry-byol==0\.1\.0"):
        Registry(entry_points=False).load(byol[1])


def test_older_config_is_migrated(tmp_path):
    """The plugin's `migrate_config` translates the options that another version saved."""
    from ssl_registry import hookimpl

    mine = Registry(entry_points=False)
    mine.register("mine", SimCLR)
    path = save(mine.create("mine", backbone=nn.Linear(4, 6), input_shape=(4,), temperature=0.3), tmp_path / "x.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint[RECORD_KEY]["version"] = "0.0.1"
    checkpoint[RECORD_KEY]["config"]["tau"] = checkpoint[RECORD_KEY]["config"].pop("temperature")
    torch.save(checkpoint, path)

    class Migrating(SimCLR):
        @hookimpl
        def migrate_config(self, config, saved_version):
            assert saved_version == "0.0.1"
            config["temperature"] = config.pop("tau")
            return config

    mine.register("mine", Migrating)
    assert mine.load(path, backbone=nn.Linear(4, 6)).config.temperature == 0.3


def test_newer_format_is_refused(byol):
    """The message says which version wrote it."""
    checkpoint = torch.load(byol[1], weights_only=True)
    checkpoint[RECORD_KEY] |= {"format": 99, "core_version": "9.9"}
    torch.save(checkpoint, byol[1])
    with pytest.raises(CheckpointError, match=r"format 99, written by ssl-registry 9\.9"):
        registry.load(byol[1])


class Exploit:
    def __reduce__(self):
        return (print, ("code ran",))


def test_code_is_not_run(tmp_path, capsys):
    """A pickle that would run code is refused."""
    path = tmp_path / "evil.ckpt"
    with path.open("wb") as file:
        pickle.dump(Exploit(), file, protocol=2)  # the one that torch.save uses
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        registry.load(path)
    torch.save({RECORD_KEY: {}, "state_dict": Exploit()}, path)
    with pytest.raises(CheckpointError, match="holds code, which is refused"):
        registry.load(path)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_damaged_file(content, tmp_path):
    """An empty or foreign file is told as such."""
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        registry.load(path)


def test_half_a_file(byol):
    """A checkpoint that was cut short is told as such."""
    path = byol[1]
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="damaged"):
        registry.load(path)


def test_other_files(tmp_path):
    """Missing paths, empty folders and other people's checkpoints are told apart."""
    with pytest.raises(CheckpointError, match="does not exist"):
        registry.load(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"holds no checkpoints/last\.ckpt"):
        registry.load(tmp_path)
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match="not written by ssl-registry"):
        registry.load(tmp_path / "x.ckpt")
