"""`finetune`: shares of labels, layer-wise rates, frozen layers, and the network from scratch beside it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Subset

import ssl_registry
from ssl_registry.checkpoint.finetuned import KEY
from ssl_registry.data import SSLDataModule, open_source
from ssl_registry.data.sample_set import as_sample_set
from ssl_registry.errors import ConfigError, DataError, SSLRegistryError
from ssl_registry.measures.few_labels import choose_labeled
from ssl_registry.runs.opened import RawNetwork, open_run
from ssl_registry.views import ViewPolicy
from ssl_registry.workflows.finetune import FineTuning
from ssl_registry.workflows.finetune.few_labels import read_labels, settings_for
from ssl_registry.workflows.finetune.module import layer_groups
from ssl_registry.workflows.finetune.start import fit_start

CPU = {"accelerator": "cpu"}


def model(backbone=None, **options):
    backbone = backbone or nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4))
    network = RawNetwork(backbone, ViewPolicy.plain(), (1, 2, 2), 4)
    given = {"layers": None, "learning_rate": 1.0, "layer_decay": 0.5, "weight_decay": 0.1, "view": None} | options
    return FineTuning(network, nn.Linear(4, 2), **given)


class _Trainer:
    estimated_stepping_batches = 100


def groups(tuning):
    tuning._trainer = _Trainer()
    plan = tuning.configure_optimizers()
    return plan["optimizer"].param_groups


def test_rates_fall_from_the_head_to_the_input():
    """The head has the full rate, the layer below half of it, and so on; vectors have no weight decay."""
    tuning = model()
    found = {id(p): group for group in groups(tuning) for p in group["params"]}
    rates = [found[id(p)]["initial_lr"] for p in (tuning.head.weight, *(tuning.backbone[i].weight for i in (4, 2, 1)))]
    assert rates == [1.0, 0.5, 0.25, 0.125]
    assert found[id(tuning.backbone[2].weight)]["weight_decay"] == 0.0
    assert found[id(tuning.backbone[1].weight)]["weight_decay"] == 0.1
    assert len(found) == len(list(tuning.parameters()))


def test_frozen_layers_stay(run):
    """Only the last layers change: first weights and statistics of normalisation are what they were."""
    tuning = model(layers=1)
    before = {key: value.clone() for key, value in tuning.state_dict().items()}
    tuning.train()
    assert not tuning.backbone[2].training
    optimizer = torch.optim.SGD([p for group in groups(tuning) for p in group["params"]], lr=0.1)
    tuning(torch.randn(8, 1, 2, 2)).square().mean().backward()
    optimizer.step()
    changed = {key for key, value in tuning.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"backbone.4.weight", "backbone.4.bias", "head.weight", "head.bias"}


def test_fixed_statistics_stay():
    """BatchNorm normalises by what pretraining saw, and its weights train."""
    tuning = model(fixed_statistics=True).train()
    before = {key: value.clone() for key, value in tuning.state_dict().items()}
    optimizer = torch.optim.SGD([p for group in groups(tuning) for p in group["params"]], lr=0.1)
    tuning(torch.randn(8, 1, 2, 2)).square().mean().backward()
    optimizer.step()
    changed = {key for key, value in tuning.state_dict().items() if not torch.equal(value, before[key])}
    assert "backbone.2.weight" in changed
    assert not {key for key in changed if "running" in key or "batches" in key}


def test_settled_statistics_are_those_of_the_samples():
    """Of all samples, whatever was seen before, without dropout; frozen layers keep theirs."""
    x = torch.randn(12, 1, 2, 2) * 3 + 1
    tuning = model(nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.BatchNorm1d(4), nn.Linear(4, 4)))
    norm = tuning.backbone[2]
    tuning.train()(torch.randn(8, 1, 2, 2) * 100)
    tuning.settle_statistics([(x[:6], None), (x[6:], None), (x[:1], None)])
    torch.testing.assert_close(norm.running_mean, x.flatten(1).mean(0))
    torch.testing.assert_close(norm.running_var, (x[:6].flatten(1).var(0) + x[6:].flatten(1).var(0)) / 2)
    assert (norm.momentum, norm.training) == (0.1, False)
    frozen = model(layers=1)
    frozen.settle_statistics([x])
    assert not frozen.backbone[2].running_mean.any()


def test_random_weights_begin_with_a_random_head(run, monkeypatch):
    """A head that was fitted in evaluation mode is none for a network that normalises by the batch."""
    asked = []

    def fit(*arguments, **options):
        asked.append(options["probe"])
        return fit_start(*arguments, **options)

    monkeypatch.setattr("ssl_registry.workflows.finetune.run.fit_start", fit)
    result = ssl_registry.finetune(run, labels=0.1, epochs=1, trainer=CPU)
    assert asked == [True, False]
    assert {row.protocol for row in result.rows} == {"finetune 10 %", "probe 10 %"}


def test_starts_as_the_probe(run):
    """The head is the logistic regression of the frozen features, class by class; one without samples is behind."""
    source = open_source("digits", image_size=16)
    opened = open_run(run)
    labels = read_labels(source)
    rows = [i for i in choose_labeled(labels, 0.1, 0) if labels[i] != 3]
    loaders = SSLDataModule(replace(source, train=as_sample_set(Subset(source.train, rows))), batch_size=64)
    network = opened.trained().eval()
    start = fit_start(network, 10, loaders, torch.device("cpu"))
    x = torch.stack([source.test[i][0] for i in range(200)])
    with torch.inference_mode():
        guessed = start.head(network(x)).argmax(1)
    assert 3 not in guessed.tolist()
    assert float((guessed == torch.tensor([int(source.test[i][1]) for i in range(200)])).double().mean()) == (
        pytest.approx(start.metrics["accuracy"], abs=0.06)
    )


@pytest.mark.parametrize(
    ("size", "labeled", "batch", "fixed", "crop"),
    [(16, 130, 21, True, None), (16, 5_000, 128, False, 0.35), (128, 130, 21, True, 0.7), (16, 4, 4, True, None)],
)
def test_settings_by_the_number_of_labels(size, labeled, batch, fixed, crop):
    """Few labels take small batches and kept statistics; small images are left whole then."""
    found = settings_for(open_source("digits", image_size=size), labeled, 128)
    assert (found.batch_size, found.fixed_statistics) == (batch, fixed)
    assert (found.view and found.view.crop_scale[0]) == crop


def test_frozen_layers_and_statistics_stay_in_a_fit(run, tmp_path):
    """What training was told to keep is in the file as it was in the run; Lightning itself changes no mode."""
    out = tmp_path / "weights.safetensors"
    ssl_registry.finetune(run, labels=0.01, layers=2, epochs=1, out=out, trainer=CPU)
    before = {f"backbone.{key}": value for key, value in open_run(run).network.state_dict().items()}
    after = load_file(out)
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert changed
    assert not {key for key in changed if "running" in key or "batches" in key or "stem" in key}


@pytest.mark.slow
def test_not_below_the_probe(tmp_path):
    """By its defaults, with a tenth of the labels of digits: the mean of three seeds."""
    limits = {"max_steps": 60, "enable_progress_bar": False, **CPU}
    options = {"image_size": 28, "backbone": "resnet10t", "low_resolution": False, "batch_size": 128}
    ssl_registry.train("simclr", out=tmp_path / "run", knn=False, report=False, trainer=limits, **options)
    result = ssl_registry.finetune(tmp_path / "run", labels=0.1, seeds=3, trainer=CPU)
    tuned, probe = (result.figure("trained", f"{name} 10 %", "accuracy") for name in ("finetune", "probe"))
    assert tuned >= probe


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto", "efficientnet_b0"])
def test_layers_of_timm_models(name):
    """Every parameter is in exactly one layer, the stem's in the first."""
    backbone = timm.create_model(name, num_classes=0)
    found = layer_groups(backbone)
    parameters = [p for group in found for part in group for p in part.parameters(recurse=False)]
    assert sorted(map(id, parameters)) == sorted(map(id, backbone.parameters()))
    assert any(p is next(backbone.parameters()) for part in found[0] for p in part.parameters(recurse=False))
    assert len(found) > 5


