"""`evaluate`: a trained backbone beside its baselines, by every protocol asked for, as one typed result."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry._system.terminal import in_unicode
from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.loading.workers import workers_for_files
from ssl_registry.data.options import ReadOptions
from ssl_registry.errors import ConfigError, DataError, did_you_mean
from ssl_registry.measures.adam_probe import adam_probe
from ssl_registry.measures.boosting import boosting
from ssl_registry.measures.features import choose_devices, collect_features, replicate, stream_features
from ssl_registry.measures.few_labels import check_labels, choose_labeled, title_of, where_labels_are
from ssl_registry.measures.knn import knn_predict
from ssl_registry.measures.metrics import classification_metrics
from ssl_registry.measures.probe import linear_probe
from ssl_registry.measures.targets import check_targets, labeled_only
from ssl_registry.runs.opened import OpenedRun, RawNetwork, given_size, loading_workers, open_run
from ssl_registry.workflows.evaluate.baselines import supervised
from ssl_registry.workflows.evaluate.classifier import judge_classifier
from ssl_registry.workflows.evaluate.dense import DENSE, segment
from ssl_registry.workflows.evaluate.features_cache import cache_folder, cached, features_key
from ssl_registry.workflows.evaluate.kept_rows import kept_row
from ssl_registry.workflows.evaluate.results import EvaluateResult, EvaluationRow, Score, record_evaluation
from ssl_registry.workflows.evaluate.started import RawInput, start_of
from ssl_registry.workflows.evaluate.verdict_of_rows import verdict_of_rows

__all__ = ["PROTOCOLS", "evaluate"]

log = logging.getLogger(__name__)

PROTOCOLS = ("knn", "linear", "sgd", "adam", *DENSE)
# What is usual for the columns of a table, which beside them alone is measured.
BOOSTING = "boosting"
# On the raw input, which has no seeds of its own worth the time; a linear map of more numbers than these (20,000 images
# of CIFAR's size) takes minutes.
RAW_PROTOCOLS, MOST_RAW = ("knn", "linear", BOOSTING), 60_000_000


def evaluate(
    path: str | Path,
    *,
    data: str | Source | None = None,
    protocols: Sequence[str] = ("knn", "linear"),
    k: int = 20,
    temperature: float = 0.1,
    seeds: int = 3,
    labels: Sequence[float] = (1.0,),
    batch_size: int = 256,
    workers: int | None = None,
    devices: str | Sequence[str] | None = None,
    cache: bool = True,
    backbone: str | nn.Module | None = None,
    network: str = "product",
    trust: bool = False,
    registry: Registry = default_registry,
    **reading: Unpack[ReadOptions],
) -> EvaluateResult:
    """Measure a trained backbone on labelled data, beside the untrained one, the raw input and timm's supervised one.

    Of a run that began with weights (``--from``) these are measured too, as ``start``.

    Features are computed once for each backbone, without augmentation, and kept on the disk (see
    `ssl_registry.workflows.evaluate.features_cache`). timm's supervised weights are used where they lie on this
    machine already.

    Args:
        path: a run's folder, a checkpoint, or weights alone: an export, or a file of any toolbox.
        data: a source with labels, by name or a `Source`; default: what the run was trained on, with its hold-out.
        protocols: of ``knn``, ``linear`` (logistic regression with a sweep), ``sgd`` (the papers' linear
            evaluation) and ``adam`` (that of LFR on signals); see `knn_predict`, `linear_probe` and `adam_probe`. Or of
            ``knn-segmentation`` and ``linear-segmentation``, on patch tokens and a folder of images and masks; see
            `ssl_registry.measures.segmentation` and `ssl_registry.data.images.masks`.
        k, temperature: of k-NN.
        seeds: how many times a probe is fitted, with another validation part each; k-NN draws nothing.
        labels: how many training labels the protocols see, one after the other: shares of each class, such as 0.01, 0.1
            and 1, or above 1 so many of each class. Each seed draws others. Rows of fewer than all have a protocol such
            as ``linear 10 %``.
        batch_size: samples a batch.
        workers: processes that load samples; default as in training.
        devices: such as ``"cuda:0,cuda:1"``; default: all GPUs, or the CPU. Batches are shared out among them.
        cache: keep features, and what each protocol says of them, so that a stopped evaluation goes on where it was;
            patch tokens are not kept.
        backbone: the module that training was given from Python; of weights alone, a module or a name.
        network: ``product``, what the method's authors evaluate (DINO: the teacher's), or ``backbone``, what the
            gradient trained; of most methods they are the same. Of weights alone with several networks, a part of
            their names, such as ``teacher``.
        trust: run and fetch what the run's files name, such as the Python file of a network.
        registry: where the method is looked up.
        **reading: how the samples are read, where that is not as in training; see `ReadOptions`.

    Returns:
        A row for each backbone and protocol, and of the columns of a table one for ``boosting``, scikit-learn's
        histogram gradient boosting; of what `ssl_registry.finetune` wrote also one for its own classifier, under the
        protocol ``classifier``. In a run's folder they are added to ``evaluations.jsonl`` too.

    Raises:
        CheckpointError, DataError, ConfigError, TrustError: for what cannot be opened, or has no labels or test part.
    """
    _check(protocols, seeds)
    for amount in labels:
        check_labels(amount)
    image_size = reading.get("image_size")
    size = given_size(data, image_size)
    pretrained = open_run(path, backbone=backbone, network=network, image_size=size, trust=trust, registry=registry)
    if any(protocol in DENSE for protocol in protocols):
        if set(labels) != {1.0}:
            raise ConfigError(f"labels={list(labels)} counts labels of samples, and segmentation has those of pixels")
        return _segmentation(
            pretrained,
            _masks_folder(data, protocols, reading),
            protocols,
            image_size=image_size,
            k=k,
            temperature=temperature,
            seeds=seeds,
            batch_size=batch_size,
            workers=workers,
            devices=choose_devices(devices),
        )
    pretrained.require_unseen(reading.get("label_column"))
    source = pretrained.open_data(data, **reading)
    if source.classes is None and source.task == "classification":
        raise DataError(f"{source.name} has no labels; evaluation needs some: {where_labels_are(source.modality)}")
    if source.test is None:
        raise DataError(f"{source.name} has no test part, and none could be held out; give each class two samples")
    if source.task != "classification" and set(labels) != {1.0}:
        raise ConfigError(
            f"labels={list(labels)} takes a part of each class; {source.name} has targets for {source.task}"
        )
    # k-NN votes for classes alone.
    asked = [protocol for protocol in protocols if protocol != "knn" or source.task == "classification"]
    if not asked:
        raise ConfigError(
            f"{source.name} has targets for {source.task}, which k-NN cannot vote for; add linear, sgd or adam"
        )
    networks, notes = _networks(pretrained)
    log.info(f"{pretrained.name} on {source.name}")
    for note in (*source.notes, *notes):
        log.info(note)
    used = choose_devices(devices)
    folder = cache_folder() if cache else None
    loaders = SSLDataModule(source, batch_size=batch_size, num_workers=loading_workers(source, workers))
    rows: list[EvaluationRow] = []
    compared: dict[str, nn.Module] = {**networks, "raw": RawInput()}
    is_table = source.modality == "table" and source.task == "classification"
    of_raw = [*asked, BOOSTING] if is_table and "linear" in asked else asked
    for name, measured in compared.items():
        x, y = _features(measured, source.train, loaders.train_eval_dataloader(), used, folder)
        x_test, y_test = _features(measured, source.test, loaders.test_dataloader(), used, folder)
        x, y = labeled_only(x, y)
        x_test, y_test = labeled_only(x_test, y_test)
        _, y = check_targets(x, y, part="training")
        _, y_test = check_targets(x_test, y_test, part="test")
        for protocol in of_raw if name == "raw" else asked:
            if name == "raw" and (protocol not in RAW_PROTOCOLS or (protocol != "knn" and x.numel() > MOST_RAW)):
                continue
            for amount in labels:
                times = 1 if name == "raw" and amount == 1 else seeds
                parts = (x, y, x_test, y_test)
                about: tuple[Any, ...] = (protocol, k, temperature) if protocol == "knn" else (protocol, times)
                about = about if amount == 1 else (*about, times, amount)
                metrics = kept_row(
                    folder, about, parts, partial(_measure, protocol, parts, k, temperature, times, used[0], amount)
                )
                title = title_of(protocol, amount)
                rows.append(EvaluationRow(name, title, metrics))
                first, score = next(iter(metrics.items()))
                log.info(f"{name}, {title}: {first.replace('_', ' ')} {score.mean:.3f}")
    if (classifier := pretrained.classifier) is not None and source.classes is not None:
        scores, truth = _features(
            pretrained.predicting(classifier), source.test, loaders.test_dataloader(), used, folder
        )
        rows.append(EvaluationRow("trained", "classifier", judge_classifier(scores, truth, source.classes, classifier)))
    result = EvaluateResult(
        pretrained.checkpoint, source.name, len(x), len(x_test), source.task, tuple(rows), seeds, tuple(notes)
    )
    result = replace(result, verdict=verdict_of_rows(result, pretrained))
    return record_evaluation(result, pretrained.run)


def _masks_folder(data: str | Source | None, protocols: Sequence[str], reading: ReadOptions) -> Path:
    """Return the folder of images and masks; everything else that says where samples come from says nothing of them."""
    if others := [protocol for protocol in protocols if protocol not in DENSE]:
        raise ConfigError(
            f"{', '.join(others)} measures classes of images and {', '.join(DENSE)} classes of pixels; evaluate twice, "
            "each with its own data"
        )
    if not isinstance(data, str):
        came = "a Source" if data is not None else "none"
        raise ConfigError(f"{', '.join(protocols)} needs a folder of images and masks, not {came}; give --data FOLDER")
    if given := [name for name, value in reading.items() if value and name != "image_size"]:
        raise ConfigError(f"{given[0]} says nothing of a folder of images and masks; leave it out")
    return Path(data).expanduser()


def _segmentation(
    pretrained: OpenedRun,
    folder: Path,
    protocols: Sequence[str],
    *,
    image_size: int | None,
    seeds: int,
    workers: int | None,
    **arguments: Any,
) -> EvaluateResult:
    networks, notes = _networks(pretrained)
    log.info(f"{pretrained.name} on {folder}")
    found = segment(
        networks,
        folder,
        protocols,
        image_size=image_size or pretrained.model.input_shape[-1],
        seeds=seeds,
        workers=workers if workers is not None else workers_for_files(),
        **arguments,
    )
    notes += found.notes
    for note in notes:
        log.info(note)
    name = in_unicode(folder.resolve().name)
    task: Literal["segmentation"] = "segmentation"
    result = EvaluateResult(pretrained.checkpoint, name, found.train, found.test, task, found.rows, seeds, tuple(notes))
    return record_evaluation(result, pretrained.run)


def _check(protocols: Sequence[str], seeds: int) -> None:
    for protocol in protocols:
        if protocol not in PROTOCOLS:
            hint = did_you_mean(protocol, PROTOCOLS)
            raise ConfigError(f"there is no protocol {protocol!r}.{hint} There are: {', '.join(PROTOCOLS)}")
    if not protocols or seeds < 1:
        raise ConfigError(f"give at least one protocol and one seed, not {list(protocols)} and {seeds}")


def _networks(pretrained: OpenedRun) -> tuple[dict[str, RawNetwork], list[str]]:
    """Return the backbones to measure by name, and sentences about what is missing."""
    trained, untrained = pretrained.trained(), pretrained.untrained()
    networks = {"trained": trained}
    notes = []
    begun = start_of(pretrained)
    if isinstance(begun, str):
        notes.append(begun)
    elif begun is not None:
        networks["start"] = begun
    if untrained is None:
        notes.append("no untrained baseline: the backbone is a module that only its own process can build")
    else:
        networks["untrained"] = untrained
    found = supervised(pretrained.model.backbone_record, trained)
    if isinstance(found, str):
        notes.append(found)
    else:
        networks["supervised"] = found
    return networks, notes


def _features(
    network: nn.Module, dataset: Any, loader: Any, devices: Sequence[torch.device], folder: Path | None
) -> tuple[Tensor, Tensor | None]:
    """Return features and targets of a part, from the cache if they are there."""
    key = features_key(network, getattr(network, "view_policy", None), dataset)
    x, y = cached(folder, key, lambda: collect_features(stream_features(replicate(network, devices), loader)))
    # Numbers to predict, in the features' precision.
    return x, y.float() if y is not None and y.is_floating_point() else y


def _measure(
    protocol: str,
    parts: tuple[Tensor, Tensor, Tensor, Tensor],
    k: int,
    temperature: float,
    seeds: int,
    device: torch.device,
    labels: float,
) -> dict[str, Score]:
    x, y, x_test, y_test = parts
    found = []
    # k-NN draws nothing, where it has all labels.
    for seed in range(1 if protocol == "knn" and labels == 1 else seeds):
        chosen = slice(None) if labels == 1 else choose_labeled(y.cpu(), labels, seed)
        seen = (x[chosen], y[chosen], x_test, y_test)
        if protocol == "knn":
            # More neighbours than a class has labels are neighbours of other classes.
            near = min(k, int(labels)) if labels > 1 else k
            predictions = knn_predict(seen[0], seen[1], x_test, k=near, temperature=temperature)
            found.append(classification_metrics(predictions, y_test))
        elif protocol == BOOSTING:
            found.append(boosting(*seen, seed=seed))
        elif protocol == "adam":
            found.append(adam_probe(*seen, seed=seed, device=device))
        else:
            by: Literal["logistic", "sgd"] = "sgd" if protocol == "sgd" else "logistic"
            found.append(linear_probe(*seen, protocol=by, seed=seed, device=device).metrics)
    return {name: Score.over([metrics[name] for metrics in found]) for name in found[0]}
