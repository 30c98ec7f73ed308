"""Losses, forward and backward: ours beside lightly's of the same name; time and peak memory.

To add a loss, add a `Pair` to `PAIRS`. Both are given the same tensors and must give the same value; where lightly's
defaults are not ours, the pair says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from harness import Work, arguments, run
from torch import Tensor

SECTION = "Losses, forward and backward"
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
    """

    name: str
    ours: tuple[str, str, dict[str, Any]]
    theirs: tuple[str, str, dict[str, Any]]
    dim: int
    inputs: int = 2
    spread: float = 1.0
    goals: dict[int, float] | None = None


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
    Pair("Barlow Twins", BARLOW, (LIGHTLY, "BarlowTwinsLoss", {"lambda_param": 0.0051}), dim=2048, goals={512: 3.0}),
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


def works(device: str, only: str) -> Iterator[Work]:
    for pair in PAIRS:
        if only and only.lower() not in pair.name.lower():
            continue
        for rows in ROWS:
            shape = rows // pair.inputs, pair.dim
            inputs = [pair.spread * torch.randn(shape, device=device) for _ in range(pair.inputs)]
            calls = {
                "ours": forward_backward(build(pair.ours), inputs),
                "lightly": forward_backward(build(pair.theirs), inputs),
            }
            values = {who: float(call()) for who, call in calls.items()}
            assert abs(values["ours"] - values["lightly"]) <= 1e-4 * abs(values["ours"]) + 1e-5, (pair.name, values)
            goal = {"lightly": (pair.goals or {}).get(rows, 1.0)}
            few = 3 if rows * pair.dim >= SLOW and device == "cpu" else None
            name = f"{pair.name}, 2N = {rows}, d = {pair.dim}"
            yield Work(name, calls, SECTION, memory=True, goal=goal, rounds=few)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "To copy construct from a tensor")  # lightly's DCLW, in each call
    options = arguments(__doc__, only="")
    run(works(options.device, options.only), options)
