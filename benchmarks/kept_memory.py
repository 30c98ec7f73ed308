"""What keeping freed memory saves a step on a CPU: the same step in a process that does, and in one that does not."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import step
import torch
from harness import Elsewhere, Work, arguments, run

from ssl_registry import SSLModule, registry
from ssl_registry._system.memory import keep_freed_memory
from ssl_registry.nn import SignalEncoder

SECTION = "Freed memory kept, on a CPU"
GIVEN_BACK = "as the C library comes"


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


def a_step(work: str, keeps: bool, options: argparse.Namespace) -> Callable[[], torch.Tensor]:
    if keeps and not keep_freed_memory():
        raise SystemExit("the C library is not glibc; there is nothing to keep")
    torch.manual_seed(0)
    build, half = MODELS[work]
    return step.ours(*build(options), half)


def works(options: argparse.Namespace) -> Iterator[Work]:
    for work in MODELS:
        calls = {"ours": Elsewhere(a_step, work, True, options), GIVEN_BACK: Elsewhere(a_step, work, False, options)}
        yield Work(work, calls, SECTION, goal={GIVEN_BACK: 1.0})


if __name__ == "__main__":
    options = arguments(__doc__, batch=64)
    run(works(options), options)
