"""Losses of MoCo, NNCLR, SwAV and DINO beside lightly's, forward and backward; time and peak memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import torch
from harness import Work, arguments, run
from lightly.loss import DINOLoss, NTXentLoss, SwaVLoss
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.nn import Center, cross_view_entropy, info_nce, sinkhorn

SECTION = "Losses with queues, prototypes and several views, forward and backward"


def backward(loss: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """Compute a loss of ``x`` and its gradient."""
    leaf = x.clone().requires_grad_()

    def call() -> object:
        leaf.grad = None
        value = loss(leaf)
        value.backward()
        return value

    return call


def compared(name: str, x: Tensor, ours: Callable[[Tensor], Tensor], lightly: Callable[[Tensor], Tensor]) -> Work:
    """Time both, once they are known to agree: to three digits, as lightly's DINO loss adds up in one float32."""
    torch.testing.assert_close(ours(x.clone()), lightly(x.clone()).squeeze(), rtol=1e-3, atol=1e-3)
    contenders = {"ours": backward(ours, x), "lightly": backward(lightly, x)}
    return Work(name, contenders, SECTION, memory=True, goal={"lightly": 1.0})


def moco(device: str, batch: int, queue: int, dim: int = 128) -> Work:
    """InfoNCE over a queue; lightly's memory bank stays as it is, as ours does until the step's end."""
    queries, keys, bank = (torch.randn(n, dim, device=device) for n in (batch, batch, queue))
    bank = F.normalize(bank, dim=1)
    lightly = NTXentLoss(temperature=0.2, memory_bank_size=(queue, dim)).to(device)
    lightly.memory_bank.bank = bank

    def theirs(x: Tensor) -> Tensor:
        out, negatives = lightly.memory_bank(F.normalize(keys, dim=1), update=False)
        logits = torch.cat(
            [
                torch.einsum("nc,nc->n", F.normalize(x, dim=1), out).unsqueeze(-1),
                torch.einsum("nc,ck->nk", F.normalize(x, dim=1), negatives),
            ],
            dim=1,
        )
        return lightly.cross_entropy(logits / 0.2, torch.zeros(len(x), dtype=torch.long, device=device))

    def ours(x: Tensor) -> Tensor:
        return info_nce(x, keys, temperature=0.2, negatives=bank)

    # What NTXentLoss.forward does without its update, which would let the two drift apart in a benchmark's rounds.
    return compared(f"MoCo v2, batch {batch}, queue {queue}", queries, ours, theirs)


def nnclr(device: str, batch: int, dim: int = 256) -> Work:
    """One direction. Theirs is NT-Xent, which has other negatives too: values differ, so they are not compared."""
    neighbors, predictions = (torch.randn(batch, dim, device=device) for _ in range(2))
    lightly = NTXentLoss(temperature=0.1).to(device)
    contenders = {
        "ours": backward(lambda x: info_nce(neighbors, x, temperature=0.1), predictions),
        "lightly": backward(lambda x: lightly(neighbors, x), predictions),
    }
    return Work(f"NNCLR, batch {batch}", contenders, SECTION, memory=True, goal={"lightly": 1.0})


def swav(device: str, batch: int, prototypes: int, views: int = 8) -> Work:
    """Codes by Sinkhorn-Knopp included."""
    scores = torch.rand(views, batch, prototypes, device=device) - 0.5
    lightly = SwaVLoss().to(device)

    def ours(x: Tensor) -> Tensor:
        codes = torch.stack([sinkhorn(view) for view in x[:2].detach()])
        return cross_view_entropy(codes, x, temperature=0.1)

    def theirs(x: Tensor) -> Tensor:
        return lightly(list(x[:2]), list(x[2:]))

    return compared(f"SwAV, batch {batch}, {views} views, {prototypes} prototypes", scores, ours, theirs)


def dino(device: str, batch: int, prototypes: int, views: int = 10) -> Work:
    """The center's update included."""
    teacher = torch.rand(2, batch, prototypes, device=device) - 0.5
    student = torch.rand(views, batch, prototypes, device=device) - 0.5
    center, lightly = Center(prototypes, momentum=1.0).to(device), DINOLoss(prototypes, center_momentum=1.0).to(device)

    def ours(x: Tensor) -> Tensor:
        wanted = F.softmax(center(teacher) / 0.04, dim=2)
        center.collect(teacher)
        center.update()
        return cross_view_entropy(wanted, x, temperature=0.1)

    def theirs(x: Tensor) -> Tensor:
        return lightly(list(teacher), list(x))

    return compared(f"DINO, batch {batch}, {views} views, {prototypes} prototypes", student, ours, theirs)


def works(device: str) -> Iterator[Work]:
    return chain(
        (moco(device, batch, queue) for batch, queue in ((128, 4096), (256, 65536))),
        (nnclr(device, batch) for batch in (256, 2048)),
        (swav(device, batch, prototypes) for batch, prototypes in ((128, 512), (64, 3000))),
        (dino(device, batch, prototypes) for batch, prototypes in ((64, 2048), (32, 65536))),
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    options = arguments(__doc__)
    run(works(options.device), options)
