"""What each comparison shares: a small network without BatchNorm, views to feed both, and the difference at the end."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ssl_registry import registry

__all__ = ["STEPS", "context_free_step", "model_of", "network", "report", "views"]

STEPS = 10


def network() -> nn.Module:
    """Images of one channel to 16 features. GroupNorm, so that a view's features do not depend on the others."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.GroupNorm(2, 8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.GroupNorm(2, 16), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    ).double()


def model_of(method: str, **options: object) -> nn.Module:
    """Create our method on it, in float64: what differs by more than rounding differs in the method."""
    return registry.create(method, backbone=network(), input_shape=(1, 16, 16), **options).double().train()


def views(step: int, sizes: Sequence[int], batch: int = 12) -> list[Tensor]:
    """Random numbers in place of views, others in each step."""
    generator = torch.Generator().manual_seed(step)
    return [torch.rand(batch, 1, size, size, dtype=torch.float64, generator=generator) for size in sizes]


def context_free_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: list[Tensor], step: int) -> float:
    """Do what the trainer does in a step: loss, gradient, optimizer, and what follows it."""
    from ssl_registry import Context

    generator = torch.Generator().manual_seed(0)

    def context(done: int) -> Context:
        return Context(9, done, STEPS, rank=0, world_size=1, generator=generator, log=lambda name, value: None)

    loss = model.hook.compute_loss(model=model, views=x, ctx=context(step))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.hook.on_step_end(model=model, ctx=context(step + 1))
    return loss.item()


def report(name: str, losses: list[tuple[float, float]], pairs: Sequence[tuple[nn.Module, nn.Module]]) -> None:
    """Print the greatest differences, and fail if they are more than rounding."""
    weights = max(
        (a - b).abs().max().item()
        for ours, theirs in pairs
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)
    )
    loss = max(abs(a - b) for a, b in losses)
    print(f"{name}: after {STEPS} steps weights differ by {weights:.1e} at most, losses by {loss:.1e}")
    assert weights < 1e-10, name
    assert loss < 1e-10, name


twin: Callable[[nn.Module], nn.Module] = copy.deepcopy
