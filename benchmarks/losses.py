"""Losses, forward and backward: ours beside lightly's of the same name; time and peak memory.

To add a loss, add a `Pair` to `PAIRS`. Both are given the same tensors and must give the same value; where lightly's
defaults are not ours, the pair says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from typing import Any

import torch
from harness import Work, arguments, run
from lightly.loss import DINOLoss, NTXentLoss, SwaVLoss
from torch import Tensor
from torch.nn import functional as F

from ssl_registry.nn import Center, cross_view_entropy, info_nce, sinkhorn

SECTION = "Losses, forward and backward"
STATEFUL = "Losses with queues, prototypes and several views, forward and backward"
LIGHTLY = "lightly.loss"
Loss = Callable[..., Tensor]


@dataclass(frozen=True)
class Pair:
    """One loss of ours and the peer's.

    Args:
        name: of the loss.
        ours: module and class, and its arguments.
        theirs: the same of the peer's.
        dim: width of the inputs, [batch, dim].
        inputs: how many tensors it takes.
        spread: standard deviation of the inputs.
        goals: the least ratio that is wanted, by number of rows over the inputs (2N); 1 where nothing is said.
        products: of matrices [dim, batch] and [batch, dim], or of that size, that both make; they alone are shown too,
            where there are no fewer samples than dimensions.
    """

    name: str
    ours: tuple[str, str, dict[str, Any]]
    theirs: tuple[str, str, dict[str, Any]]
    dim: int
    inputs: int = 2
    spread: float = 1.0
    goals: dict[int, float] | None = None
    products: int = 0


BARLOW = ("ssl_registry_barlow_twins", "BarlowTwinsLoss", {"lambd": 0.0051})
VICREG = ("ssl_registry_vicreg", "VICRegLoss", {"mu": 12.5})  # lightly takes half of the variance term
DCL = ("ssl_registry_simclr", "DCLLoss")
PAIRS = [
    Pair(
        "NT-Xent",
        ("ssl_registry_simclr", "NTXentLoss", {"temperature": 0.5}),
        (LIGHTLY, "NTXentLoss", {"temperature": 0.5}),
        dim=128,
        goals={512: 2.0, 4096: 2.0},
    ),
    Pair(
        "DCL",
        (*DCL, {"temperature": 0.1}),
        (LIGHTLY, "DCLLoss", {"temperature": 0.1}),
        dim=128,
        goals={512: 1.3, 4096: 1.3},
    ),
    Pair(
        "DCLW",
        (*DCL, {"temperature": 0.1, "sigma": 0.5}),
        (LIGHTLY, "DCLWLoss", {"temperature": 0.1, "sigma": 0.5}),
        dim=128,
        goals={512: 1.3, 4096: 1.3},
    ),
    # Where as many samples as dimensions are given, both make the same three products of matrices.
    Pair(
        "Barlow Twins",
        BARLOW,
        (LIGHTLY, "BarlowTwinsLoss", {"lambda_param": 0.0051}),
        dim=2048,
        goals={512: 3.0},
        products=3,
    ),
    Pair(
        "Barlow Twins",
        BARLOW,
        (LIGHTLY, "BarlowTwinsLoss", {"lambda_param": 0.0051}),
        dim=8192,
        goals={512: 3.0, 4096: 1.3},
    ),
    Pair("VICReg", VICREG, (LIGHTLY, "VICRegLoss", {}), dim=2048, spread=0.9, goals={512: 3.0, 4096: 1.3}),
    Pair("VICReg", VICREG, (LIGHTLY, "VICRegLoss", {}), dim=8192, spread=0.9, goals={512: 3.0, 4096: 1.3}),
    Pair(
        "negative cosine similarity",
        ("ssl_registry.nn", "NegativeCosineSimilarity", {}),
        (LIGHTLY, "NegativeCosineSimilarity", {}),
        dim=2048,
        goals={512: 0.9, 4096: 0.9},  # the same call of torch
    ),
]
ROWS = 512, 4096
# Their matrices and copies of them take gigabytes and many seconds on a CPU.
SLOW = 4096 * 8192


def build(loss: tuple[str, str, dict[str, Any]]) -> Loss:
    module, name, options = loss
    found: Loss = getattr(import_module(module), name)(**options)
    return found


def forward_backward(loss: Loss, inputs: list[Tensor]) -> Callable[[], Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]

    def call() -> Tensor:
        for leaf in leaves:
            leaf.grad = None
        value = loss(*leaves)
        value.backward()
        return value.detach()

    return call


def products(count: int, inputs: list[Tensor]) -> Callable[[], None]:
    """Return a call that multiplies matrices of the inputs' size, and does nothing else."""
    a, b = inputs
    made = torch.empty(a.shape[1], b.shape[1], device=a.device)

    def call() -> None:
        for _ in range(count):
            torch.mm(a.T, b, out=made)

    return call


