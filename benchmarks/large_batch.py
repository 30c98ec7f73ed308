"""A batch of 1,024 through the network 64 at a time, beside all at once and beside a plain step on 64: time and memory.

The network has no BatchNorm (the head's sees all features), so that the step is the whole batch's: what it does to the weights is compared before
anything is measured. Each contender has a process of its own. The network runs forward twice where a step on all at
once runs it once and backward, so four thirds of the time are what it costs; memory should be what a micro-batch takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import timm
import torch
from harness import Elsewhere, Measured, Work, arguments, run
from torch import Tensor

from ssl_registry import SSLModule, registry
from ssl_registry.testing.subject import ready_made

SECTION = "A large batch in micro-batches"
OURS, WHOLE, PLAIN = "ours: {} at a time", "all {} at once", "a step on {} alone"
# Between the weights after a step, and of a micro-batch's memory.
SAME, MOST = 1e-6, 1.3


def build(batch: int, micro_batch: int | None, size: int) -> tuple[SSLModule, Callable[[], Tensor]]:
    """Return SimCLR on a ResNet-18 with GroupNorm, and its step, on two views of noise."""
    torch.manual_seed(0)
    backbone = timm.create_model("resnet18", norm_layer="groupnorm", num_classes=0)
    model = registry.create("simclr", backbone=backbone, input_shape=(3, size, size), seed=0).train()
    model.micro_batch = micro_batch
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    views = ready_made([torch.randn(batch, 3, size, size) for _ in range(2)])

    def step() -> Tensor:
        loss, _ = model.batch_loss(views, 0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


def stepper(batch: int, micro_batch: int | None, size: int) -> Callable[[], Tensor]:
    return build(batch, micro_batch, size)[1]


def compare(batch: int, micro_batch: int, size: int) -> None:
    """Say by how much weights differ after a step in parts and one on all at once, and end where it is too much."""
    weights, moved = [], []
    for parts in (micro_batch, None):
        model, step = build(batch, parts, size)
        before = [parameter.detach().clone() for parameter in model.parameters()]
        step()
        weights.append([parameter.detach() for parameter in model.parameters()])
        moved.append(max(float((a - b).abs().max()) for a, b in zip(weights[-1], before, strict=True)))
    wrong = max(float((a - b).abs().max()) for a, b in zip(*weights, strict=True))
    print(f"weights after a step differ by {wrong:.1e} at most; the step moved them by up to {moved[0]:.1e}")
    assert wrong <= SAME < moved[0], (wrong, moved)


def works(options: argparse.Namespace) -> Iterator[Work]:
    batch, micro_batch, size = options.batch, options.micro_batch, options.size
    compare(batch, micro_batch, size)
    places = {
        OURS.format(micro_batch): (batch, micro_batch, size),
        WHOLE.format(batch): (batch, None, size),
        PLAIN.format(micro_batch): (micro_batch, None, size),
    }
    calls = {who: Elsewhere(stepper, *place) for who, place in places.items()}
    name = f"simclr, resnet18 with GroupNorm, {size} px, batch {batch}"
    yield Work(name, calls, SECTION, memory=True, goal={WHOLE.format(batch): 0.7}, rounds=3)


def tell_memory(rows: list[Measured], micro_batch: int) -> None:
    """Say how many times a plain step's memory the large batch took."""
    peaks = {row.who: row.peak for row in rows}
    ours, plain = peaks[OURS.format(micro_batch)], peaks[PLAIN.format(micro_batch)]
    if ours is not None and plain:
        mark = "" if ours <= MOST * plain else f" (goal {MOST})"
        print(f"memory: {ours / plain:.2f} times what a step on {micro_batch} takes{mark}")


if __name__ == "__main__":
    options = arguments(__doc__, batch=1024, micro_batch=64, size=32)
    tell_memory(run(works(options), options), options.micro_batch)
