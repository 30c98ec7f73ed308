"""Data sets that fit into a device's memory are kept there: batches are chosen on the device, and nothing is copied."""

from __future__ import annotations

import torch

from ssl_registry.data.sample_set import SampleSet
from ssl_registry.data.samples import Samples

__all__ = ["on_device"]

SHARE = 0.25  # of the memory that is free before training: the model and its activations come later


def on_device(dataset: SampleSet, device: torch.device) -> SampleSet:
    """Return the data set on a device if it lies in memory or in a cache and fits there, else as it is.

    Args:
        dataset: of a source.
        device: where the model trains; a CPU's memory is where such a set lies already.
    """
    if not dataset.in_memory or dataset.nbytes > SHARE * _free_memory(device):
        return dataset
    x, y = dataset.tensors()
    return Samples(x.to(device), None if y is None else y.to(device))


def _free_memory(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
