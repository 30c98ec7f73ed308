"""Which array is an image, a signal or a table; and each in the one layout that the project uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_registry.data.source import Modality
from ssl_registry.errors import DataError

__all__ = ["arrange"]

LAYOUTS = (
    "[N, D] for a table, [N, C, T] of floats for signals, [N, H, W] of uint8 for grey images, "
    "[N, C, H, W] or [N, H, W, C] for images"
)
USUAL_CHANNELS = (1, 3, 4)


def arrange(array: NDArray[Any], *, modality: str | None, where: str) -> tuple[Modality, Tensor, list[str]]:
    """Bring an array into the project's layout.

    Args:
        array: samples along its first axis.
        modality: what the samples are, where shape and type do not tell; None to infer it.
        where: file and key, for messages.

    Returns:
        The modality; the samples: images [N, C, H, W] as uint8 or float32 in [0, 1], signals [N, C, T] and tables
        [N, D] in their own type; and what was decided, in words.

    Raises:
        DataError: if it holds no numbers, no samples, NaN or infinity, or fits no layout.
    """
    if array.dtype.kind not in "biuf":
        raise DataError(f"{where} has dtype {array.dtype}; expected numbers: uint8 for images, float32 otherwise")
    if array.ndim < 2:
        raise DataError(f"{where} has shape {array.shape}; expected {LAYOUTS}")
    if array.size == 0:
        raise DataError(f"{where} is empty: its shape is {array.shape}; expected at least one sample")
    if array.dtype.kind == "f":
        if array.dtype.itemsize > 8 or not array.dtype.isnative:
            array = array.astype(np.float64)  # torch has no long double and no foreign byte order
        _check_finite(array, where)
    chosen = _as_kind(modality) if modality else _infer(array, where)
    if chosen == "image":
        return _images(array, where)
    notes: list[str] = []
    if chosen == "signal":
        if array.ndim == 2:
            array = array[:, None]
            notes.append("read as signals of one channel")
        if array.ndim != 3:
            raise DataError(f"{where} has shape {array.shape}; signals are [N, C, T]")
    elif array.ndim > 2:
        notes.append(f"read as a table: samples of shape {array.shape[1:]} flattened")
        array = array.reshape(len(array), -1)
    return chosen, _tensor(array), notes


def _as_kind(modality: str) -> Modality:
    return "image" if modality == "image" else "signal" if modality == "signal" else "table"


def _infer(array: NDArray[Any], where: str) -> Modality:
    if array.ndim == 2:
        return "table"
    if array.ndim == 4:
        return "image"
    if array.ndim == 3:
        if array.dtype.kind == "f":
            return "signal"
        if array.dtype in (np.uint8, np.bool_):
            return "image"
        raise DataError(
            f"{where} is {array.dtype} of shape {array.shape}, which can be signals or grey images; say "
            "which with --modality signal or --modality image, or store floats for signals and uint8 for images"
        )
    raise DataError(f"{where} has shape {array.shape}; expected {LAYOUTS}")


def _check_finite(array: NDArray[Any], where: str) -> None:
    # The sum tells in one pass, without a mask as large as the array; it can overflow, so then look closer.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum(dtype=np.float64)):
            return
    wrong = ~np.isfinite(array)
    if wrong.any():
        first = int(np.flatnonzero(wrong.reshape(len(array), -1).any(1))[0])
        raise DataError(
            f"{where} holds {int(wrong.sum())} NaN or infinite values, the first in sample {first}; "
            "expected finite numbers: drop or fill them before saving"
        )


def _images(array: NDArray[Any], where: str) -> tuple[Modality, Tensor, list[str]]:
    notes: list[str] = []
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim != 4:
        raise DataError(f"{where} has shape {array.shape}; images are [N, H, W], [N, C, H, W] or [N, H, W, C]")
    elif _channels_last(array.shape, where):
        notes.append("read as [N, height, width, channels]")
        array = array.transpose(0, 3, 1, 2)
    low, high = array.min(), array.max()
    if array.dtype.kind == "f":
        if low < 0 or high > 1:
            raise DataError(
                f"{where} holds float images from {low:g} to {high:g}; expected [0, 1], or uint8 from 0 to "
                "255: divide by the largest possible value before saving"
            )
        array = array.astype(np.float32, copy=False)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype != np.uint8:
        if low < 0 or high > 255:
            raise DataError(
                f"{where} holds {array.dtype} images from {low} to {high}; expected uint8 from 0 to 255, "
                "or floats in [0, 1]"
            )
        array = array.astype(np.uint8)
    return "image", _tensor(array), notes


def _channels_last(shape: tuple[int, ...], where: str) -> bool:
    """Tell [N, H, W, C] from [N, C, H, W]: by a usual number of channels, else by the smallest axis."""
    _, first, middle, last = shape
    if (first in USUAL_CHANNELS) != (last in USUAL_CHANNELS):
        return last in USUAL_CHANNELS
    if first in USUAL_CHANNELS or first < min(middle, last):
        return False
    if last < min(first, middle):
        return True
    raise DataError(f"{where} has shape {shape}, and no axis looks like channels; store images as [N, C, H, W]")


def _tensor(array: NDArray[Any]) -> Tensor:
    if array.dtype.kind in "iu" and not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    # A copy unless the array owns writable memory in order: torch refuses the rest, or only warns.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
