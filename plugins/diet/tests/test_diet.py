"""DIET: the loss, whose classes are the samples' numbers, and what follows from that."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from ssl_registry_diet import DIET
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ssl_registry import registry
from ssl_registry.errors import BatchError, ConfigError
from ssl_registry.testing import method_checks

SAMPLES = 10


def make(**options):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6))
    given = {"num_samples": SAMPLES} | options
    return registry.create("diet", backbone=backbone, input_shape=(5,), seed=0, **given)


def loss_of(model, x, indices):
    return model.hook.compute_loss(model=model, views=[x], ctx=SimpleNamespace(indices=torch.tensor(indices)))


class Numbered(Dataset):
    """Samples with their numbers."""

    def __init__(self):
        self.x = torch.randn(SAMPLES, 5, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"x": self.x[i], "indices": i}


def fit(model, dataset, **arguments):
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = Trainer(**{"max_epochs": 1} | arguments, accelerator="cpu", **dict.fromkeys(quiet, False))
    trainer.fit(model, DataLoader(dataset, batch_size=5, shuffle=True), DataLoader(dataset, batch_size=5))
    return trainer


@pytest.mark.parametrize("smoothing", [0.8, 0.0, 0.3])
def test_loss_is_the_papers(smoothing):
    """Of the own class its share of the target, of each of all N classes an equal part of the rest."""
    model = make(label_smoothing=smoothing).double()
    x, indices = torch.randn(4, 5, dtype=torch.float64), [7, 0, 3, 9]
    scores = model(x) @ model.heads["classifier"].weight.T
    likelihood = scores - scores.exp().sum(1, keepdim=True).log()
    target = torch.full((4, SAMPLES), smoothing / SAMPLES, dtype=torch.float64)
    for row, number in enumerate(indices):
        target[row, number] += 1 - smoothing
    expected = -(target * likelihood).sum(1).mean()
    found = loss_of(model, x, indices)
    torch.testing.assert_close(found, expected)
    weights = list(model.parameters())
    torch.testing.assert_close(torch.autograd.grad(found, weights), torch.autograd.grad(expected, weights))


def test_classes_are_numbers_in_the_source():
    """Not places in the batch: samples in another order with their numbers have the same loss, with others another."""
    model = make().eval()
    x = torch.randn(3, 5)
    loss = loss_of(model, x, [2, 5, 8])
    torch.testing.assert_close(loss_of(model, x.flip(0), [8, 5, 2]), loss)
    assert not torch.isclose(loss_of(model, x, [8, 5, 2]), loss)


def test_half_precision_is_computed_in_float32():
    """Under autocast the scores are half ones, and the loss is that of their values."""
    model = make()
    x = torch.randn(4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss_of(model, x, [1, 2, 3, 4])
        scores = model.heads["classifier"](model(x))
    assert scores.dtype == torch.bfloat16
    assert found.dtype == torch.float32
    expected = nn.functional.cross_entropy(scores.double(), torch.tensor([1, 2, 3, 4]), label_smoothing=0.8)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


def test_learns_to_tell_samples_apart():
    """Each sample ends in its own class."""
    model, x = make(label_smoothing=0.1), Numbered().x
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(80):
        loss = loss_of(model, x, list(range(SAMPLES)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(model.heads["classifier"](model(x)).argmax(1), torch.arange(SAMPLES))


def test_there_is_no_validation_loss():
    """Held-out samples have no class; training with a validation loader goes on, and logs none."""

    class HeldOut(Numbered):
        def __getitem__(self, i):
            return {"x": self.x[i]}

    model = make()
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = Trainer(max_epochs=1, accelerator="cpu", **dict.fromkeys(quiet, False))
    trainer.fit(model, DataLoader(Numbered(), batch_size=5), DataLoader(HeldOut(), batch_size=5))
    assert "train_loss" in trainer.callback_metrics
    assert "val_loss" not in trainer.callback_metrics


def test_a_loader_without_numbers_is_refused():
    """In the first step, in words that name a loader whose batches have them."""
    with pytest.raises(BatchError, match="indices"):
        fit(make(), torch.randn(10, 5))


def test_number_of_samples_must_be_known():
    """The error names the argument; a classifier of the user's needs no number."""
    with pytest.raises(ConfigError, match=r"num_samples=len\(dataset\)"):
        make(num_samples=None)
    own = nn.Linear(6, 4)
    assert make(num_samples=None, classifier=own).heads["classifier"] is own


def test_checkpoint_remembers_the_number_of_samples(tmp_path):
    """A run is reopened without telling it again."""
    backbone = nn.Linear(5, 6)
    model = registry.create("diet", backbone=backbone, input_shape=(5,), num_samples=SAMPLES)
    fit(model, Numbered()).save_checkpoint(tmp_path / "last.ckpt")
    again = registry.load(tmp_path / "last.ckpt", backbone=nn.Linear(5, 6))
    assert torch.equal(again.heads["classifier"].weight, model.heads["classifier"].weight)


def test_classifier_is_linear_without_bias():
    """As wide as the source, on the features themselves: no projection."""
    head = make().heads["classifier"]
    assert (type(head), head.in_features, head.out_features, head.bias) == (nn.Linear, 6, SAMPLES, None)


def test_one_view():
    """Color jitter in three of ten views, stronger in saturation and hue than SimCLR's relatives."""
    (view,) = DIET(DIET.Config()).build_views(224).views
    assert (view.copies, view.crop_scale, view.flip, view.grayscale, view.blur) == (1, (0.08, 1.0), 0.5, 0.2, 0.2)
    assert (view.color_jitter, view.brightness, view.contrast, view.saturation, view.hue) == (0.3, 0.4, 0.4, 0.4, 0.2)


@pytest.mark.parametrize("check", method_checks("diet", slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