def pairs(device: str, only: str, dim: int) -> Iterator[Work]:
    for pair in PAIRS:
        if (only and only.lower() not in pair.name.lower()) or (dim and dim != pair.dim):
            continue
        for rows in ROWS:
            shape = rows // pair.inputs, pair.dim
            inputs = [pair.spread * torch.randn(shape, device=device) for _ in range(pair.inputs)]
            calls: dict[str, Callable[[], object]] = {
                "ours": forward_backward(build(pair.ours), inputs),
                "lightly": forward_backward(build(pair.theirs), inputs),
            }
            values = {who: float(call()) for who, call in calls.items()}  # type: ignore[arg-type]  # tensors
            assert abs(values["ours"] - values["lightly"]) <= 1e-4 * abs(values["ours"]) + 1e-5, (pair.name, values)
            if pair.products and rows >= pair.inputs * pair.dim:
                calls[f"limit: {pair.products} products of matrices"] = products(pair.products, inputs)
            goal = {"lightly": (pair.goals or {}).get(rows, 1.0)}
            few = 3 if rows * pair.dim >= SLOW and device == "cpu" else None
            name = f"{pair.name}, 2N = {rows}, d = {pair.dim}"
            yield Work(name, calls, SECTION, memory=True, goal=goal, rounds=few)


def compared(name: str, x: Tensor, ours: Loss, lightly: Loss) -> Work:
    """Time both, once they are known to agree: to three digits, as lightly's DINO loss adds up in one float32."""
    torch.testing.assert_close(ours(x.clone()), lightly(x.clone()).squeeze(), rtol=1e-3, atol=1e-3)
    contenders = {"ours": forward_backward(ours, [x]), "lightly": forward_backward(lightly, [x])}
    return Work(name, contenders, STATEFUL, memory=True, goal={"lightly": 1.0})


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
        "ours": forward_backward(lambda x: info_nce(neighbors, x, temperature=0.1), [predictions]),
        "lightly": forward_backward(lambda x: lightly(neighbors, x), [predictions]),
    }
    return Work(f"NNCLR, batch {batch}", contenders, STATEFUL, memory=True, goal={"lightly": 1.0})


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


# Those that take more than tensors of one shape.
OTHERS = {
    "MoCo v2": lambda device: [moco(device, batch, queue) for batch, queue in ((128, 4096), (256, 65536))],
    "NNCLR": lambda device: [nnclr(device, batch) for batch in (256, 2048)],
    "SwAV": lambda device: [swav(device, batch, prototypes) for batch, prototypes in ((128, 512), (64, 3000))],
    "DINO": lambda device: [dino(device, batch, prototypes) for batch, prototypes in ((64, 2048), (32, 65536))],
}


def works(device: str, only: str, dim: int) -> Iterator[Work]:
    found = (make(device) for name, make in OTHERS.items() if not dim and (not only or only.lower() in name.lower()))
    return chain(pairs(device, only, dim), chain.from_iterable(found))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "To copy construct from a tensor")  # lightly's DCLW, in each call
    options = arguments(__doc__, only="", dim=0)
    run(works(options.device, options.only, options.dim), options)
