"""`Needs`: what a method asks of its samples and its backbone, in plain values.

It is read before anything is built, by commands that import no torch too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ssl_registry.errors import ConfigError, did_you_mean

__all__ = ["MODALITIES", "Needs", "modality_of", "needs_of"]

# By the number of axes of a sample: (features,), (channels, time), (channels, height, width).
MODALITIES = {1: "table", 2: "signal", 3: "image"}
# Small networks that suit a first look; a method names another in its `Needs`.
DEFAULT_BACKBONES = {"image": "resnet18", "signal": "signal_encoder", "table": "table_encoder"}
# Instead of these, for methods that work on tokens.
TOKEN_BACKBONES = {"image": "vit_small_patch16_224", "signal": "signal_transformer", "table": "table_transformer"}
# A default vision transformer has the largest of these patches that fills the image and leaves a grid of 7 x 7: of 14 x
# 14 at 224 pixels (Dosovitskiy et al., 2020, arXiv:2010.11929), of 8 x 8 at 32 (solo-learn's MAE on CIFAR-10).
PATCH_SIZES = (16, 8, 4)
LEAST_GRID = 7
PATCH_IN_NAME = re.compile(r"vit_\w*_patch(\d+)")


@dataclass(frozen=True)
class Needs:
    """What a method needs; the class attribute ``needs`` of a method. By default it takes everything.

    Args:
        modalities: kinds of samples that it takes: of ``image``, ``signal`` and ``table``. Others are refused before
            anything is built.
        tokens: whether it works on the backbone's tokens: the patches of a vision transformer, the steps of a signal
            encoder. A backbone without them, such as a ResNet, is refused. ``"keep"`` and ``"mask"`` say that the
            method gives ``model.tokens`` this argument, which not every backbone with tokens takes.
        backbone: the backbone where the user names none, for samples of the first of ``modalities``; samples of the
            others, and of the first if it is None, get the core's own default.
        backbone_kwargs: further arguments of that backbone, where the user gives none.
        batch: what batch size it asks for, and why; a few words for `ssl-registry show`.
        memory: what it holds beside backbone and batch; a few words too.

    Example:
        >>> needs = Needs(modalities=("image",), tokens=True, backbone="vit_tiny_patch16_224")
        >>> needs.choose_backbone("image", None, None)
        ('vit_tiny_patch16_224', {})
        >>> needs.choose_backbone("image", None, None, input_shape=(3, 32, 32))
        ('vit_tiny_patch16_224', {'patch_size': 4})
        >>> needs.choose_backbone("image", "vit_base_patch16_224", None)
        ('vit_base_patch16_224', {})
    """

    modalities: Sequence[str] = ("image", "signal", "table")
    tokens: bool | Literal["keep", "mask"] = False
    backbone: str | None = None
    backbone_kwargs: Mapping[str, Any] = field(default_factory=dict)
    batch: str = ""
    memory: str = ""

    def problem(self) -> str:
        """Return what is wrong with the values, in words; an empty string where nothing is."""
        known = tuple(MODALITIES.values())
        if not isinstance(self.modalities, tuple | list) or not self.modalities:
            return f"modalities={self.modalities!r} must be a tuple of {', '.join(known)}, with at least one of them"
        if unknown := [word for word in self.modalities if word not in known]:
            return f"modalities holds {unknown[0]!r}.{did_you_mean(str(unknown[0]), known)} Known: {', '.join(known)}"
        if not isinstance(self.tokens, bool) and self.tokens not in ("keep", "mask"):
            return f"tokens={self.tokens!r} must be True or False, or 'keep' or 'mask' where patches are hidden"
        if self.backbone is not None and not (isinstance(self.backbone, str) and self.backbone):
            return f"backbone={self.backbone!r} must be the name of a backbone, or None"
        if not isinstance(self.backbone_kwargs, Mapping) or not _is_plain(self.backbone_kwargs):
            return f"backbone_kwargs={self.backbone_kwargs!r} must be a dict of plain values by name"
        if self.backbone_kwargs and self.backbone is None:
            return "backbone_kwargs are arguments of the default backbone; name it: backbone=..."
        for name in ("batch", "memory"):
            if not isinstance(getattr(self, name), str):
                return f"{name}={getattr(self, name)!r} must be a few words"
        return ""

    def check_modality(self, modality: str, *, owner: str, remedy: str = "") -> None:
        """Refuse a kind of samples that the method does not take.

        Args:
            modality: of the samples.
            owner: the method's name.
            remedy: what mends it, for one who brought data; default: ``input_shape``, for one who builds a model.

        Raises:
            ConfigError: naming those that it takes.
        """
        if modality not in self.modalities and remedy:
            accepted = " or ".join(f"{name}s" for name in self.modalities)
            raise ConfigError(f"{owner} does not take {modality}s; it takes {accepted}. {remedy}")
        if modality not in self.modalities:
            shapes = {name: SHAPES[name] for name in self.modalities}
            accepted = " or ".join(f"{name}s: input_shape={shape}" for name, shape in shapes.items())
            raise ConfigError(f"{owner} does not take {modality}s; it takes {accepted}")

    def choose_backbone(
        self,
        modality: str,
        backbone: Any,
        backbone_kwargs: Mapping[str, Any] | None,
        *,
        input_shape: Sequence[int] | None = None,
    ) -> tuple[Any, dict[str, Any] | None]:
        """Return backbone and its arguments: as the user gave them, and by default the method's or the core's.

        Where the method works on tokens, a default vision transformer gets smaller patches for small images.

        Args:
            modality: of the samples.
            backbone: a name, a module, or None for the default.
            backbone_kwargs: what the user gave; None for nothing.
            input_shape: of the samples; None for images of no known size.
        """
        own = self.backbone if modality == self.modalities[0] else None
        is_default = backbone is None
        if backbone is None:
            backbone = own or (TOKEN_BACKBONES if self.tokens else DEFAULT_BACKBONES)[modality]
        if backbone_kwargs is None and isinstance(backbone, str):
            # Arguments of a backbone belong to the backbone that they were written for.
            backbone_kwargs = self.backbone_kwargs if backbone == own else {}
            if self.tokens and is_default and input_shape is not None:
                backbone_kwargs = {**_smaller_patches(backbone, input_shape), **backbone_kwargs}
        return backbone, None if backbone_kwargs is None else dict(backbone_kwargs)


SHAPES = {"image": "(channels, height, width)", "signal": "(channels, time)", "table": "(features,)"}


def needs_of(method: Any) -> Needs:
    """Return the needs of a method's class or instance; the defaults where it states none."""
    needs: Needs = getattr(method, "needs", None) or Needs()
    return needs


def modality_of(input_shape: Sequence[int] | None) -> str:
    """Return the kind of samples of a shape; images where none is given.

    Example:
        >>> modality_of((9, 128)), modality_of(None)
        ('signal', 'image')
    """
    return "image" if input_shape is None else MODALITIES.get(len(input_shape), "image")


def _smaller_patches(backbone: str, image_shape: Sequence[int]) -> dict[str, int]:
    """Return the size of a vision transformer's patches where images need smaller ones than its name says.

    >>> [_smaller_patches("vit_small_patch16_224", (3, side, side)) for side in (224, 96, 32, 16)]
    [{}, {'patch_size': 8}, {'patch_size': 4}, {'patch_size': 4}]
    """
    found = PATCH_IN_NAME.match(backbone)
    if len(image_shape) != 3:
        return {}
    _, height, width = image_shape
    fitting = [size for size in PATCH_SIZES if height % size == 0 and width % size == 0]
    if found is None or not fitting:
        return {}
    size = next((size for size in fitting if min(height, width) // size >= LEAST_GRID), fitting[-1])
    return {"patch_size": size} if size < int(found[1]) else {}


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)
