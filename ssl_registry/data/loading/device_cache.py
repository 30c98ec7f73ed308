"""Data sets that fit into a device's memory are kept there: batches are chosen on the device, and nothing is copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ssl_registry.data.images.cache import CachedImages
from ssl_registry.data.samples import Samples

__all__ = ["on_device"]

SHARE = 0.25  # of the memory that is free before training: the model and its activations come later


def on_device(dataset: Dataset[Any], device: torch.device) -> Dataset[Any]:
    """Return the data set on a device if it lies in memory or in a cache and fits there, else as it is.

    Args:
        dataset: of a source.
        device: where the model trains; a CPU's memory is where such a set lies already.
    """
    if isinstance(dataset, Samples):
        bytes_needed = dataset.x.nbytes
    elif isinstance(dataset, CachedImages):
        bytes_needed = dataset.images.nbytes
    else:
        return dataset
    if bytes_needed > SHARE * _free_memory(device):
        return dataset
    x = dataset.x if isinstance(dataset, Samples) else torch.from_numpy(np.array(dataset.images))
    y = dataset.y if isinstance(dataset, Samples) else dataset.labels
    return Samples(x.to(device), None if y is None else y.to(device))


def _free_memory(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