def test_share_of_labels_on_digits(run):
    """A tenth of the labels, all layers; a row beside it from scratch; weights and the run's row are written."""
    result = ssl_registry.finetune(run, labels=0.1, epochs=2, learning_rate=3e-3, trainer=CPU)
    assert result.train == 130
    assert [(row.features, row.protocol) for row in result.rows] == [
        (features, protocol) for protocol in ("finetune 10 %", "probe 10 %") for features in ("trained", "untrained")
    ]
    assert re.search("points (over|under) a linear probe with the same labels", result.verdict)
    with safe_open(run / "finetuned-10.safetensors", "pt") as file:
        assert json.loads(file.metadata()[KEY])["classes"][0] == "0"
        assert {"head.weight", "backbone.stem.conv.weight"} <= set(file.keys())
    assert "finetune 10 %" in (run / "evaluations.jsonl").read_text()


@pytest.mark.slow  # fine-tunes four times
def test_seeds_and_last_layers(run, tmp_path):
    """One percent is one or two of each class; the spread is over seeds."""
    out = tmp_path / "weights.safetensors"
    result = ssl_registry.finetune(run, labels=0.01, layers=2, epochs=1, seeds=2, out=out, trainer=CPU)
    assert 10 <= result.train <= 20
    assert result.rows[0].metrics["accuracy"].std is not None
    assert result.rows[0].protocol == "finetune 1 %, last 2 layers"
    assert out.is_file()


@pytest.mark.parametrize("option", [{"labels": 0.0}, {"labels": 1.5}, {"seeds": 0}, {"layers": 1000}])
def test_wrong_options(run, option):
    """An option out of range is named."""
    with pytest.raises(ConfigError, match=next(iter(option))):
        ssl_registry.finetune(run, epochs=1, trainer=CPU, **option)


@pytest.mark.parametrize(("y", "message"), [(None, "no classes"), ([1] * 20, "one class only")])
def test_data_without_classes(run, tmp_path, y, message):
    """One line says what is missing."""
    x = np.zeros((20, 1, 16, 16), np.uint8)
    np.savez(tmp_path / "data.npz", X=x, **({} if y is None else {"y": np.array(y)}))
    with pytest.raises(DataError, match=message):
        ssl_registry.finetune(run, data=str(tmp_path / "data.npz"), trainer=CPU)


def test_full_disk_keeps_the_weights_of_before(run, tmp_path, small_disk):
    """One line tells it; no half of the new ones is left."""
    out = tmp_path / "weights.safetensors"
    out.write_text("of before")
    small_disk(5_000)
    with pytest.raises(SSLRegistryError, match=r"weights\.safetensors cannot be written"):
        ssl_registry.finetune(run, labels=0.1, epochs=1, out=out, trainer=CPU)
    assert out.read_text() == "of before"
    assert not list(tmp_path.glob("*.part"))
