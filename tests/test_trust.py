"""Checkpoints and records are data: reading them runs no code, imports nothing, and fetches nothing."""

from __future__ import annotations

import ast
import pickle
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from ssl_registry import registry
from ssl_registry.checkpoint.io import AtomicCheckpointIO
from ssl_registry.checkpoint.record import RECORD_KEY
from ssl_registry.errors import CheckpointError, MethodNotFoundError, SSLRegistryError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module that could be imported, and a file that could be run; both would be noticed."""
    (tmp_path / "evil_module.py").write_text("import sys\nsys.stolen = True\nclass Evil: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield
    assert not hasattr(sys, "stolen"), "its code was run"
    assert "evil_module" not in sys.modules


@pytest.fixture
def tampered(tmp_path):
    """Write a checkpoint of SimCLR on a timm backbone whose record is changed."""

    def tampered(**changes):
        model = registry.create("simclr", backbone="resnet10t", image_size=32, projection_dim=4)
        trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
        trainer.strategy.connect(model)
        path = tmp_path / "x.ckpt"
        trainer.save_checkpoint(path)
        checkpoint = torch.load(path, weights_only=True)
        record = checkpoint[RECORD_KEY]
        for key, value in changes.items():
            place, _, name = key.rpartition("__")
            (record[place] if place else record)[name] = value
        torch.save(checkpoint, path)
        return path

    return tampered


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "evil_module:Evil"},
        {"method": "evil_module:Evil", "distribution": "evil_module"},
        {"method": "Evil", "distribution": "../evil_module"},
        {"method": "evil_module.Evil", "distribution": None},
        {"backbone__name": "evil_module.py:Evil"},
        {"backbone__name": "../evil_module.py:Evil"},
        {"backbone__name": "evil_module:Evil"},
        {"backbone__name": "hf-hub:evil/evil"},
        {"backbone__name": "local-dir:."},
        {"backbone__name": "evil_module.Evil"},
        {"backbone__kwargs": {"checkpoint_path": "../../secret.pth"}},
        {"backbone__kwargs": {"cache_dir": "../.."}},
        {"backbone__kwargs": {"pretrained_cfg": {"file": "/etc/passwd"}}},
        {"backbone__kwargs": {"pretrained": True}},
        {"config": {"optimizer": "evil_module.Evil", "projection_dim": 4}},
        {"config": {"optimizer_kwargs": {"params": "x"}, "no_such_option": 1}},
        {"view_policy": {"views": [{"modality": "evil_module:Evil"}]}},
        {"overridden": ["evil_module:Evil"]},
    ],
)
def test_record_that_leads_elsewhere_is_refused(changes, tampered, evil):
    """By an error with a way on; no module is imported, no file is run or read, nothing is fetched."""
    path = tampered(**changes)
    if "optimizer" in changes.get("config", {}):  # a name is looked up among timm's when training begins
        model = registry.load(path)
        with pytest.raises(SSLRegistryError, match=r"there is no optimizer 'evil_module\.Evil'"):
            model.configure_optimizers()
    else:
        with pytest.raises(SSLRegistryError):
            registry.load(path)


@pytest.mark.parametrize("key", ["method", "config", "backbone", "view_policy", "overridden", "seed", "version"])
@pytest.mark.parametrize("value", [3.5, ["x"], {"x": 1}, None, "text"])
def test_damaged_record_is_an_error_of_ours(key, value, tampered):
    """Whatever is in the place of a field; what happens to be valid loads."""
    path = tampered(**{key: value})
    with suppress(SSLRegistryError):
        registry.load(path)


def test_class_in_a_record_is_for_people(tampered, evil):
    """The class of a user's own backbone is told, and never imported."""
    path = tampered(backbone__name=None, backbone__class_name="evil_module.Evil")
    with pytest.raises(CheckpointError, match=r"a module, evil_module\.Evil; build it"):
        registry.load(path)


def test_name_of_a_method_is_no_import_path(evil):
    """Only what an installed distribution declares is imported."""
    for name in ("evil_module:Evil", "evil_module.Evil", "evil_module"):
        with pytest.raises(MethodNotFoundError):
            registry.create(name)


class Exploit:
    def __reduce__(self):
        return (exec, ("import sys; sys.stolen = True",))


def test_malicious_pickle_is_refused_where_a_run_resumes(tmp_path, evil):
    """The plugin of a run's Trainer never unpickles code, whatever it is asked for."""
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": Exploit()}, path)
    for weights_only in (None, False, True):
        with pytest.raises(CheckpointError, match="holds code, which is refused"):
            AtomicCheckpointIO().load_checkpoint(path, weights_only=weights_only)
    path.write_bytes(pickle.dumps(Exploit(), protocol=2))
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        registry.load(path)


def test_own_backbone_is_loaded_from_tensors_alone(tmp_path):
    """A checkpoint of a user's own module holds its tensors, not its class."""
    model = registry.create("simclr", backbone=nn.Linear(4, 6), input_shape=(4,))
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    kinds = {type(value) for value in torch.load(tmp_path / "x.ckpt", weights_only=True)["state_dict"].values()}
    assert kinds == {torch.Tensor}


def calls(path):
    """Every call in a source file, by its dotted name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}, node.lineno


UNSAFE = {"eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load", "joblib.load"}
# The conformance kit is left out: it pickles models to see that they can be, and unpickles those alone.
SOURCES = [
    path
    for path in sorted([*(ROOT / "ssl_registry").rglob("*.py"), *(ROOT / "plugins").glob("*/ssl_registry_*/*.py")])
    if "testing" not in path.parts
]


def test_no_source_reads_code_from_data():
    """torch.load always with weights_only=True; no pickle, no unsafe YAML, no eval, no arrays of objects."""
    found = []
    for path in SOURCES:
        for name, words, line in calls(path):
            if (
                (name == "torch.load" and words.get("weights_only") != "True")
                or name
                in ("eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load", "joblib.load")
                or words.get("allow_pickle", "False") != "False"
            ):
                found.append(f"{path.relative_to(ROOT)}:{line}: {name}({words})")
    assert not found
