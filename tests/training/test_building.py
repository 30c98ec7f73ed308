"""The model for a source, where the user left something open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from PIL import Image

from ssl_registry import MethodConfig, Needs, Registry, hookimpl, registry
from ssl_registry.data import open_source
from ssl_registry.errors import ConfigError
from ssl_registry.run_options import RunOptions
from ssl_registry.runs.folder import Run
from ssl_registry.training.building import build_model, decide, read_options
from ssl_registry.training.trainer import make_trainer


def settle(source, method="simclr", trainer=None, registry=registry, **run):
    return decide(method, RunOptions(**run), source, trainer or {}, registry=registry)


@pytest.fixture(scope="module")
def digits():
    return open_source("digits")


def test_a_source_never_replaces_the_methods_views(digits):
    """It says what must not be done; copies, sizes and crops stay, and a user can ask for a step again."""
    own = registry.create("byol", input_shape=digits.input_shape).view_policy
    run, _ = settle(digits, "byol", backbone="resnet10t")
    model = build_model("byol", digits, run, options={}, registry=registry)
    assert all(view.flip for view in own.views)
    assert model.view_policy.views == tuple(view.model_copy(update={"flip": 0.0}) for view in own.views)
    assert "the source of the samples forbids flip: left out of the views" in model.view_policy.notes((1, 16, 16))
    run, _ = settle(digits, "byol", backbone="resnet10t", views={"flip": 0.25})
    model = build_model("byol", digits, run, options={}, registry=registry)
    assert {view.flip for view in model.view_policy.views} == {0.25}
    assert not any("forbids" in note for note in model.view_policy.notes((1, 16, 16)))


@pytest.mark.parametrize(("backbone", "is_replaced"), [("resnet18", True), ("resnet10t", False)])
def test_small_images_get_a_small_stem_where_it_is_known(backbone, is_replaced, digits):
    """A plain ResNet loses its max-pool; one with a stem of another kind is left as it is, and is no error."""
    run, _ = settle(digits, backbone=backbone)
    model = build_model("simclr", digits, run, options={}, registry=registry)
    assert (type(model.backbone.maxpool).__name__ == "Identity") is is_replaced


def test_what_is_left_open_is_decided(digits):
    """By the samples, and by default; with a word of what decided it."""
    run, deciders = settle(digits)
    assert (run.backbone, run.low_resolution, run.image_size, run.workers, run.epochs) == ("resnet18", True, 16, 0, 100)
    assert run.backbone_kwargs is None
    assert deciders == {
        **dict.fromkeys(["backbone", "low_resolution", "image_size", "workers"], "source"),
        "batch_size": "images on a CPU",
        "epochs": "default",
    }


@pytest.mark.parametrize(
    ("trainer", "size", "decider"),
    [({"accelerator": "cpu"}, 96, "a CPU"), ({"accelerator": "auto"}, 224, "source")],
)
def test_photographs_are_sized_for_the_device(trainer, size, decider, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """96 pixels on a CPU, 224 on an accelerator, and what is given on both."""
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    for number in range(40):
        Image.new("RGB", (120, 100), (number, 0, 0)).save(tmp_path / f"{number}.png")
    asked, source = read_options({"data": str(tmp_path)}, owner="train", trainer=trainer)
    assert source.input_shape == (3, size, size)
    run, deciders = decide("simclr", asked, source, {**trainer, "max_steps": 1}, registry=registry)
    assert (run.batch_size, deciders["batch_size"]) == (10, "a quarter of the samples")
    assert (deciders["image_size"], run.epochs) == (decider, None)
    _, source = read_options({"data": str(tmp_path), "image_size": 50}, owner="train", trainer=trainer)
    assert source.input_shape == (3, 50, 50)


def test_what_is_given_stays(digits):
    """Nothing is decided about it."""
    given = {"backbone": "resnet10t", "low_resolution": False, "image_size": 8, "workers": 3, "epochs": 2}
    given["batch_size"] = 512
    run, deciders = settle(digits, **given)
    assert {name: getattr(run, name) for name in given} == given
    assert deciders == {}


def test_weights_to_start_from_bring_their_backbone(digits, run):
    """Their name and stem; not where another backbone is given."""
    settled, deciders = settle(digits, start_from=run)
    assert (settled.backbone, settled.low_resolution) == ("regnetx_002", False)
    assert deciders["backbone"] == deciders["low_resolution"] == "weights"
    assert settle(digits, start_from=run, backbone="resnet18")[0].low_resolution is True


@pytest.mark.parametrize(
    ("trainer", "epochs"),
    [
        ({}, 100),
        ({"max_epochs": 3}, None),
        ({"max_steps": 3}, None),
        ({"max_steps": -1}, 100),
        ({"max_time": "1"}, None),
    ],
)
def test_a_limit_of_the_trainer_stands_for_epochs(trainer, epochs, digits):
    """A default applies where nothing ends the run."""
    assert settle(digits, trainer=trainer)[0].epochs == epochs


def test_two_numbers_of_epochs_are_refused(digits):
    """One of them would be ignored."""
    with pytest.raises(ConfigError, match=r"--epochs or --trainer\.max_epochs, not both"):
        settle(digits, epochs=1, trainer={"max_epochs": 2})


def test_a_source_can_be_given_itself(digits):
    """Its name is recorded, as one that Python gave; what opens a source has no say then."""
    run, source = read_options({"data": digits, "seed": 3}, owner="train")
    assert source is digits
    assert (run.data, run.seed) == ("python:digits", 3)
    with pytest.raises(ConfigError, match="image_size=8 says how a source is opened, and digits is a Source"):
        read_options({"data": digits, "image_size": 8}, owner="train")


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"epoch": 3}, r"train has no option 'epoch'\. Did you mean 'epochs'"),
        ({"epochs": 0}, r"train: epochs=0 is not accepted, .* \(allowed: int >= 1 \| None\)"),
        ({"guard": "loud"}, "guard='loud' is not accepted"),
        ({"data": None}, "data=None names no source"),
    ],
)
def test_mistakes_in_options(run, message):
    """Told with what is allowed."""
    with pytest.raises(ConfigError, match=message):
        read_options(run, owner="train")


class Needy:
    """A method for images that names its backbone."""

    needs = Needs(modalities=("image",), backbone="resnet10t", backbone_kwargs={"drop_rate": 0.1})

    class Config(MethodConfig):
        """No options."""

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self):
        return {}

    @hookimpl
    def compute_loss(self, model, views):
        return model(views[0]).square().mean()


def test_the_method_names_the_backbone(digits):
    """Where the user does not, with its arguments; samples of another kind are refused."""
    mine = Registry(entry_points=False)
    mine.register("needy", Needy)
    run, deciders = settle(digits, "needy", registry=mine)
    assert (run.backbone, run.backbone_kwargs, deciders["backbone"]) == ("resnet10t", {"drop_rate": 0.1}, "method")
    run, _ = settle(digits, "needy", registry=mine, backbone="resnet18")
    assert (run.backbone, run.backbone_kwargs) == ("resnet18", None)
    with pytest.raises(ConfigError, match="needy does not take tables"):
        settle(replace(digits, modality="table", forbids=()), "needy", registry=mine)


def test_the_samples_decide_the_patches_of_a_default_transformer(digits):
    """Of a method that works on tokens; the method decides what else it names."""
    mine = Registry(entry_points=False)
    mine.register("patches", type("Patches", (Needy,), {"needs": Needs(tokens=True)}))
    run, deciders = settle(digits, "patches", registry=mine)
    assert (run.backbone, run.backbone_kwargs) == ("vit_small_patch16_224", {"patch_size": 4})
    assert deciders["backbone"] == deciders["backbone_kwargs.patch_size"] == "source"
    own = Needs(tokens=True, backbone="vit_tiny_patch16_224", backbone_kwargs={"global_pool": "avg"})
    mine.register("pooled", type("Pooled", (Needy,), {"needs": own}))
    run, deciders = settle(digits, "pooled", registry=mine)
    assert run.backbone_kwargs == {"patch_size": 4, "global_pool": "avg"}
    assert deciders["backbone_kwargs.patch_size"] == "source"
    assert deciders["backbone"] == deciders["backbone_kwargs.global_pool"] == "method"
    assert settle(digits, "patches", registry=mine, backbone="vit_tiny_patch16_224")[0].backbone_kwargs is None


@pytest.mark.parametrize("kernel", [3, 7])
def test_stem_is_that_of_the_weights(digits, tmp_path, kernel):
    """Of a ResNet's weights the first convolution decides, not the size of the images."""
    torch.save({"module.conv1.weight": torch.zeros(64, 1, kernel, kernel)}, tmp_path / "weights.pth")
    run, deciders = settle(digits, backbone="resnet18", start_from=tmp_path / "weights.pth")
    assert run.low_resolution is (kernel == 3)
    assert deciders["low_resolution"] == "weights"


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", DDPStrategy(start_method="spawn")])
def test_processes_that_tell_nothing_back_are_refused(strategy: object, tmp_path: Path) -> None:
    """What the guard found in them, and how many steps they made, would be lost with them."""
    with pytest.raises(ConfigError, match=r"nothing comes back but weights.*--trainer.strategy ddp, or torchrun"):
        make_trainer({"strategy": strategy, "accelerator": "cpu", "devices": 2}, Run(tmp_path))
