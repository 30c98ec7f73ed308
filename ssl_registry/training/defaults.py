"""What suits a device and a number of samples, where the user says nothing: image size, batch size, epochs.

Methods are published for accelerators. On a CPU the same settings take days, so there the defaults are those of a first
look that ends within the hour: see ``docs/defaults.md``, which has the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["file_size", "has_accelerator", "suited_batch_size", "suited_epochs"]

FILE_SIZE, FILE_SIZE_CPU = 224, 96
BATCH_SIZE, BATCH_SIZE_CPU = 256, 64
EPOCHS = 100
# On a CPU: as many steps of 64 images of 96 pixels as a ResNet-18 makes on two cores in half an hour.
STEPS_CPU = 600


def has_accelerator(trainer: Mapping[str, Any]) -> bool:
    """Tell whether Lightning's Trainer with these arguments trains on something faster than the CPU."""
    asked = trainer.get("accelerator") or "auto"
    return bool(asked != "cpu" and torch.accelerator.is_available())


def file_size(*, accelerator: bool) -> int:
    """Return the side in pixels to which images in files are brought."""
    return FILE_SIZE if accelerator else FILE_SIZE_CPU


def suited_batch_size(samples: int, *, image: bool, accelerator: bool) -> tuple[int, str]:
    """Return samples a step, and why.

    Args:
        samples: of the training part.
        image: whether they are images.
        accelerator: whether one trains.

    Example:
        >>> suited_batch_size(50_000, image=True, accelerator=True)
        (256, 'default')
        >>> suited_batch_size(1_400, image=True, accelerator=False)
        (64, 'images on a CPU')
        >>> suited_batch_size(90, image=True, accelerator=False)
        (22, 'a quarter of the samples')
    """
    on_cpu = image and not accelerator
    size, why = (BATCH_SIZE_CPU, "images on a CPU") if on_cpu else (BATCH_SIZE, "default")
    quarter = max(2, samples // 4)
    return (size, why) if size <= quarter else (quarter, "a quarter of the samples")


def suited_epochs(samples: int, batch_size: int, *, pixels: int | None, accelerator: bool) -> tuple[int, str]:
    """Return passes over the data, and why.

    Args:
        samples: of the training part.
        batch_size: of a step, over all processes.
        pixels: of an image; None for signals and tables.
        accelerator: whether one trains.

    Example:
        >>> suited_epochs(1_400, 64, pixels=96 * 96, accelerator=False)
        (29, '600 steps on a CPU')
        >>> suited_epochs(1_400, 64, pixels=16 * 16, accelerator=False)
        (100, 'default')
    """
    if accelerator or pixels is None:
        return EPOCHS, "default"
    # The work of a step grows with its pixels.
    steps = round(STEPS_CPU * FILE_SIZE_CPU**2 / pixels * BATCH_SIZE_CPU / batch_size)
    epochs = max(1, round(steps / max(1, math.floor(samples / batch_size))))
    return (EPOCHS, "default") if epochs >= EPOCHS else (epochs, f"{steps} steps on a CPU")
