"""Backbones: a timm name or an ``nn.Module`` becomes a module that maps a sample to a feature vector."""

from __future__ import annotations

import fnmatch
import logging
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ssl_registry._system.hub import hub_asked_once
from ssl_registry._system.plain import is_plain
from ssl_registry._system.python_files import load_object
from ssl_registry._system.trust import WEIGHT_SOURCES
from ssl_registry._version import __version__
from ssl_registry.checkpoint.fit import CLASSIFIERS
from ssl_registry.checkpoint.record import BackboneRecord
from ssl_registry.errors import BackboneError, did_you_mean
from ssl_registry.model.encoders import ENCODER_MODALITIES, ENCODERS
from ssl_registry.model.feature_dim import FeaturePool, measure
from ssl_registry.model.stems import has_small_stem, open_residual_branches, use_small_stem
from ssl_registry.nn.tokens import has_method, is_plain_transformer

if TYPE_CHECKING:
    from ssl_registry.checkpoint.weights import BackboneWeights

__all__ = [
    "Backbone",
    "BackboneSpec",
    "FeaturePool",
    "check_view_shapes",
    "create_backbone",
    "find_classifier",
    "has_tokens",
    "is_timm_name",
    "list_backbones",
    "own_backbone",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backbone:
    """A built backbone.

    Args:
        module: maps [batch, *input_shape] to [batch, feature_dim]; a plain timm module for a timm name.
        feature_dim: the measured width.
        input_shape: of one sample.
        record: what rebuilds it; its ``name`` is None for a user's own module.
    """

    module: nn.Module
    feature_dim: int
    input_shape: tuple[int, ...]
    record: BackboneRecord


@dataclass(frozen=True)
class BackboneSpec:
    """The arguments of `Registry.create` that describe a backbone; see there.

    ``low_resolution`` of None is decided by `ssl_registry.model.stems.has_small_stem`. What rebuilds a network from a
    record gives what the record says.
    """

    backbone: str | nn.Module
    image_size: int | None = None
    in_chans: int | None = None
    input_shape: tuple[int, ...] | None = None
    pretrained: bool = False
    weights: str | Path | BackboneWeights | None = None
    weights_network: str | None = None
    low_resolution: bool | None = None
    pooling: str = "avg"
    kwargs: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Backbone:
        """Build the module and measure its width.

        Raises:
            BackboneError: for an unknown name, arguments that do not fit, or an output that is no feature.
        """
        if self.pooling not in ("avg", "flatten"):
            raise BackboneError(f"pooling={self.pooling!r} is not known; use 'avg' or 'flatten'")
        if self.input_shape is not None and (self.image_size is not None or self.in_chans is not None):
            raise BackboneError("give input_shape, or image_size and in_chans, not both")
        for word, number in (("image_size", self.image_size), ("in_chans", self.in_chans)):
            if number is not None and (not isinstance(number, int) or number < 1):
                raise BackboneError(f"{word}={number!r} must be a whole number of at least 1")
        if self.input_shape is not None and not (
            1 <= len(self.input_shape) <= 3 and all(isinstance(n, int) and n > 0 for n in self.input_shape)
        ):
            raise BackboneError(
                f"input_shape={self.input_shape} is not a sample's shape: (channels, height, width), "
                "(channels, time) or (features,)"
            )
        if isinstance(self.backbone, nn.Module):
            module, shape = self.backbone, self._shape_for_module(self.backbone)
        elif self.backbone not in ENCODERS.own and is_timm_name(self.backbone):
            module, shape = self._build_timm(self.backbone)
        else:
            module, shape = self._build_encoder(self.backbone)
        origin = self._origin()
        small_stem = self.low_resolution
        if small_stem is None:
            small_stem = has_small_stem(self.backbone, shape, self.kwargs, pretrained=self.pretrained, weights=origin)
        if small_stem:
            use_small_stem(module)
        module, feature_dim = measure(module, shape, self.pooling)
        inner = module.module if isinstance(module, FeaturePool) else module
        if origin is not None:
            from ssl_registry.checkpoint.weights import load_weights

            # A checkpoint of ours has the names of the whole, pooling and all; a file from elsewhere, of the network.
            load_weights(module if origin.own else inner, origin, self.weights_network)
        if classifier := find_classifier(inner, feature_dim):
            timms = hasattr(inner, "reset_classifier")
            mend = "reset_classifier(0)" if timms else f"{classifier} = torch.nn.Identity()"
            log.warning(
                f"the backbone {type(inner).__name__} ends in a classifier, {classifier}, whose {feature_dim} outputs "
                f"become the features; for the features before it: backbone.{mend}"
            )
        return Backbone(module, feature_dim, shape, self._record(shape, small_stem=small_stem))

    def _origin(self) -> BackboneWeights | None:
        """Read the weights to start from, which tell their stem."""
        from ssl_registry.checkpoint.weights import BackboneWeights, load_backbone_weights

        if self.weights is None or isinstance(self.weights, BackboneWeights):
            return self.weights
        return load_backbone_weights(self.weights, self.weights_network)

    def _record(self, shape: tuple[int, ...], *, small_stem: bool) -> BackboneRecord:
        # A record rebuilds the architecture; the weights are beside it.
        kwargs = {key: value for key, value in self.kwargs.items() if key not in WEIGHT_SOURCES}
        rest: dict[str, Any] = {
            "input_shape": shape,
            "low_resolution": small_stem,
            "pooling": self.pooling,
        }
        if isinstance(self.backbone, str) and is_plain(kwargs):
            return BackboneRecord(name=self.backbone, kwargs=kwargs, **rest)
        # A module, or a name with arguments that no file can hold, such as a class: the user alone builds it again.
        cls = type(self.backbone)
        own = self.backbone if isinstance(self.backbone, str) else f"{cls.__module__}.{cls.__qualname__}"
        return BackboneRecord(name=None, class_name=own, **rest)

    def _shape_for_module(self, module: nn.Module) -> tuple[int, ...]:
        """The sample's shape for a user's module: as told, else what a timm module says of itself."""
        if self.pretrained or self.kwargs:
            raise BackboneError("pretrained and backbone_kwargs belong to timm names; you gave a module, build it so")
        if self.input_shape is not None:
            return self.input_shape
        made_for = (getattr(module, "pretrained_cfg", None) or {}).get("input_size")
        size = self.image_size or (made_for and made_for[-1])
        if not size:
            raise BackboneError(
                f"{type(module).__name__} does not tell what it takes; add image_size=224 for images, or "
                "input_shape=(channels, time) for signals, input_shape=(features,) for tables"
            )
        return (self.in_chans or (made_for[0] if made_for else 3), size, size)

    def _build_encoder(self, name: str) -> tuple[nn.Module, tuple[int, ...]]:
        encoder = ENCODERS.get(name)
        if encoder is None:
            near = did_you_mean(name, list_backbones())
            raise BackboneError(f"there is no backbone {name!r}.{near} List them: ssl-registry backbones 'resnet*'")
        shape = self.input_shape
        if shape is None and self.image_size is not None:
            shape = (self.in_chans or 3, self.image_size, self.image_size)
        if shape is None:
            raise BackboneError(
                f"{name} is built for samples of one shape; give input_shape=(channels, time) for signals, "
                "input_shape=(features,) for tables, or image_size for images"
            )
        if self.pretrained:
            raise BackboneError(f"{name} has no pretrained weights; leave pretrained out")
        module = _call(encoder, name, input_shape=shape, **self.kwargs)
        if not isinstance(module, nn.Module):
            raise BackboneError(f"the encoder {name} gives a {type(module).__name__}, not an nn.Module")
        return module, shape

    def _build_timm(self, name: str) -> tuple[nn.Module, tuple[int, ...]]:
        import timm

        if self.input_shape is not None and len(self.input_shape) != 3:
            encoder = "signal_encoder" if len(self.input_shape) == 2 else "table_encoder"
            raise BackboneError(
                f"{name} takes images, not samples of shape {self.input_shape}; use backbone={encoder!r} or a module"
            )
        if "pretrained" in self.kwargs:
            raise BackboneError("give pretrained as an option of its own, not inside backbone_kwargs")
        for key in ("pretrained_cfg", "pretrained_cfg_overlay"):
            # timm takes what fits of such a file without its classifier, be it nothing, and says so to nobody.
            if isinstance(told := self.kwargs.get(key), dict) and told.get("file"):
                raise BackboneError(
                    f"{key} names a file of weights; give it as weights={told['file']!r} (train --from)"
                )
        config = None if ":" in name else timm.models.get_pretrained_cfg(name)
        made_for = (config.input_size if config else None) or (3, 224, 224)
        if self.input_shape is not None:
            shape = self.input_shape
        else:
            size = self.image_size or made_for[-1]
            shape = (self.in_chans or made_for[0], size, size)
        arguments: dict[str, Any] = {"num_classes": 0, "in_chans": shape[0], **self.kwargs}
        # Only models whose weights depend on the image's size (ViT, Swin, ...) take it as an argument.
        if config is not None and config.fixed_input_size and shape[1:] != tuple(made_for[1:]):
            arguments.setdefault("img_size", shape[1:])
        if self.pretrained:
            return _fetched(name, arguments), shape
        module = _call(timm.create_model, name, name, **arguments)
        if "zero_init_last" not in self.kwargs:
            open_residual_branches(module)
        return module, shape


def create_backbone(
    name: str,
    input_shape: tuple[int, ...],
    *,
    pretrained: bool = False,
    weights: str | Path | None = None,
    weights_network: str | None = None,
) -> Backbone:
    """Build a second backbone, such as a teacher, for a method's `build_heads`.

    Args:
        name: of timm's, or of a plugin's encoder; none that is fetched (``hf-hub:...``) or that runs a file.
        input_shape: of one sample, as `build_heads` gets it. A network of one image size is built for this one.
        pretrained: whether it has timm's own weights, which timm fetches. A reopened checkpoint has the weights itself:
            give this in `on_fit_start`, not in `build_heads`.
        weights: a run's folder, a checkpoint, an export or a file of weights of any toolbox, as in `Registry.create`.
            None of them runs code.
        weights_network: which of the file's networks, where it has several.

    Returns:
        The network and its width.

    Raises:
        BackboneError: for an unknown name, weights that do not fit, or both kinds of weights.
        CheckpointError: if there are no such weights, or they are damaged.

    Example:
        >>> create_backbone("test_resnet", (3, 32, 32)).feature_dim
        96
    """
    if ":" in name:
        raise BackboneError(f"{name!r} would be fetched or run; give a name that timm knows, and a file of weights")
    if pretrained and weights is not None:
        raise BackboneError(f"give pretrained or weights={str(weights)!r}, not both")
    spec = BackboneSpec(name, input_shape=input_shape, pretrained=pretrained, weights=weights)
    # One stem with weights and without: a checkpoint is opened without.
    return replace(spec, weights_network=weights_network, low_resolution=False).build()


def _call(factory: Any, name: str, /, *args: Any, **kwargs: Any) -> nn.Module:
    """Build a model; what its constructor says against the arguments becomes an error with the name."""
    try:
        module: nn.Module = factory(*args, **kwargs)
    except BackboneError:
        raise
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise BackboneError(f"{name} cannot be built with {kwargs}: {error}") from error
    return module


def _fetched(name: str, arguments: dict[str, Any]) -> nn.Module:
    """Build a network with timm's own weights, from the disk or the Hub.

    Raises:
        BackboneError: if they are on neither, saying how they come here.
    """
    import timm

    try:
        with hub_asked_once():
            return _call(timm.create_model, name, name, pretrained=True, **arguments)
    # Of the Hub's library; URLError of the addresses that timm has for others is an OSError too.
    except OSError as error:
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise BackboneError(
            f"the weights of {name} are not on this machine and cannot be fetched ({type(error).__name__}: {reason}); "
            f"where there is a network: python -c \"import timm; timm.create_model('{name}', pretrained=True)\""
        ) from error


def check_view_shapes(module: nn.Module, input_shape: tuple[int, ...], shapes: Iterable[tuple[int, ...]]) -> None:
    """Try a backbone on views of other shapes than it was built for: small crops of images, short ones of signals.

    Args:
        module: of a `Backbone`.
        input_shape: that it was built for.
        shapes: of one view of a sample.

    Raises:
        BackboneError: if it does not take one of them.
    """
    for shape in sorted(set(shapes)):
        try:
            measure(module, shape, "avg")
        except BackboneError as error:
            if len(shape) == 2:
                raise BackboneError(
                    f"the method draws views of {shape[-1]} steps, which this backbone does not take: it was built for "
                    f"{input_shape[-1]}. Give one that takes signals of any length, such as signal_encoder"
                ) from error
            raise BackboneError(
                f"the method draws views of {shape[-1]} pixels, which this backbone does not take: it was built for "
                f"{input_shape[-1]}. A vision transformer takes all multiples of its patch with "
                "backbone_kwargs={'dynamic_img_size': True}; a convolutional network takes any size"
            ) from error


def find_classifier(module: nn.Module, feature_dim: int) -> str:
    """Return the part that is a classifier whose outputs would be the features; empty if there is none.

    A last linear layer of another name than classifiers have is taken as it is: it may be meant.

    >>> import torchvision
    >>> find_classifier(torchvision.models.resnet18(), 1000)
    'fc'
    """
    layers = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear)}
    name, layer = next(reversed(layers.items()), ("", None))
    part = name.partition(".")[0]
    return part if layer is not None and layer.out_features == feature_dim and part in CLASSIFIERS else ""


