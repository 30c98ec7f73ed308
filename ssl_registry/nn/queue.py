"""`Queue`: samples of past batches, as negatives, as a support set, or to fill up a small batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry.nn.collect import StepCollector
from ssl_registry.nn.gather import gather

__all__ = ["Queue"]

# Similarities that `Queue.nearest` holds at once, 64 MiB in float32.
SIMILARITIES_AT_ONCE = 1 << 24


class Queue(nn.Module):
    """The last ``size`` vectors of all ranks; the oldest are replaced first.

    It serves as the dictionary of MoCo (He et al., 2020, arXiv:1911.05722, section 3.2), the support set of NNCLR
    (Dwibedi et al., 2021, arXiv:2104.14548, section 3.2), and the feature queue of SwAV (Caron et al., 2020,
    arXiv:2006.09882, section 3.1). In `compute_loss` use `values`, then `collect` what the batch adds; in `on_step_end`
    call `update`. So no batch meets itself in the queue, and the queue moves once an optimizer step, however many
    micro-batches the step has.

    Vectors and their number are buffers: a checkpoint holds them, and a resumed run meets the same queue. No method
    waits for the device.

    Args:
        size: number of vectors.
        dim: width of a vector.

    Raises:
        ValueError: if ``size`` or ``dim`` is below 1.

    Example:
        >>> queue = Queue(4, 2)
        >>> queue.collect(torch.ones(3, 2))
        >>> queue.update()
        >>> queue.filled
        tensor([ True,  True,  True, False])
    """

    values: Tensor  # [size, dim]; as in MoCo's code it begins with random vectors of length 1
    enqueued: Tensor  # how many vectors ever came in; the next one goes to this number modulo size

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        for name, number in {"size": size, "dim": dim}.items():
            if number < 1:
                raise ValueError(f"{name}={number} must be at least 1")
        self.register_buffer("values", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("enqueued", torch.zeros((), dtype=torch.int64))
        self.collector = StepCollector()

    @property
    def filled(self) -> Tensor:
        """Which places hold vectors that came in, not random ones: [size], boolean, on the device."""
        return torch.arange(len(self.values), device=self.values.device) < self.enqueued

    def collect(self, x: Tensor) -> None:
        """Remember vectors [batch, dim] of this rank for `update`, if this module is in training mode."""
        self.collector.collect(x)

    def update(self) -> None:
        """Take in what all ranks have collected in this optimizer step."""
        x = self.collector.take()
        if x is not None:
            self.enqueue(x)

    @torch.no_grad()
    def enqueue(self, x: Tensor) -> None:
        """Replace the oldest vectors now.

        Args:
            x: [batch, dim] of this rank, equally many on every rank; kept as they are, so normalise before. Of more
                than the queue holds the last ones stay.
        """
        size = len(self.values)
        everyone = gather(x.detach())[-size:]
        # On the device: to read the position would wait for it.
        places = (self.enqueued + torch.arange(len(everyone), device=x.device)) % size
        self.values.index_copy_(0, places, everyone.to(self.values.dtype))
        self.enqueued += len(everyone)

    @torch.no_grad()
    def nearest(self, x: Tensor) -> Tensor:
        """Return the queue's vector with the largest cosine to each input (NNCLR, section 3.2).

        Args:
            x: [batch, dim], of any length.

        Returns:
            [batch, dim], without gradient. The cosines are compared in float32.
        """
        with torch.autocast(x.device.type, enabled=False):
            keys = F.normalize(self.values, dim=1)
            rows = max(1, SIMILARITIES_AT_ONCE // len(keys))
            best = [(part.to(keys.dtype) @ keys.T).argmax(1) for part in torch.split(x, rows)]
        return self.values.index_select(0, torch.cat(best))

    def extra_repr(self) -> str:
        """Show the arguments."""
        size, dim = self.values.shape
        return f"size={size}, dim={dim}"
