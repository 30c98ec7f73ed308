"""A whole training step: ours against lightly's and solo-learn's compositions, from the same weights and views.

Each contender does what its project's training loop does with ready-made views: forward, loss, backward,
optimizer, moving average. On a CPU each has a process of its own, in which ours keeps freed memory, as
`ssl-registry train` does. The first losses must agree, and are printed.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial

import torch
from harness import Elsewhere, Work, arguments, run
from ntxent import losses as contrastive_losses
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import SSLModule, registry
from ssl_registry._system.memory import keep_freed_memory
from ssl_registry.model.optimizers import build_optimizer, default_param_groups
from ssl_registry.nn import deactivate_requires_grad

SECTION = "Training step"
MOMENTUM = 0.99
OPTIMIZER = {"byol": "adam", "simclr": "sgd"}
COMPILED = "ours, compiled"


def make(method: str, options: argparse.Namespace) -> SSLModule:
    extra = {"momentum": MOMENTUM, "final_momentum": MOMENTUM} if method == "byol" else {}
    return registry.create(
        method,
        backbone=options.backbone,
        image_size=options.size,
        optimizer=OPTIMIZER[method],
        learning_rate=1e-5,  # hundreds of steps on one batch must not run away
        seed=0,
        **extra,
    ).to(options.device)


def ours(model: SSLModule, views: list[Tensor], half: bool) -> Callable[[], Tensor]:
    """The step as the core makes it, without Lightning's loop (benchmarks/overhead.py measures that)."""
    model.to(memory_format=torch.channels_last)  # as `SSLModule.setup` does
    groups = model.hook.param_groups(model=model, config=model.config)
    optimizer = build_optimizer(groups or default_param_groups([model.backbone, model.heads]), model.config)

    def step() -> Tensor:
        ctx = model._context(0)
        with autocast(views[0], half):
            loss = model.hook.compute_loss(model=model, views=views, ctx=ctx)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        model.hook.on_step_end(model=model, ctx=model._context(0, steps_more=1))
        return loss.detach()

    return step


def composition(
    model: SSLModule,
    views: list[Tensor],
    *,
    half: bool,
    channels_last: bool,
    average: Callable[[nn.Module, nn.Module], None],
    contrast: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[], Tensor]:
    """lightly's and solo-learn's published structure: modules, a moving average first, one view at a time."""
    backbone, projection = (copy.deepcopy(part) for part in (model.backbone, model.heads["projection_head"]))
    parts = [backbone, projection]
    byol = "target" in model.heads
    if byol:
        prediction, target = (copy.deepcopy(model.heads[name]) for name in ("prediction_head", "target"))
        deactivate_requires_grad(target)
        parts.append(prediction)
    if channels_last:
        for part in [*parts, *([target] if byol else [])]:
            part.to(memory_format=torch.channels_last)
    parameters = [p for part in parts for p in part.parameters()]
    # The arithmetic of ours, in torch's default form: timm's `sgd` has Nesterov's momentum.
    kinds = {"adam": torch.optim.Adam, "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True)}
    optimizer = kinds[OPTIMIZER[model.info.name]](parameters, lr=1e-5, weight_decay=model.config.weight_decay)

    def loss_of_byol() -> Tensor:
        average(backbone, target[0])
        average(projection, target[1])
        p0, p1 = (prediction(projection(backbone(view).flatten(1))) for view in views)
        with torch.no_grad():
            z0, z1 = (target[1](target[0](view).flatten(1)) for view in views)
        return 0.5 * sum(-F.cosine_similarity(p.float(), z.float(), dim=1).mean() for p, z in ((p0, z1), (p1, z0)))

    def loss_of_simclr() -> Tensor:
        z0, z1 = (projection(backbone(view).flatten(1)) for view in views)
        return contrast(z0.float(), z1.float())

    def step() -> Tensor:
        with autocast(views[0], half):
            loss = loss_of_byol() if byol else loss_of_simclr()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def autocast(x: Tensor, half: bool) -> torch.autocast | nullcontext[None]:
    return torch.autocast(x.device.type, torch.bfloat16) if half else nullcontext()


@torch.no_grad()
def two_passes(online: nn.Module, target: nn.Module) -> None:
    """lightly's published structure of the moving average."""
    theirs = list(target.parameters())
    torch._foreach_mul_(theirs, MOMENTUM)
    torch._foreach_add_(theirs, list(online.parameters()), alpha=1 - MOMENTUM)


@torch.no_grad()
def one_by_one(online: nn.Module, target: nn.Module) -> None:
    """solo-learn's."""
    for a, b in zip(online.parameters(), target.parameters(), strict=True):
        b.data = MOMENTUM * b.data + (1 - MOMENTUM) * a.data


def contender(who: str, method: str, half: bool, options: argparse.Namespace) -> Callable[[], Tensor]:
    """Return a step of ours, lightly's or solo-learn's; all begin with the same weights and views."""
    torch.manual_seed(0)
    views = [torch.randn(options.batch, 3, options.size, options.size, device=options.device) for _ in range(2)]
    model = make(method, options)
    found = contrastive_losses()
    if who.startswith("lightly"):
        contrast = found.get("lightly", found["masked cross-entropy"])
        return composition(model, views, half=half, channels_last=False, average=two_passes, contrast=contrast)
    if who.startswith("solo-learn"):
        contrast = found["solo-learn (structure)"]
        return composition(model, views, half=half, channels_last=True, average=one_by_one, contrast=contrast)
    if options.device == "cpu":
        keep_freed_memory()
    if who == COMPILED:
        model.compile_networks()
    return ours(model, views, half)


def works(options: argparse.Namespace) -> Iterator[Work]:
    for method in options.methods.split(","):
        for half in (False, True):
            kind = "bf16" if half else "float32"
            goal = {f"lightly (composition), {kind}": 1.0 if half else 1.1, f"solo-learn (structure), {kind}": 1.0}
            if half:
                goal["lightly (composition), float32"] = 1.7
            places = {who: (who, method, half and "float32" not in who, options) for who in ("ours", *goal)}
            if options.compile:
                places[COMPILED] = (COMPILED, method, half, options)
            calls = {
                who: Elsewhere(contender, *place) if options.device == "cpu" else contender(*place)
                for who, place in places.items()
            }
            first = {who: float(call()) for who, call in calls.items()}
            print("first losses:", {who: round(value, 4) for who, value in first.items()})
            assert max(first.values()) - min(first.values()) < (0.05 if half else 1e-3), first
            name = f"{method}, {options.backbone}, {options.size} px, batch {options.batch}, {kind}"
            yield Work(name, calls, SECTION, memory=True, goal=goal, rounds=5)


if __name__ == "__main__":
    options = arguments(__doc__, methods="byol,simclr", backbone="resnet18", size=64, batch=64, compile=0)
    run(works(options), options)