def has_tokens(module: nn.Module) -> bool:
    """Tell whether a backbone works on tokens: timm's vision transformers, the signal encoder, a user's own.

    A feature map is none of these, though `ssl_registry.nn.tokens` gives its positions too.
    """
    inner = module.module if isinstance(module, FeaturePool) else module
    return has_method(inner) or is_plain_transformer(inner)


def is_timm_name(name: str) -> bool:
    """Tell whether timm builds a backbone of this name.

    >>> is_timm_name("resnet18"), is_timm_name("hf-hub:timm/resnet18.a1_in1k"), is_timm_name("signal_encoder")
    (True, True, False)
    """
    import timm

    return ":" in name or bool(timm.is_model(name.partition(".")[0]))


def list_backbones(pattern: str = "*", *, modality: str | None = None) -> dict[str, str]:
    """Return the backbones that match a shell pattern, such as ``resnet*``, and where each comes from.

    A plugin's encoder of a name that timm has is left out: timm's is used.

    Args:
        pattern: of names.
        modality: ``image``, ``signal`` or ``table``: those that take such samples; of plugins' it is not known, so they
            stay. Default: all.
    """
    import timm

    origins = {info.name: info.origin for info in ENCODERS.entries() if info.status == "ok"}
    own = list(ENCODERS.own) if modality is None else ENCODER_MODALITIES.get(modality, ())
    origins |= dict.fromkeys(own, f"ssl-registry {__version__}")
    if modality in (None, "image"):
        origins |= dict.fromkeys(timm.list_models(), f"timm {timm.__version__}")
    return {name: origins[name] for name in sorted(fnmatch.filter(origins, pattern))}


def _where(error: BaseException) -> str:
    """Return an error of somebody else's code with the line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"


def own_backbone(name: str, kwargs: dict[str, Any] | None, seed: int) -> nn.Module:
    """Build what ``file.py:name`` gives, with weights that repeat with the seed."""
    factory = load_object(name)
    if isinstance(factory, nn.Module):
        return factory
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module = factory(**(kwargs or {}))
        except Exception as error:  # it is the user's, who must hear where it went wrong
            raise BackboneError(f"{name} cannot be built: {_where(error)}") from error
    if not isinstance(module, nn.Module):
        raise BackboneError(f"{name} gives a {type(module).__name__}, not an nn.Module")
    return module
