"""A backbone to start from: what a run, a checkpoint or an export holds of it, without the method that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn

from ssl_registry._system.plain import first_problem, plain
from ssl_registry._system.small_files import read_json
from ssl_registry._system.trust import deed_of_backbone, require_trust
from ssl_registry.checkpoint.io import read_checkpoint
from ssl_registry.checkpoint.record import Arguments
from ssl_registry.errors import BackboneError, CheckpointError

__all__ = ["BackboneWeights", "ExportConfig", "ExportOrigin", "load_backbone_weights", "load_weights"]


# Arguments that the new data and its channels decide.
BY_DATA = ("num_classes", "in_chans", "img_size")


class ExportOrigin(BaseModel):
    """What an export says of where its weights come from, as far as reading it needs that."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    low_resolution: StrictBool = False


class ExportConfig(BaseModel):
    """``config.json`` of an export for timm, or of any folder that timm wrote.

    Args:
        architecture: timm's name of the network.
        model_args: further arguments of it.
        ssl_registry: what `ssl_registry.export` added.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    architecture: StrictStr
    model_args: Arguments = Field(default_factory=dict)
    ssl_registry: ExportOrigin = ExportOrigin()


@dataclass(frozen=True)
class BackboneWeights:
    """A backbone's weights, and what built it as far as that is known.

    Args:
        path: where they were read.
        weights: by the keys of the backbone's own state dict.
        backbone: its name, or None.
        low_resolution: whether it has the low-resolution stem; None if not known.
        kwargs: further arguments of the backbone.
    """

    path: Path
    weights: Mapping[str, Tensor]
    backbone: str | None = None
    low_resolution: bool | None = None
    kwargs: Mapping[str, Any] | None = None

    def check_trust(self, *, trust: bool) -> None:
        """Ask before ``backbone`` and ``kwargs`` are built; the weights alone need no trust.

        Raises:
            TrustError: if building them would run a file, or fetch or read something else.
        """
        require_trust([deed_of_backbone(self.backbone, self.kwargs)], where=self.path, trust=trust)


def load_backbone_weights(path: str | Path) -> BackboneWeights:
    """Read a run's folder, a checkpoint of any method, an export for timm, or a safetensors file with timm's keys.

    Of a run it is the network that the method's authors evaluate, its product. The method need not be installed.

    Raises:
        CheckpointError: if there is nothing of the kind, or it is damaged.
    """
    place = Path(path)
    try:
        file = place / "model.safetensors" if (place / "model.safetensors").is_file() else place
        exported = file.suffix == ".safetensors" and file.is_file()
    except OSError as error:  # a name of 300 letters
        raise CheckpointError(f"{place} cannot be read: {error.strerror}") from None
    if exported:
        return _from_export(file)
    checkpoint = read_checkpoint(place)
    prefix = f"{checkpoint.record.product}."
    weights = {key.removeprefix(prefix): v for key, v in checkpoint.state_dict.items() if key.startswith(prefix)}
    built = checkpoint.record.backbone
    return BackboneWeights(checkpoint.file, weights, built.name, built.low_resolution, built.kwargs)


def load_weights(module: nn.Module, origin: BackboneWeights) -> None:
    """Load every weight into a backbone of the same kind.

    Raises:
        BackboneError: if they do not fit, with the first difference.
    """
    own = module.state_dict()
    missing, more = sorted(own.keys() - origin.weights.keys()), sorted(origin.weights.keys() - own.keys())
    other = [key for key in own.keys() & origin.weights.keys() if own[key].shape != origin.weights[key].shape]
    if not (missing or more or other):
        module.load_state_dict(dict(origin.weights))
        return
    if other:
        key = sorted(other)[0]
        fact = f"{key} has shape {list(origin.weights[key].shape)} there and {list(own[key].shape)} here"
    else:
        fact = f"there is no {missing[0]} in it" if missing else f"it has {more[0]}, which this backbone has not"
    raise BackboneError(
        f"the weights of {origin.path} ({origin.backbone or 'backbone unknown'}) do not fit: {fact}; give the same "
        "--backbone, channels and stem that they were trained with"
    )


def _from_export(file: Path) -> BackboneWeights:
    try:
        weights = load_file(file)
    except Exception as error:  # the library raises several kinds for a damaged header
        raise CheckpointError(f"{file} cannot be read as safetensors; it is damaged ({error})") from error
    config = file.with_name("config.json")
    if not config.exists():
        return BackboneWeights(file, weights)
    try:
        facts = ExportConfig.model_validate(plain(read_json(config, error=CheckpointError)))
    except ValidationError as error:
        raise CheckpointError(f"{config} is not the configuration of an export: {first_problem(error)}") from None
    except ValueError as error:
        raise CheckpointError(f"{config} is not the configuration of an export: {error}") from None
    arguments = {key: value for key, value in facts.model_args.items() if key not in BY_DATA}
    return BackboneWeights(file, weights, facts.architecture, facts.ssl_registry.low_resolution, arguments)
