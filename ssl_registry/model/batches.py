"""What a batch may look like, and how it becomes a list of views."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ssl_registry.errors import BatchError

__all__ = ["check_finite", "check_range", "read_batch"]

MOST_NUMBERS = 5  # of samples, in a message

ACCEPTED = (
    "a tensor; (x, label); ([v1, v2, ...], label); [v1, v2, ...]; a mapping with 'views', 'image', 'x', 'pixel_values' "
    "or 'view0', 'view1', ...; (x, label, names) and ([v1, v2, ...], label, names), as lightly gives them; "
    "[indices, [v1, v2, ...], label], as solo-learn gives them"
)
ONE_KEY = ("views", "image", "x", "pixel_values")
VIEW_KEY = re.compile(r"view_?(\d+)")


def read_batch(batch: Any, input_shape: tuple[int, ...]) -> list[Tensor]:
    """Return the tensors of a batch that are inputs: one, or several ready-made views.

    Args:
        batch: in one of the accepted forms (see `ACCEPTED`); labels are left out.
        input_shape: of one sample. It tells ``[v1, v2]`` from ``(x, label)``; images of one batch may differ
            in height and width between views.

    Returns:
        Tensors of shape [batch, *input_shape]; images [batch, channels, any height, any width].

    Raises:
        BatchError: showing what came and what is accepted.
    """
    views = _inputs(batch, input_shape)
    if not views:
        raise BatchError(f"the batch is {describe(batch)}; accepted: {ACCEPTED}")
    for view in views:
        if not _fits(view, input_shape):
            what = "channels" if len(input_shape) > 1 else "features"
            raise BatchError(
                f"the batch is {describe(batch)}, but the model takes [batch, {', '.join(map(str, input_shape))}]; "
                f"build it for what your data is: image_size and in_chans, or input_shape ({what} first)"
            )
    if len({len(view) for view in views}) > 1:
        raise BatchError(f"the batch is {describe(batch)}; all views need the same number of samples")
    return views


def check_finite(x: Tensor, indices: Sequence[int] | None = None) -> None:
    """Refuse samples that hold NaN or infinity; waits for the device.

    Args:
        x: [batch, ...].
        indices: of the samples in their source, where the batch tells.

    Raises:
        BatchError: with their numbers.
    """
    if not x.is_floating_point() or bool(x.isfinite().all()):
        return
    rows = (~x.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()
    numbers = rows if indices is None else [int(indices[row]) for row in rows]
    more = f" and {len(rows) - MOST_NUMBERS} more" if len(rows) > MOST_NUMBERS else ""
    raise BatchError(
        f"samples hold NaN or infinity: number {', '.join(map(str, numbers[:MOST_NUMBERS]))}{more} of "
        f"{'the batch' if indices is None else 'the source'}; mend or remove them"
    )


def check_range(images: Tensor) -> None:
    """Refuse images that are neither floats in [0, 1] nor integers from 0 to 255; waits for the device, if not uint8.

    Args:
        images: [batch, channels, height, width].

    Raises:
        BatchError: with their range.
    """
    if images.dtype in (torch.bool, torch.uint8):
        return  # always in range
    low, high = (float(value) for value in torch.aminmax(images))
    most = 1 if images.is_floating_point() else 255
    if low < 0 or high > most:
        raise BatchError(
            "expected images in [0, 1], or integers from 0 to 255, and got "
            f"{str(images.dtype).removeprefix('torch.')} from {low:.3g} to {high:.3g}; give uint8 or floats in [0, 1], "
            "and the normalisation to the view policy: ViewPolicy(..., mean=..., std=...)"
        )


def _inputs(batch: Any, input_shape: tuple[int, ...]) -> list[Tensor]:
    if isinstance(batch, Tensor):
        return [batch]
    if isinstance(batch, Mapping):
        return _inputs_by_name(batch, input_shape)
    if not isinstance(batch, Sequence) or isinstance(batch, str) or not batch:
        return []
    first, *rest = batch
    if len(batch) == 3 and _is_indices(first) and not _fits(first, input_shape):
        first, *rest = batch[1:]
    if isinstance(first, Tensor):
        views = [
            first,
            *(other for other in rest if isinstance(other, Tensor) and _alike(first, other, input_shape)),
        ]
        # A second tensor that is no view is a label, and what follows it are names; anything else is a mistake.
        labeled = len(views) == 1 and (len(rest) == 1 or (len(rest) == 2 and _are_label_and_names(rest)))
        return views if len(views) == len(rest) + 1 or labeled else []
    if isinstance(first, Sequence) and first and all(isinstance(view, Tensor) for view in first):
        return list(first) if len(rest) < 2 or (len(rest) == 2 and _are_label_and_names(rest)) else []
    return []


def _inputs_by_name(batch: Mapping[Any, Any], input_shape: tuple[int, ...]) -> list[Tensor]:
    for key in ONE_KEY:
        if key in batch:
            return _inputs(batch[key], input_shape)
    numbered = {int(found[1]): batch[key] for key in batch if (found := VIEW_KEY.fullmatch(str(key)))}
    views = [numbered[number] for number in sorted(numbered)]
    return views if all(isinstance(view, Tensor) for view in views) else []


def _is_indices(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 1 and value.dtype == torch.int64


def _are_label_and_names(rest: Sequence[Any]) -> bool:
    """Whether these are the labels of a batch, or None, and a text for each sample."""
    label, names = rest
    texts = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    return texts and (label is None or (isinstance(label, Tensor) and label.ndim <= 2))


def _alike(first: Tensor, other: Tensor, input_shape: tuple[int, ...]) -> bool:
    if len(input_shape) == 3:
        return other.ndim == first.ndim and other.shape[:2] == first.shape[:2]
    return other.shape == first.shape and other.dtype == first.dtype


def _fits(view: Tensor, input_shape: tuple[int, ...]) -> bool:
    if view.ndim != len(input_shape) + 1 or len(view) == 0:
        return False
    # Images are resized where a recipe draws them; signals and tables must match exactly.
    return view.shape[1] == input_shape[0] if len(input_shape) == 3 else view.shape[1:] == input_shape


def describe(batch: Any) -> str:
    """Describe a batch in a few words: types and shapes, never values.

    >>> import torch
    >>> describe((torch.zeros(4, 3), "label"))
    '(float32[4, 3], str)'
    """
    if isinstance(batch, Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')}{list(batch.shape)}"
    if isinstance(batch, Mapping):
        return "{" + ", ".join(f"{key!r}: {describe(value)}" for key, value in list(batch.items())[:6]) + "}"
    if isinstance(batch, list | tuple):
        inside = ", ".join(describe(value) for value in batch[:6]) + (", ..." if len(batch) > 6 else "")
        return f"[{inside}]" if isinstance(batch, list) else f"({inside})"
    return type(batch).__name__
