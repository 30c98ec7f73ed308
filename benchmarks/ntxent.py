"""NT-Xent, forward and backward: ours, lightly's, solo-learn's and Minerva's structure; time and peak memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from harness import Work, arguments, run
from ssl_registry_simclr import NTXentLoss
from torch import Tensor
from torch.nn import functional as F

SECTION = "NT-Xent, forward and backward"
TEMPERATURE = 0.5
DIM = 128
# Beyond this the peers' matrices do not fit in an ordinary machine's memory.
LARGEST_OF_PEERS = 8192


def masked_sums(z0: Tensor, z1: Tensor) -> Tensor:
    """solo-learn's published structure: exp of everything, and masks for positives and negatives."""
    z = F.normalize(torch.cat([z0, z1]), dim=-1)
    index = torch.arange(len(z0), device=z.device).repeat(2)[None]
    sim = torch.exp(torch.einsum("if, jf -> ij", z, z) / TEMPERATURE)
    positive = index.t() == index
    positive.fill_diagonal_(0)
    negative = index.t() != index
    pos, neg = torch.sum(sim * positive, 1), torch.sum(sim * negative, 1)
    return -(torch.mean(torch.log(pos / (pos + neg))))


def masked_cross_entropy(z0: Tensor, z1: Tensor) -> Tensor:
    """The shortest correct way: one matrix, its diagonal masked, cross-entropy."""
    z = F.normalize(torch.cat([z0, z1]), dim=-1)
    logits = (z @ z.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    labels = torch.arange(len(z), device=z.device).roll(len(z0))
    return F.cross_entropy(logits, labels)


def losses() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "ours": NTXentLoss(TEMPERATURE),
        "solo-learn (structure)": masked_sums,
        "masked cross-entropy": masked_cross_entropy,
    }
    try:
        from lightly.loss import NTXentLoss as LightlyLoss
    except ImportError:
        return found
    return found | {"lightly": LightlyLoss(TEMPERATURE)}


def forward_backward(loss: Callable[[Tensor, Tensor], Tensor], views: list[Tensor]) -> Callable[[], object]:
    z0, z1 = (view.clone().requires_grad_() for view in views)

    def call() -> object:
        z0.grad = z1.grad = None
        value = loss(z0, z1)
        value.backward()
        return value

    return call


def works(device: str) -> Iterator[Work]:
    for rows in (512, 2048, 8192, 16384, 65536):
        views = [torch.randn(rows // 2, DIM, device=device) for _ in range(2)]
        found = losses() if rows <= LARGEST_OF_PEERS else {"ours": NTXentLoss(TEMPERATURE)}
        values = {who: float(loss(*views)) for who, loss in found.items()}
        assert max(values.values()) - min(values.values()) < 1e-3, values
        calls = {who: forward_backward(loss, views) for who, loss in found.items()}
        lightly = {512: 2.0, 8192: 6.0}
        goal = {who: {512: 1.1, 8192: 3.5}.get(rows, 1.0) for who in calls if who != "ours"}
        if "lightly" in goal:
            goal["lightly"] = lightly.get(rows, 1.0)
        yield Work(f"2N = {rows}, d = {DIM}", calls, SECTION, memory=True, goal=goal)


if __name__ == "__main__":
    options = arguments(__doc__)
    run(works(options.device), options)
