"""The queue: keys of the last batches, as negatives."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class KeyQueue(nn.Module):
    """The last ``size`` keys, oldest replaced first.

    Keys and position are buffers: a checkpoint holds them, and a resumed run meets the same negatives.

    Args:
        size: number of keys.
        dim: width of a key.
    """

    keys: Tensor
    position: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        # As in the authors' code the queue begins with random directions.
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Replace the oldest keys.

        Args:
            keys: [any number, dim]; of more than the queue holds the last ones stay.
        """
        size = len(self.keys)
        keys = keys[-size:]
        # On the device: reading the position would wait for it.
        rows = (self.position + torch.arange(len(keys), device=keys.device)) % size
        self.keys.index_copy_(0, rows, keys.to(self.keys.dtype))
        self.position.copy_((self.position + len(keys)) % size)
