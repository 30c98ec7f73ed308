"""Weights that are sharded over processes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ssl_registry.model.module import SSLModule
from ssl_registry.nn import MomentumTeacher, rank, world_size
from ssl_registry.testing.check import check
from ssl_registry.testing.comparable import Comparable
from ssl_registry.testing.processes import WORLD, run_in_two
from ssl_registry.testing.remote import compare, describe, rebuild, synchronize_norms, values_of
from ssl_registry.testing.subject import Subject, ready_made

# Of samples on each rank: a prime, so that no width, number of patches or of classes is taken for it.
SHARE = 7


def _model(subject: Subject) -> SSLModule:
    plain: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.01, "optimizer_kwargs": {}}
    return subject.model(observers=[Comparable(shared_out=True)], **plain).double()


def _shard_in_two(number: int, told: dict[str, Any]) -> dict[str, Tensor]:
    """Shard each trainable module and each target over two processes, and make one step by hand."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    subject = rebuild(told)
    model = _model(subject)
    mesh = init_device_mesh("cpu", (WORLD,))
    views = [view[number * SHARE : (number + 1) * SHARE] for view in subject.views(model, WORLD * SHARE)]
    synchronize_norms(model)
    for head in [model.backbone, *model.heads.values()]:
        # A list has no forward pass of its own, and of a teacher the first part may be asked for its tokens: there the
        # members are sharded.
        for part in head.children() if isinstance(head, torch.nn.ModuleList | MomentumTeacher) else [head]:
            if any(True for _ in part.parameters()):
                fully_shard(part, mesh=mesh, reshard_after_forward=True)
    _step_by_hand(model, views)
    return {name: _whole(tensor) for name, tensor in model.state_dict().items()}


def _whole(tensor: Any) -> Tensor:
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full.detach().clone()


def _step_by_hand(model: SSLModule, views: list[Tensor]) -> None:
    configured = model.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    batch = model._read(ready_made(views, first=rank() * SHARE), 0, 0)
    before, after = (
        replace(model._context(0, batch=batch, steps_more=more), rank=rank(), world_size=world_size())
        for more in (0, 1)
    )
    loss, _ = model._loss(views, before)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    model.hook.on_step_end(model=model, ctx=after)


@check(slow=True)
def fsdp2(subject: Subject) -> None:
    """One step with sharded weights (FSDP2) gives the weights of one step in one process.

    Why: a backbone that does not fit on one device is sharded; parameters are DTensors then.
    Usual cause: `.data`, views of weights or lists of plain tensors beside DTensors in a momentum update.
    """
    model = _model(subject)
    _step_by_hand(model, subject.views(model, WORLD * SHARE))
    found = values_of(run_in_two(_shard_in_two, describe(subject)))
    compare([{"weights": ranks} for ranks in found], dict(model.state_dict()), "weights", "{} after one sharded step")
