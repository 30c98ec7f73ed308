"""`finetune`: a trained backbone goes on with few labels or all, beside the same network from scratch."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.utils.data import Subset

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.options import ReadOptions
from ssl_registry.data.sample_set import SampleSet, as_sample_set
from ssl_registry.errors import ConfigError, DataError
from ssl_registry.measures.features import collect_features, stream_features
from ssl_registry.measures.few_labels import check_labels, choose_labeled, labels_in_words, where_labels_are
from ssl_registry.measures.metrics import classification_metrics
from ssl_registry.measures.targets import labeled_only
from ssl_registry.runs.opened import RawNetwork, given_size, loading_workers, open_run
from ssl_registry.training.callbacks import DivergenceGuard
from ssl_registry.training.trainer import RunTrainer, told_refusals
from ssl_registry.workflows.evaluate.results import EvaluateResult, EvaluationRow, Score, record_evaluation
from ssl_registry.workflows.finetune.few_labels import read_labels, settings_for
from ssl_registry.workflows.finetune.module import FineTuning
from ssl_registry.workflows.finetune.start import fit_start
from ssl_registry.workflows.finetune.writing import make_record, place, write_finetuned
from ssl_registry.workflows.verdict import verdict_of_finetuning

__all__ = ["finetune", "fit_classifier"]

log = logging.getLogger(__name__)


def finetune(
    path: str | Path,
    *,
    data: str | Source | None = None,
    labels: float = 1.0,
    layers: int | None = None,
    epochs: int = 20,
    learning_rate: float = 1e-3,
    layer_decay: float = 0.75,
    weight_decay: float = 0.05,
    batch_size: int = 128,
    seeds: int = 1,
    out: str | Path | None = None,
    workers: int | None = None,
    backbone: str | nn.Module | None = None,
    network: str = "product",
    trust: bool = False,
    trainer: Mapping[str, Any] | None = None,
    registry: Registry = default_registry,
    **reading: Unpack[ReadOptions],
) -> EvaluateResult:
    """Train backbone and a linear head on labels, and measure them on the test part.

    The head begins as the linear probe of the frozen features; see `ssl_registry.workflows.finetune.start`.

    The same network is trained from its random weights beside it, with the same labels and settings; its head begins
    random too.

    Args:
        path: a run's folder, a checkpoint, or weights alone: an export, or a file of any toolbox.
        data: a source with classes, by name or a `Source`; default: the run's.
        labels: share of each class's training labels to use, at least one of each: 0.01, 0.1 and 1.0 are usual;
            or, above 1, so many of each class.
        layers: train only so many of the backbone's last layers, as timm counts them, and the head; None for all.
        epochs: passes over the labelled samples.
        learning_rate, layer_decay, weight_decay: see `FineTuning`.
        batch_size: samples a step, at most: with few labels a sixth of them.
        seeds: how many times, each with other labels, another head and another order.
        out: where the trained network of the first seed goes, as safetensors with keys ``backbone.`` and ``head.``;
            default ``finetuned-PERCENT.safetensors`` in the run, None without a run. `predict`, `export`, `embed` and
            `evaluate` open the file as they open a run.
        workers: processes that load samples; default as in training.
        backbone: the module that training was given from Python; of weights alone, a module or a name.
        network: ``product``, what the method's authors evaluate (DINO: the teacher's), or ``backbone``, what the
            gradient trained; of most methods they are the same. Of weights alone with several networks, a part of
            their names, such as ``teacher``.
        trust: run and fetch what the run's files name, such as the Python file of a network.
        trainer: arguments of Lightning's Trainer.
        registry: where the method is looked up.
        **reading: how the samples are read, where that is not as in training; see `ReadOptions`.

    Returns:
        Rows ``trained`` and ``untrained`` under the protocol's name, such as ``finetune 10 %``, and those of the linear
        probe before, such as ``probe 10 %``: logistic regression on the frozen features, same labels.

    Raises:
        CheckpointError, DataError, ConfigError, TrustError: for what cannot be opened, has no labels, or is out of
            range.
    """
    check_labels(labels)
    if seeds < 1 or epochs < 1:
        raise ConfigError(f"seeds={seeds} and epochs={epochs} must be at least 1")
    if not (0 < learning_rate < math.inf and 0 < layer_decay <= 1 and 0 <= weight_decay < math.inf):
        raise ConfigError(
            f"learning_rate={learning_rate} must be above 0, layer_decay={layer_decay} above 0 and at most 1, "
            f"weight_decay={weight_decay} at least 0"
        )
    size = given_size(data, reading.get("image_size"))
    pretrained = open_run(path, backbone=backbone, network=network, image_size=size, trust=trust, registry=registry)
    pretrained.require_unseen(reading.get("label_column"))
    source = pretrained.open_data(data, **reading)
    classes = _classes(source)
    networks = {"trained": pretrained.trained()}
    if (fresh := pretrained.untrained()) is not None:
        networks["untrained"] = fresh
    options = {
        "layers": layers,
        "learning_rate": learning_rate,
        "layer_decay": layer_decay,
        "weight_decay": weight_decay,
    }
    protocol = f"finetune {labels_in_words(labels)}" + ("" if layers is None else f", last {layers} layers")
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in networks}
    probed: dict[str, list[dict[str, float]]] = {name: [] for name in networks}
    file = place(out, pretrained.run, labels)
    targets = read_labels(source)
    for seed in range(seeds):
        chosen = choose_labeled(targets, labels, seed)
        for name, start in networks.items():
            model, figures, probe = fit_classifier(
                name,
                start,
                source,
                chosen,
                seed=seed,
                batch_size=batch_size,
                workers=workers,
                options=options,
                trainer={"max_epochs": epochs, **(trainer or {})},
            )
            measured[name].append(figures)
            probed[name].append(probe)
            log.info(
                f"{protocol}, seed {seed}, {name}: accuracy {figures['accuracy']:.3f} (linear probe on the features "
                f"before: {probe['accuracy']:.3f})"
            )
            if file is not None and (name, seed) == ("trained", 0):
                write_finetuned(model, file, make_record(pretrained, classes, labels, data, reading))
                log.info(
                    f"Fine-tuned network: {file}; classify with it: ssl-registry predict {file} --data SOURCE "
                    "--out predictions.csv"
                )
    rows = tuple(
        EvaluationRow(name, title, {key: Score.over([one[key] for one in values]) for key in values[0]})
        for title, found in ((protocol, measured), (f"probe {labels_in_words(labels)}", probed))
        for name, values in found.items()
    )
    test = _labeled(source.test)
    tuned, probing = (fmean(one["accuracy"] for one in found["trained"]) for found in (measured, probed))
    scratch = fmean(one["accuracy"] for one in measured["untrained"]) if fresh is not None else None
    said = verdict_of_finetuning(tuned, probing, scratch, test)
    result = EvaluateResult(
        pretrained.checkpoint, source.name, len(chosen), test, "classification", rows, seeds, verdict=said
    )
    return record_evaluation(result, pretrained.run)


def _labeled(part: SampleSet | None) -> int:
    """Return how many samples of a part have a label."""
    labels = None if part is None else part.labels
    return len(part or ()) if labels is None else int((labels >= 0).sum())


def _classes(source: Source) -> tuple[str, ...]:
    if source.classes is None or source.test is None:
        raise DataError(
            f"{source.name} has no classes with a test part; fine-tuning needs labels to train and test on: "
            + where_labels_are(source.modality)
        )
    if len(source.classes) < 2:
        raise DataError(f"{source.name} has one class only, {source.classes[0]}; fine-tuning needs two or more")
    return source.classes


def fit_classifier(
    name: str,
    network: RawNetwork,
    source: Source,
    chosen: Sequence[int],
    *,
    seed: int,
    batch_size: int,
    workers: int | None,
    options: Mapping[str, Any],
    trainer: Mapping[str, Any],
) -> tuple[FineTuning, dict[str, float], dict[str, float]]:
    """Train a copy of a network, and a head, on some labels.

    What nothing was learned by begins with a random head, and its BatchNorm gets the statistics of the labelled samples
    at the end. Measured (a tenth of the labels, 300 steps, one seed; from the probe's head, then so): activity
    recognition 79.0 and 91.1 % (of 1 %: 30.4 and 72.3), Fashion-MNIST 61.6 and 75.1 %, digits with a ResNet-50 59.8 and
    80.1 %.

    Args:
        name: ``trained``, or another for weights that nothing was learned by.
        network: where it starts.
        source: with classes and a test part.
        chosen: training samples whose labels are used.
        seed: of order and draws.
        batch_size, workers: as asked for; see `settings_for` for the first.
        options: of `FineTuning`.
        trainer: arguments of Lightning's Trainer.

    Returns:
        The trained model, its figures on the test part, and those of the linear probe of where it started.

    Raises:
        DataError: if it diverges.
    """
    assert source.classes is not None  # `_classes` looked
    classes = len(source.classes)
    suited = settings_for(source, len(chosen), batch_size)
    # Random weights have no statistics that are worth keeping, and no features that a head should begin with: fitted in
    # evaluation mode, it would be thrown away by the first step, which normalises by the batch.
    learned = name == "trained"
    options = {**options, "view": suited.view, "fixed_statistics": suited.fixed_statistics and learned}
    loaders = SSLDataModule(
        replace(source, train=as_sample_set(Subset(source.train, list(chosen)))),
        batch_size=suited.batch_size,
        num_workers=loading_workers(source, workers),
        seed=seed,
    )
    quiet = {
        "devices": 1,  # a few labels are no work for several
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
    }
    with torch.random.fork_rng():
        torch.manual_seed(loaders.seed)
        guard = DivergenceGuard()
        callbacks = trainer.get("callbacks") or []
        callbacks = [*(callbacks if isinstance(callbacks, list | tuple) else [callbacks]), guard]
        with told_refusals():
            fitted = RunTrainer(**{**quiet, **trainer, "callbacks": callbacks})
        network = copy.deepcopy(network)
        start = fit_start(network, classes, loaders, fitted.strategy.root_device, probe=learned)
        model = FineTuning(network.cpu(), start.head, **options)
        fitted.fit(model, loaders.train_dataloader())
    if guard.lost:
        raise DataError(f"fine-tuning the {name} network: {guard.message}; give a lower --learning-rate")
    device = fitted.strategy.root_device
    model.to(device).eval()
    if not learned and suited.batch_size > 1:
        model.settle_statistics(loaders.train_eval_dataloader())

    def outputs(x: Tensor) -> Tensor:
        scores: Tensor = model(model.view_policy.prepare(x))
        return scores

    logits, y = collect_features(stream_features([(outputs, device)], loaders.test_dataloader()))
    if y is None:
        raise DataError("the test part has no labels")
    logits, y = labeled_only(logits, y)
    assert y is not None
    return model, classification_metrics(logits.argmax(1), y, logits.softmax(1)), start.metrics
