"""Why a training may have diverged, the likeliest cause first, and how to go on with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from lightning.pytorch import Trainer

from ssl_registry.model.module import SSLModule

__all__ = ["causes_of_divergence", "how_to_go_on"]

# exp(cosine / temperature) overflows float32 below it.
MIN_TEMPERATURE = 1 / math.log(torch.finfo(torch.float32).max)
MOST_NAMES = 5


def causes_of_divergence(model: SSLModule, trainer: Trainer, samples: Sequence[str]) -> list[str]:
    """Return causes in words: those with evidence, then those that are always possible.

    Args:
        model: that diverged.
        trainer: that trains it.
        samples: of the first batch whose loss was not finite, those that hold NaN or infinity themselves. They explain
            all that follows.
    """
    if samples:
        more = f" and {len(samples) - MOST_NAMES} more" if len(samples) > MOST_NAMES else ""
        return [f"the batch held NaN or infinity, in {', '.join(samples[:MOST_NAMES])}{more}: mend or remove them"]
    return list(_causes(model, trainer))


def _causes(model: SSLModule, trainer: Trainer) -> Iterator[str]:
    config = model.config
    for name, value in config:
        if name.endswith("temperature") and isinstance(value, float) and 0 < value < MIN_TEMPERATURE:
            yield f"{name}={value:g} is too small: exp(1/{value:g}) overflows float32; --{name} 0.1 is usual"
    if str(trainer.precision).startswith("16"):
        yield "float16 overflows above 65504: --trainer.precision bf16-mixed or 32-true"
    usual = type(config).model_fields["learning_rate"].default
    told = f" (the method's default: {usual:g})" if isinstance(usual, float) and usual != config.learning_rate else ""
    warmup = "" if config.warmup_steps else ", without --warmup_steps at least"
    yield f"--learning_rate {config.learning_rate:g} is too high for {config.optimizer}{told}{warmup}"
    if not trainer.gradient_clip_val:
        yield "a gradient that nothing limits: --trainer.gradient_clip_val 1"
    yield "the loss divides by zero or takes the root of zero: --trainer.detect_anomaly true names the operation"


def how_to_go_on(checkpoint: Path | None, step: int | None, *, method: str, samples: Sequence[str]) -> str:
    """Tell what is left of the run, and what to change: the same options would diverge again.

    Args:
        checkpoint: where the run saves itself; None where that is not known.
        step: of the checkpoint that lies there; None if there is none.
        method: its name.
        samples: that are to blame.
    """
    if checkpoint is None:
        return ""
    if step is None:
        kept, verb = "No checkpoint was written before that.", "begin again"
    else:
        kept, verb = f"{checkpoint} of step {step} stays: its weights are finite.", "go on with --resume"
    if samples:
        return f"{kept} Mend the samples and {verb}"
    run = checkpoint.parent.parent
    if step is None:
        return f"{kept} The same options diverge again: change --learning_rate first"
    return (
        f"{kept} --resume with the same options diverges again: give it --trainer.gradient_clip_val or "
        "--trainer.precision; a lower --learning_rate makes it another run: ssl-registry train "
        f"{method} --from {run} --learning_rate X --out FOLDER"
    )
