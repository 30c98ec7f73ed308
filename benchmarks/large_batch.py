"""A batch of 1,024 through the network 64 at a time, beside all at once and beside a plain step on 64: time and memory.

The network has no BatchNorm (the head's sees all features), so that the step is the whole batch's: what it does to the
weights is compared before anything is measured. Each contender has a process of its own. The network runs forward twice
and backward once, so it costs four thirds of what the same samples take in steps of 64; one batch of 1,024 can be
faster, as it reads weights once for all samples. Memory should be a micro-batch's.
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
    yield Work(name, calls, SECTION, memory=True, rounds=3)


def tell(rows: list[Measured], options: argparse.Namespace) -> None:
    """Say how many times the memory and the time of plain steps on as many samples the large batch took."""
    found = {row.who: row for row in rows}
    ours, plain = (found[who.format(options.micro_batch)] for who in (OURS, PLAIN))
    steps = options.batch / options.micro_batch
    print(f"time: {1 / (plain.ratio * steps):.2f} times {steps:.0f} steps on {options.micro_batch}")
    if ours.peak is not None and plain.peak:
        mark = "" if ours.peak <= MOST * plain.peak else f" (goal {MOST})"
        print(f"memory: {ours.peak / plain.peak:.2f} times what a step on {options.micro_batch} takes{mark}")


if __name__ == "__main__":
    options = arguments(__doc__, batch=1024, micro_batch=64, size=32)
    tell(run(works(options), options), options)
