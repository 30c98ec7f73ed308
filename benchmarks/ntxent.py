"""NT-Xent, forward and backward: ours, lightly's, solo-learn's and Minerva's structure; time and peak memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from harness import Work, arguments, run
from ssl_registry_simclr import NTXentLoss
from torch import Tensor
from torch.nn import functional as F

SECTION = "NT-Xent, forward and backward"
DIM = 128
# Beyond this the peers' matrices do not fit in an ordinary machine's memory.
LARGEST_OF_PEERS = 8192


def masked_sums(z0: Tensor, z1: Tensor, temperature: float = 0.5) -> Tensor:
    """solo-learn's published structure: exp of everything, and masks for positives and negatives."""
    z = F.normalize(torch.cat([z0, z1]), dim=-1)
    index = torch.arange(len(z0), device=z.device).repeat(2)[None]
    sim = torch.exp(torch.einsum("if, jf -> ij", z, z) / temperature)
    positive = index.t() == index
    positive.fill_diagonal_(0)
    negative = index.t() != index
    pos, neg = torch.sum(sim * positive, 1), torch.sum(sim * negative, 1)
    return -(torch.mean(torch.log(pos / (pos + neg))))


def masked_cross_entropy(z0: Tensor, z1: Tensor, temperature: float = 0.5) -> Tensor:
    """The shortest correct way: one matrix, its diagonal masked, cross-entropy."""
    z = F.normalize(torch.cat([z0, z1]), dim=-1)
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    labels = torch.arange(len(z), device=z.device).roll(len(z0))
    return F.cross_entropy(logits, labels)


def losses(temperature: float = 0.5) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "ours": NTXentLoss(temperature),
        "solo-learn (structure)": partial(masked_sums, temperature=temperature),
        "masked cross-entropy": partial(masked_cross_entropy, temperature=temperature),
    }
    try:
        from lightly.loss import NTXentLoss as LightlyLoss
    except ImportError:
        return found
    return found | {"lightly": LightlyLoss(temperature)}


def forward_backward(loss: Callable[[Tensor, Tensor], Tensor], views: list[Tensor]) -> Callable[[], object]:
    z0, z1 = (view.clone().requires_grad_() for view in views)

    def call() -> object:
        z0.grad = z1.grad = None
        value = loss(z0, z1)
        value.backward()
        return value

    return call


# Ratios that are wanted: against lightly, and against each other.
GOALS = {512: (2.0, 1.1), 8192: (6.0, 3.5)}


def works(device: str) -> Iterator[Work]:
    for rows, temperature in ((512, 0.5), (2048, 0.5), (8192, 0.5), (8192, 0.01), (16384, 0.5), (65536, 0.5)):
        views = [torch.randn(rows // 2, DIM, device=device) for _ in range(2)]
        found = losses(temperature)
        if rows > LARGEST_OF_PEERS:
            found = {"ours": found["ours"]}
        else:
            values = {who: float(loss(*views)) for who, loss in found.items()}
            found = {who: loss for who, loss in found.items() if values[who] == values[who]}  # without NaN
            assert all(abs(values[who] - values["ours"]) < 1e-3 for who in found), values
        calls = {who: forward_backward(loss, views) for who, loss in found.items()}
        of_lightly, of_others = GOALS.get(rows, (1.0, 1.0)) if temperature == 0.5 else (1.0, 1.0)
        goal = {who: of_lightly if who == "lightly" else of_others for who in calls if who != "ours"}
        turns = {65536: 2, 16384: 3, 8192: 5}.get(rows)  # up to twenty seconds each
        name = f"2N = {rows}, d = {DIM}, T = {temperature}"
        yield Work(name, calls, SECTION, memory=True, goal=goal, rounds=turns)


if __name__ == "__main__":
    options = arguments(__doc__)
    run(works(options.device), options)
