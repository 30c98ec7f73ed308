"""A network that `finetune` wrote, to the commands after training: opened as a run is, with its classifier."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ssl_registry._system.meant import what_was_meant
from ssl_registry._system.terminal import one_line
from ssl_registry._system.trust import deed_of_backbone, require_trust
from ssl_registry.checkpoint.finetuned import HEAD, FineTunedRecord, read_finetuned_record
from ssl_registry.checkpoint.weights import load_backbone_weights
from ssl_registry.discovery.entry_points import MethodInfo
from ssl_registry.errors import CheckpointError, ConfigError, SSLRegistryError
from ssl_registry.measures.few_labels import labels_in_words
from ssl_registry.model.assembly import assemble
from ssl_registry.model.backbones import BackboneSpec, own_backbone
from ssl_registry.model.module import SSLModule
from ssl_registry.model.reopen import no_larger_than
from ssl_registry.run_options import RunOptions
from ssl_registry.runs.bare import WeightsAlone
from ssl_registry.runs.contents import RunSettings

__all__ = ["Classifier", "find_finetuned", "open_finetuned", "with_head"]


@dataclass(frozen=True)
class Classifier:
    """What fine-tuning put behind a backbone.

    Args:
        head: maps features [batch, feature_dim] to a score for each class.
        classes: their names, in the order of the scores.
    """

    head: nn.Linear
    classes: tuple[str, ...]


def with_head(backbone: nn.Module, head: nn.Module) -> nn.Sequential:
    """Return backbone and head as one network: prepared samples [batch, ...] to scores [batch, classes]."""
    parts: dict[str, nn.Module] = {"backbone": backbone, "flatten": nn.Flatten(), "head": head}
    return nn.Sequential(OrderedDict(parts))


def find_finetuned(path: Path) -> Path:
    """Return the fine-tuned network that a path means: the file itself, or the only one in a run's folder.

    Raises:
        CheckpointError: if there is none, or a folder has several.
    """
    if not path.is_dir():
        return path
    found = [file for file in sorted(path.glob("*.safetensors")) if read_finetuned_record(file) is not None]
    if not found and not (path / "checkpoints").is_dir() and (meant := what_was_meant(path)):
        raise CheckpointError(f"{path} is no run, and has no classifier{meant}")
    if not found:
        raise CheckpointError(
            f"{path} has no classifier yet; train one on labels first: ssl-registry finetune {path} --labels 1"
        )
    if len(found) > 1:
        raise CheckpointError(f"{path} has several classifiers; give one of them: {', '.join(map(str, found))}")
    return found[0]


def open_finetuned(
    file: Path, record: FineTunedRecord, *, backbone: str | nn.Module | None, trust: bool
) -> tuple[SSLModule, Classifier, RunSettings]:
    """Build the backbone that a file describes, load its weights, and read its classifier.

    Args:
        file: that `ssl_registry.finetune` wrote.
        record: of the file.
        backbone: the module that training was given from Python; a name is refused, the file tells it.
        trust: let the record name what would be run or fetched.

    Raises:
        CheckpointError: if the file is damaged, or its backbone is a module that only Python knows.
        ConfigError: if a name is given.
        TrustError: without trust.
    """
    made = record.backbone
    if isinstance(backbone, str):
        raise ConfigError(f"{file} tells its network; leave --backbone out (backbone= in Python)")
    settings = _settings(file, record)
    given = isinstance(backbone, nn.Module)
    network: str | nn.Module
    if backbone is not None:
        network = backbone
    elif made.name is None and settings.names_a_file:
        network, given = settings.build_backbone(record.seed, trust=trust), True
    elif made.name is None:
        raise CheckpointError(f"{file} was trained on a module, {made.class_name}; build it and give it as backbone=")
    else:
        require_trust([deed_of_backbone(made.name, made.kwargs)], where=file, trust=trust)
        own = ".py:" in made.name
        network, given = (own_backbone(made.name, made.kwargs, record.seed), True) if own else (made.name, False)
    origin = load_backbone_weights(file)
    spec = BackboneSpec(
        network,
        input_shape=made.input_shape,
        weights=origin,
        low_resolution=made.low_resolution and not given,
        pooling=made.pooling,
        kwargs={} if given else made.kwargs,
    )
    summary = f"{record.method}, fine-tuned on labels: {labels_in_words(record.labels)}."
    info = MethodInfo(record.method, record.distribution, record.version, summary, "")
    try:
        with no_larger_than(file, origin.weights):
            model = assemble(
                WeightsAlone(),
                info,
                spec,
                overrides={},
                view_policy=record.view_policy,
                num_samples=None,
                observers=(),
                seed=record.seed,
            )
        return model, _classifier(file, record, model.feature_dim), settings
    except SSLRegistryError:
        raise
    except Exception as error:  # constructors raise nearly anything for arguments that do not fit
        problem = one_line(f"{type(error).__name__}: {error}")[:300]
        raise CheckpointError(f"{file} does not fit the network it describes: {problem}") from error


def _settings(file: Path, record: FineTunedRecord) -> RunSettings:
    """Return the record's data as the settings of a run."""
    values: dict[str, Any] = {"method": record.method, **record.data}
    known = {name: value for name, value in record.data.items() if name in RunOptions.model_fields}
    try:
        return RunSettings(file, record.method, RunOptions.model_validate({"data": None, **known}), values)
    except ValueError as error:
        raise CheckpointError(f"{file}: its record is damaged: {one_line(error)[:300]}; use another one") from None


def _classifier(file: Path, record: FineTunedRecord, feature_dim: int) -> Classifier:
    with safe_open(file, framework="pt") as opened:
        tensors: dict[str, Tensor] = {
            key.removeprefix(HEAD): opened.get_tensor(key)
            for key in opened.keys()  # noqa: SIM118  # it is no dict
            if key.startswith(HEAD)
        }
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    wanted = {"weight": (len(record.classes), feature_dim), "bias": (len(record.classes),)}
    if shapes != wanted or not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise CheckpointError(f"{file} is damaged: its head is no linear layer from {feature_dim} features to classes")
    with torch.random.fork_rng(devices=[]):
        head = nn.Linear(feature_dim, len(record.classes))
    head.load_state_dict(tensors)
    return Classifier(head.eval(), record.classes)
