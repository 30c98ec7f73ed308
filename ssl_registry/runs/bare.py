"""A file of weights alone, from this project or elsewhere, to the commands after training: opened as a run is."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ssl_registry._system.terminal import one_line
from ssl_registry.checkpoint.weights import BackboneWeights, load_backbone_weights
from ssl_registry.contract.config import MethodConfig
from ssl_registry.contract.hookspecs import hookimpl
from ssl_registry.data.images.decode import RGB_STATISTICS
from ssl_registry.discovery.entry_points import MethodInfo
from ssl_registry.errors import CheckpointError, ConfigError, SSLRegistryError
from ssl_registry.model.assembly import assemble
from ssl_registry.model.backbones import BackboneSpec
from ssl_registry.model.module import SSLModule
from ssl_registry.model.reopen import no_larger_than
from ssl_registry.views import ViewPolicy

__all__ = ["open_weights"]

log = logging.getLogger(__name__)


class WeightsAlone:
    """Stands for the method that trained a file of weights, which the file does not tell."""

    Config = MethodConfig

    def __init__(self) -> None:
        self.config = self.Config()

    @hookimpl
    def build_heads(self) -> dict[str, nn.Module]:
        """Return no head."""
        return {}

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Return one view that is the image itself."""
        return ViewPolicy.plain(image_size)

    @hookimpl
    def compute_loss(self) -> Tensor:
        """Refuse to train."""
        raise ConfigError("weights alone have no loss; train a method from them: ssl-registry train METHOD --from FILE")


def open_weights(
    path: Path, *, backbone: str | nn.Module | None, image_size: int | None, network: str | None, trust: bool
) -> SSLModule:
    """Put a file of weights into its backbone.

    Images are normalized as ``config.json`` beside the weights says, else by the mean and standard deviation of
    ImageNet, which every toolbox of self-supervised learning uses for photographs.

    Args:
        path: a file, or a folder with ``model.safetensors`` or ``pytorch_model.bin``.
        backbone: the network, by name or as a module; None where ``config.json`` tells it.
        image_size: side of the images; None for the one that the weights' or the network's configuration tells.
        network: which one, where there are several.
        trust: let ``config.json`` name what would be run or fetched.

    Raises:
        CheckpointError, BackboneError: if it cannot be read, or does not hold the backbone.
        ConfigError: if nothing tells the backbone.
        TrustError: without trust.
    """
    origin = load_backbone_weights(path, network)
    if origin.own:
        raise ConfigError(f"{origin.path} tells its network; leave --backbone out (backbone= in Python)")
    if backbone is None:
        if origin.backbone is None:
            raise ConfigError(
                f"{origin.path} holds weights and does not tell their network; give it: --backbone NAME, such as "
                "resnet50 (ssl-registry backbones lists them), backbone=NAME or a module in Python"
            )
        origin.check_trust(trust=trust)
    spec = _spec(origin, backbone, image_size, network)
    model = _assembled(origin, spec) if backbone is not None else _assembled_as_told(origin, spec)
    channels = model.input_shape[0]
    told = origin.preparation
    mean, std = (told.mean, told.std) if told.mean and told.std else RGB_STATISTICS
    if len(model.input_shape) == 3 and channels == len(mean) == len(std):
        model.view_policy = model.view_policy.model_copy(update={"mean": tuple(mean), "std": tuple(std)})
        whose = "its config.json" if told.mean and told.std else "ImageNet"
        log.info(f"images are normalized with mean and standard deviation of {whose}")
    return model


def _assembled(origin: BackboneWeights, spec: BackboneSpec) -> SSLModule:
    return assemble(
        WeightsAlone(),
        MethodInfo(f"weights of {one_line(origin.path.name)}", None, "", "Weights from a file.", ""),
        spec,
        overrides={},
        view_policy=None,
        num_samples=None,
        observers=(),
        seed=0,
    )


def _assembled_as_told(origin: BackboneWeights, spec: BackboneSpec) -> SSLModule:
    """Build what a file describes, which may be nothing that can be built, or more than fits into memory."""
    try:
        with no_larger_than(origin.path, origin.weights):
            return _assembled(origin, spec)
    except SSLRegistryError:
        raise
    except Exception as error:  # constructors raise nearly anything for arguments that do not fit
        problem = one_line(f"{type(error).__name__}: {error}")[:300]
        raise CheckpointError(
            f"{origin.path} does not fit the network that its config.json names: {problem}"
        ) from error


def _spec(
    origin: BackboneWeights, backbone: str | nn.Module | None, image_size: int | None, network: str | None
) -> BackboneSpec:
    size = origin.preparation.input_size
    shape: dict[str, Any] = {"image_size": image_size, "in_chans": origin.in_chans}
    if size is not None:
        shape = {"input_shape": size if image_size is None else (size[0], image_size, image_size)}
    spec = BackboneSpec(backbone or str(origin.backbone), weights=origin, weights_network=network, **shape)
    if backbone is None:
        spec = replace(spec, low_resolution=bool(origin.low_resolution), kwargs=dict(origin.kwargs or {}))
    return spec
