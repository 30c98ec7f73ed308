"""A backbone to start from: what a run, a checkpoint, an export or a file from elsewhere holds of it.

The method that made it need not be installed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn

from ssl_registry._system.plain import first_problem, plain
from ssl_registry._system.small_files import read_json
from ssl_registry._system.terminal import one_line
from ssl_registry._system.trust import deed_of_backbone, require_trust
from ssl_registry.checkpoint.finetuned import BACKBONE, read_finetuned_record
from ssl_registry.checkpoint.foreign import MEND, find_backbone
from ssl_registry.checkpoint.io import checkpoint_of, find_checkpoint
from ssl_registry.checkpoint.record import RECORD_KEY, Arguments, SampleShape
from ssl_registry.checkpoint.tensors import read_content, tensors_by_name
from ssl_registry.errors import BackboneError, CheckpointError

__all__ = [
    "BackboneWeights",
    "ExportConfig",
    "ExportOrigin",
    "Preparation",
    "find_weights",
    "is_foreign",
    "load_backbone_weights",
    "load_weights",
]


log = logging.getLogger(__name__)

# How folders of the Hugging Face hub call their weights.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
# Arguments that the new data and its channels decide.
BY_DATA = ("num_classes", "in_chans", "img_size")


class ExportOrigin(BaseModel):
    """What an export says of where its weights come from, as far as reading it needs that."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    low_resolution: StrictBool = False


class Preparation(BaseModel):
    """How images are brought to a network, as timm writes it: ``pretrained_cfg``.

    Args:
        input_size: (channels, height, width).
        mean, std: of each channel, of images in [0, 1].
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    input_size: Annotated[SampleShape, Field(min_length=3)] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None


class ExportConfig(BaseModel):
    """``config.json`` of an export for timm, or of any folder that timm wrote.

    Args:
        architecture: timm's name of the network.
        model_args: further arguments of it.
        pretrained_cfg: how inputs are prepared.
        ssl_registry: what `ssl_registry.export` added.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    architecture: StrictStr
    model_args: Arguments = Field(default_factory=dict)
    pretrained_cfg: Preparation = Preparation()
    ssl_registry: ExportOrigin = ExportOrigin()


@dataclass(frozen=True)
class BackboneWeights:
    """A backbone's weights, and what built it as far as that is known.

    Args:
        path: where they were read.
        weights: of a run or a checkpoint of this project by the keys of the backbone's own state dict, else by the
            names that the file has, with whatever stands before them.
        backbone: its name, or None.
        low_resolution: whether it has the low-resolution stem; None if not known.
        kwargs: further arguments of the backbone.
        preparation: of images.
        own: whether this project's record tells which of the file's tensors these are.
    """

    path: Path
    weights: Mapping[str, Tensor]
    backbone: str | None = None
    low_resolution: bool | None = None
    kwargs: Mapping[str, Any] | None = None
    preparation: Preparation = field(default_factory=Preparation)
    own: bool = False

    @property
    def in_chans(self) -> int | None:
        """How many channels the first convolution of the file takes; None where it has none."""
        return None if self._stem is None else self._stem[1]

    @property
    def has_small_stem(self) -> bool:
        """Whether the first convolution of the file is 3x3: of a ResNet, the low-resolution stem."""
        return self._stem is not None and self._stem[2:] == (3, 3)

    @property
    def _stem(self) -> tuple[int, ...] | None:
        return next((tuple(value.shape) for value in self.weights.values() if value.ndim == 4), None)

    def check_trust(self, *, trust: bool) -> None:
        """Ask before ``backbone`` and ``kwargs`` are built; the weights alone need no trust.

        Raises:
            TrustError: if building them would run a file, or fetch or read something else.
        """
        require_trust([deed_of_backbone(self.backbone, self.kwargs)], where=self.path, trust=trust)


