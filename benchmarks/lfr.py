"""LFR: the step against the original loop, with the same weights and losses; optimizer step; choice of targets."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator

import torch
from harness import Work, arguments, run
from ssl_registry_lfr.dpp import greedy_dpp
from ssl_registry_lfr.selection import select, similarity_signatures
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import registry
from ssl_registry.model.optimizers import build_optimizer, default_param_groups
from ssl_registry.nn import TableEncoder

STEP, OPTIMIZER, CHOICE = "LFR, forward and backward", "LFR, optimizer step", "LFR, choice of six targets"
FEATURES = 64  # columns of the table
FUSED = "torch.optim.Adam, fused"
LIMIT = "limit: fused, all in one flat tensor"


def make(targets: int, dim: int, device: str) -> nn.Module:
    return registry.create(
        "lfr",
        backbone=TableEncoder(FEATURES, out_features=dim),
        input_shape=(FEATURES,),
        num_candidates=targets,
        num_targets=None,
        projection_dim=dim,
        seed=0,
    ).to(device)


def original_loss(pred: Tensor, target: Tensor, lambd: float = 0.01) -> Tensor:
    """The published structure of the loss: the diagonal, and a copy of all that is off it."""
    c = F.normalize(pred) @ F.normalize(target).T
    on = torch.diagonal(c).add(-1).pow(2).sum()
    n = len(c)
    off = c.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten().pow(2).sum()
    return on + lambd * off


def original_step(model: nn.Module, x: Tensor) -> Tensor:
    """The published structure of Minerva's step: a loop over all, stacked, and a loop over the losses."""
    z = model.backbone(x)
    pred = torch.stack([predictor(z) for predictor in model.heads["predictors"]], 1)
    target = torch.stack([projector(x) for projector in model.heads["projectors"]], 1)
    losses = [original_loss(pred[:, i], target[:, i]) for i in range(pred.shape[1])]
    return sum(losses[1:], losses[0]) / len(losses)


def steps(options: argparse.Namespace) -> Iterator[Work]:
    for targets, batch, dim, goal in (
        (6, 128, 64, 1.5),
        (64, 128, 64, 2.0),
        (256, 128, 64, 2.0),
        (6, 1024, 64, 2.0),
        (64, 1024, 64, 2.0),
        (6, 128, 256, 1.0),
        (64, 128, 256, 1.0),
        (64, 1024, 256, 1.0),
    ):
        model = make(targets, dim, options.device)
        twin = copy.deepcopy(model)
        x = torch.randn(batch, FEATURES, device=options.device)

        def ours(model: nn.Module = model, x: Tensor = x) -> Tensor:
            return model.hook.compute_loss(model=model, views=[x], ctx=None)

        def original(twin: nn.Module = twin, x: Tensor = x) -> Tensor:
            return original_step(twin, x)

        torch.testing.assert_close(ours(), original())
        calls = {"ours": backward(ours, model), "Minerva (structure)": backward(original, twin)}
        name = f"K = {targets}, batch {batch}, dim {dim}"
        yield Work(name, calls, STEP, memory=True, goal={"Minerva (structure)": goal})


def backward(loss: Callable[[], Tensor], model: nn.Module) -> Callable[[], object]:
    def call() -> None:
        model.zero_grad(set_to_none=True)
        loss().backward()

    return call


def optimizer_steps(options: argparse.Namespace) -> Iterator[Work]:
    for targets in (6, 64, 256):
        model = make(targets, 64, options.device)
        for p in model.parameters():
            if p.requires_grad:
                p.grad = torch.randn_like(p)
        config = type(model.config)(optimizer="adam")
        ours = build_optimizer(default_param_groups([model]), config)
        trained = [p for p in model.parameters() if p.requires_grad]
        flat = nn.Parameter(torch.cat([p.detach().flatten() for p in trained]))
        flat.grad = torch.randn_like(flat)
        calls = {
            "ours": ours.step,
            FUSED: torch.optim.Adam(trained, fused=True).step,
            "torch.optim.Adam, default form": torch.optim.Adam(trained).step,
            LIMIT: torch.optim.Adam([flat], fused=True).step,
        }
        # Ours is torch's fused step over two parameter groups, with and without weight decay.
        yield Work(f"K = {targets}", calls, OPTIMIZER, goal={FUSED: 0.95})


def choices() -> Iterator[Work]:
    for candidates in (64, 256, 1024):
        outputs = list(torch.randn(candidates, 128, 64))

        def whole_kernel(outputs: list[Tensor] = outputs) -> list[int]:
            signatures = similarity_signatures(outputs)
            return greedy_dpp(signatures @ signatures.T, 6)

        def original(outputs: list[Tensor] = outputs) -> list[int]:
            """A signature at a time, the whole kernel, then the greedy choice."""
            rows = [F.normalize(output.double(), dim=1) for output in outputs]
            signatures = torch.stack([F.normalize((row @ row.T).flatten(), dim=0) for row in rows])
            return greedy_dpp(signatures @ signatures.T, 6)

        def ours(outputs: list[Tensor] = outputs) -> list[int]:
            return select(outputs, 6)

        assert ours() == whole_kernel() == original()
        calls = {"ours": ours, "whole kernel": whole_kernel, "one by one, whole kernel": original}
        goal = {"one by one, whole kernel": 1.7 if candidates == 1024 else 1.0}
        yield Work(f"{candidates} candidates, 128 samples", calls, CHOICE, memory=True, goal=goal)


if __name__ == "__main__":
    options = arguments(__doc__)
    torch.manual_seed(0)
    run([*steps(options), *optimizer_steps(options), *choices()], options)
