"""Samples, what a method left of them for its network, and what it makes of that."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_registry.model.module import SSLModule
from ssl_registry.workflows.report.thumbnails import Sprite, limits_of, sprite

__all__ = ["Reconstructions", "draw_reconstructions", "hide_patches"]

GRAY = 0.5  # of pixels in [0, 1]


@dataclass(frozen=True)
class Reconstructions:
    """Pictures of what a method hides and predicts.

    Args:
        pictures: rows of a sample, the sample with gray patches where it was hidden, and the method's output.
        hidden: share of the patches that was hidden.
        note: what the method says of its output; may be empty.
    """

    pictures: Sprite
    hidden: float
    note: str


def draw_reconstructions(
    model: SSLModule, samples: list[Tensor], side: int
) -> tuple[Reconstructions | None, list[str]]:
    """Draw what the method's hook `reconstruct` gives for some images or signals.

    Args:
        model: of any method.
        samples: raw images [channels, height, width], or signals [channels, time].
        side: of a picture, see `sprite`.

    Returns:
        The pictures, None for a method that has none; and in words why they are missing.
    """
    batch = torch.stack(samples)
    found = model.reconstruct(batch)
    if found is None:
        return None, []
    if not bool(found.output.isfinite().all()):
        return None, ["no reconstructions: they hold NaN or infinite values; training has diverged"]
    plain = model.view_policy.model_copy(update={"mean": None, "std": None}).prepare(batch)
    mask = found.mask.cpu()
    masked = hide_patches(plain, mask, GRAY if plain.ndim == 4 else float("nan"))
    rows = list(zip(plain, masked, found.output.cpu(), strict=True))
    limits = None if plain.ndim == 4 else [limits_of(row) for row in rows for _ in row]
    pictures = sprite([picture for row in rows for picture in row], side, columns=3, limits=limits)
    return Reconstructions(pictures, float(mask.float().mean()), found.note), []


def hide_patches(x: Tensor, mask: Tensor, value: float) -> Tensor:
    """Return samples with one value where patches are masked.

    Args:
        x: [batch, channels, height, width] or [batch, channels, time].
        mask: True where a patch is hidden, bool [batch, rows, columns] or [batch, steps]; patches fill the sample.
        value: that takes their place.

    Example:
        >>> hide_patches(torch.ones(1, 1, 2, 4), torch.tensor([[[True, False]]]), 0.5).tolist()
        [[[[0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]]]]
    """
    where = mask
    for axis, side in enumerate(x.shape[2:], 1):
        where = where.repeat_interleave(side // mask.shape[axis], axis)
    return x.masked_fill(where.unsqueeze(1), value)