def load_backbone_weights(path: str | Path, network: str | None = None) -> BackboneWeights:
    """Read a run's folder, a checkpoint of any method, an export for timm, or a file of weights of any toolbox.

    Of a run it is the network that the method's authors evaluate, its product. The method need not be installed.

    Args:
        path: a folder, or a file that torch or safetensors wrote.
        network: of a run ``product`` (None too) or ``backbone``; for other files see `load_weights`.

    Raises:
        CheckpointError: if there is nothing of the kind, or it is damaged.
        BackboneError: if a run has no such network.
    """
    file = find_weights(Path(path))
    if file.suffix == ".safetensors":
        tuned = read_finetuned_record(file)
        found = _read_safetensors(file)
        if tuned is None:
            return _described(file, found)
        own = {key.removeprefix(BACKBONE): value for key, value in found.items() if key.startswith(BACKBONE)}
        made = tuned.backbone
        return BackboneWeights(file, own, made.name, made.low_resolution, made.kwargs, own=True)
    content, left_out = read_content(file)
    if not (isinstance(content, dict) and RECORD_KEY in content):
        if left_out:
            log.info(f"{file}: objects left unread: {one_line(', '.join(left_out))[:200]}")
        return _described(file, tensors_by_name(content, file, left_out))
    if left_out:
        raise CheckpointError(f"{file} is damaged: it holds code, which is refused ({one_line(left_out[0])[:200]})")
    if network not in (None, "product", "backbone"):
        raise BackboneError(f"{file} has no network {network!r}; of a checkpoint of ssl-registry: product or backbone")
    checkpoint = checkpoint_of(file, content)
    prefix = "backbone." if network == "backbone" else f"{checkpoint.record.product}."
    weights = {key.removeprefix(prefix): v for key, v in checkpoint.state_dict.items() if key.startswith(prefix)}
    built = checkpoint.record.backbone
    return BackboneWeights(file, weights, built.name, built.low_resolution, built.kwargs, own=True)


def find_weights(path: Path) -> Path:
    """Return the file that a path means: itself, the weights of an export, or a run's last checkpoint.

    Raises:
        CheckpointError: if there is none.
    """
    try:
        inside = [path / name for name in WEIGHT_FILES if (path / name).is_file()]
    except OSError as error:  # a name of 300 letters
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    return inside[0] if inside else find_checkpoint(path)


def is_foreign(file: Path) -> bool:
    """Tell whether a file that is no checkpoint of this project can be read as another toolbox's."""
    try:
        content, _ = read_content(file)
    except CheckpointError:
        return False
    return not (isinstance(content, dict) and RECORD_KEY in content)


def load_weights(module: nn.Module, origin: BackboneWeights, network: str | None = None) -> None:
    """Load every weight of a backbone; of a file from elsewhere, log in one line what was loaded and what was left.

    Args:
        module: the backbone.
        origin: what was read.
        network: part of the names, such as ``teacher``, where a file from elsewhere has several networks.

    Raises:
        BackboneError: if less than the whole backbone is there, with the first differences, or several networks are.
    """
    shown = f"the weights of {origin.path} ({origin.backbone or 'backbone unknown'}) do not fit"
    try:
        found = find_backbone(module, origin.weights, None if origin.own or network == "product" else network)
    except BackboneError as error:
        raise BackboneError(f"{shown}: {error}") from None
    if origin.own and found.left:
        raise BackboneError(f"{shown}: it has {one_line(next(iter(found.left)))}, which this backbone has not; {MEND}")
    module.load_state_dict(dict(found.weights), strict=not found.missing)
    if not origin.own:
        log.info(f"{origin.path}: {found}")


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = load_file(file)
    except Exception as error:  # the library raises several kinds for a damaged header
        raise CheckpointError(
            f"{file} cannot be read as safetensors; it is damaged ({one_line(error)[:300]})"
        ) from error
    return tensors_by_name(weights, file)


def _described(file: Path, weights: Mapping[str, Tensor]) -> BackboneWeights:
    """Add what ``config.json`` beside an export or in a folder of the hub says."""
    config = file.with_name("config.json")
    if not (file.suffix == ".safetensors" or file.name in WEIGHT_FILES) or not config.exists():
        return BackboneWeights(file, weights)
    try:
        values = plain(read_json(config, error=CheckpointError))
        if isinstance(values, dict) and "architecture" not in values:  # of another library than timm
            return BackboneWeights(file, weights)
        facts = ExportConfig.model_validate(values)
    except ValidationError as error:
        raise CheckpointError(f"{config} is not the configuration of an export: {first_problem(error)}") from None
    except ValueError as error:
        raise CheckpointError(f"{config} is not the configuration of an export: {error}") from None
    arguments = {key: value for key, value in facts.model_args.items() if key not in BY_DATA}
    return BackboneWeights(
        file, weights, facts.architecture, facts.ssl_registry.low_resolution, arguments, facts.pretrained_cfg
    )
