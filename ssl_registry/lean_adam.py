"""Adam and AdamW with torch's fused arithmetic, and little around it.

torch's own step looks for CUDA, sorts all tensors by device and type, and asks for each parameter's options; over many
small parameters that takes longer than the arithmetic. Here an ordinary step gathers what the fused operator takes and
calls it, and whatever is not ordinary is torch's own step. Parameters, state and state dict are torch's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW

__all__ = ["LeanAdam", "LeanAdamW"]

# Without the wrappers that torch puts around every optimizer's step: ours has its own.
_step_of_torch = inspect.unwrap(Adam.step)


class LeanAdam(Adam):
    """`torch.optim.Adam` whose fused step costs less for each parameter."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make a step, after ``closure``, which computes the loss and the gradients, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        updates = [_Update(group, self.state) for group in self.param_groups]
        scaled = getattr(self, "grad_scale", None) is not None or getattr(self, "found_inf", None) is not None
        if not scaled and all(update.is_ordinary() for update in updates):
            for update in updates:
                update()
        else:
            _step_of_torch(self)
        return loss


class LeanAdamW(LeanAdam, AdamW):
    """`torch.optim.AdamW`, likewise."""


class _Update:
    """What a step does to a group: its parameters that have a gradient, with their states."""

    def __init__(self, group: dict[str, Any], states: Mapping[Tensor, dict[str, Tensor]]) -> None:
        self.group = group
        found = [(p, grad) for p in group["params"] if (grad := p.grad) is not None]
        self.parameters, self.grads = [p for p, _ in found], [grad for _, grad in found]
        self.states: list[Any] = [*map(states.get, self.parameters)]

    def is_ordinary(self) -> bool:
        """Whether the fused operator alone does all that torch's step would do."""
        group = self.group
        if group["amsgrad"] or group["capturable"] or not group["fused"] or isinstance(group["lr"], Tensor):
            return False
        devices, types = {p.device for p in self.parameters}, {p.dtype for p in self.parameters}
        if len(devices) > 1 or len(types) > 1 or any(device.type not in ("cpu", "cuda") for device in devices):
            return False
        if any(device.type == "cuda" for device in devices) and torch.cuda.is_current_stream_capturing():
            return False
        return all(self.states)  # a parameter's first step makes its state

    def __call__(self) -> None:
        """Do it."""
        if not self.parameters:
            return
        group = self.group
        steps, means, squares = ([*map(itemgetter(key), self.states)] for key in ("step", "exp_avg", "exp_avg_sq"))
        torch._foreach_add_(steps, 1)
        fused = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
        fused(
            self.parameters,
            self.grads,
            means,
            squares,
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=group["maximize"],
        )
