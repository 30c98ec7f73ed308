"""What keeping freed memory saves a step on a CPU: the same steps in two processes, which take turns."""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection

import step
import torch
from harness import Work, arguments, run

from ssl_registry import SSLModule, registry
from ssl_registry.nn import SignalEncoder
from ssl_registry.training.memory import keep_freed_memory

SECTION = "Freed memory kept, on a CPU"


def image_model(options: argparse.Namespace) -> tuple[SSLModule, list[torch.Tensor]]:
    size = argparse.Namespace(backbone="resnet18", size=64, device="cpu")
    return step.make("byol", size), [torch.randn(options.batch, 3, 64, 64) for _ in range(2)]


def signal_model(options: argparse.Namespace) -> tuple[SSLModule, list[torch.Tensor]]:
    """LFR's recipe for activity recognition, an epoch of the predictors."""
    model = registry.create(
        "lfr",
        backbone=SignalEncoder(9, length=128),
        input_shape=(9, 128),
        num_candidates=6,
        num_targets=None,
        projection_dim=2304,
        optimizer="adam",
        seed=0,
    )
    model.backbone.requires_grad_(False)
    return model, [torch.randn(2 * options.batch, 9, 128)]


MODELS = {
    "byol, resnet18, 64 px, float32": (image_model, False),
    "byol, resnet18, 64 px, bf16": (image_model, True),
    "lfr, signals of 9 x 128, 6 predictors of 2304 x 2304, bf16": (signal_model, True),
}


def serve(connection: Connection, options: argparse.Namespace, work: str, keeps: bool) -> None:
    """Make a step whenever asked."""
    if keeps and not keep_freed_memory():
        raise SystemExit("the C library is not glibc; there is nothing to keep")
    torch.manual_seed(0)
    build, half = MODELS[work]
    make_step = step.ours(*build(options), half)
    with suppress(EOFError):  # the other end is gone when all is measured
        while connection.recv():
            make_step()
            connection.send(True)


def process(options: argparse.Namespace, work: str, keeps: bool) -> Callable[[], object]:
    """Start a process, and return what makes a step in it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    context.Process(target=serve, args=(there, options, work, keeps), daemon=True).start()

    def call() -> object:
        here.send(True)
        return here.recv()

    return call


def works(options: argparse.Namespace) -> Iterator[Work]:
    for work in MODELS:
        calls = {"ours": process(options, work, True), "as the C library comes": process(options, work, False)}
        yield Work(work, calls, SECTION, goal={"as the C library comes": 1.0})


if __name__ == "__main__":
    options = arguments(__doc__, batch=64)
    run(works(options), options)
