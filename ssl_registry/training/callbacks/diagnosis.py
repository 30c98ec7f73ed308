"""What a training's snapshots mean: whether it has collapsed, and why that may be, the likeliest cause first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ssl_registry.measures.collapse import feature_spread
from ssl_registry.model.module import SSLModule

__all__ = ["Finding", "Snapshot", "judge", "likely_causes"]

# A single batch may mislead: this many snapshots in a row must agree.
SNAPSHOTS_IN_AGREEMENT = 3
# Measured: heads of healthy runs stay above 0.4, and backbones, whose features share a mean, above 0.2 (a transformer
# begins lower, and rises); collapsed ones fall below 0.1 and 0.03 in an epoch or two.
MIN_HEAD_SPREAD, MIN_BACKBONE_SPREAD = 0.1, 0.03
# A spread that grows by this factor from the first of these snapshots to the last is no collapse but a beginning.
RISING_FACTOR = 1.1
# The loss is at its trivial value when it differs by less than this share of it. Healthy runs of BYOL, SimCLR and LFR
# on digits never do (tests/training/callbacks/test_guard.py).
TRIVIAL_LOSS_TOLERANCE = 0.002

# Inputs with a lower `feature_spread` are copies of each other, but for noise.
MIN_INPUT_SPREAD = 0.01
# BatchNorm's error rises below 16 samples a device (Wu and He, 2018, arXiv:1803.08494, figure 1).
MIN_BATCH_FOR_BATCH_NORM = 16
# BYOL learns with 0.9 and collapses with 0 (Grill et al., 2020, arXiv:2006.07733, table 5a); between lies no figure.
MIN_MOMENTUM = 0.5
# Published recipes with SGD, LARS or Adam take 1e-6 to 3e-4; AdamW's decoupled decay is often 0.1 and more.
HIGH_WEIGHT_DECAY = 0.1


@dataclass(frozen=True)
class Snapshot:
    """What was seen of one training batch.

    Args:
        step: optimizer steps done.
        loss: of the batch.
        spread: `feature_spread` of each output that trains, by name: ``backbone`` and the heads.
        rank: `effective_rank` of each.
        trivial_loss: what the batch costs with a backbone that gives every sample the same; None if not computed.
    """

    step: int
    loss: float
    spread: dict[str, float]
    rank: dict[str, float]
    trivial_loss: float | None = None

    @property
    def is_trivial(self) -> bool:
        """Whether a backbone that gives every sample the same would do as well."""
        if self.trivial_loss is None:
            return False
        return abs(self.loss - self.trivial_loss) <= TRIVIAL_LOSS_TOLERANCE * abs(self.trivial_loss)


@dataclass(frozen=True)
class Finding:
    """What is wrong, in a sentence, and the names of the outputs that are constant."""

    sentence: str
    constant: set[str]


def judge(snapshots: Sequence[Snapshot]) -> Finding | None:
    """Tell what is wrong with a run, or None.

    Args:
        snapshots: so far, the latest last.

    Example:
        >>> dead = Snapshot(10, 0.0, {"backbone": 0.001}, {"backbone": 1.0})
        >>> judge([dead]) is None, judge([dead] * 3).constant
        (True, {'backbone'})
    """
    last = snapshots[-1]
    if not math.isfinite(last.loss):  # `DivergenceGuard` tells of it
        return None
    constant = {name for name in last.spread if _is_constant(name, snapshots[-SNAPSHOTS_IN_AGREEMENT:])}
    # A backbone whose features share a large mean still tells samples apart if a head behind it does.
    if constant and (constant != {"backbone"} or len(last.spread) == 1):
        name = min(constant, key=last.spread.__getitem__)
        return Finding(
            f"collapse at step {last.step}: {name} gives nearly the same for every sample (spread "
            f"{last.spread[name]:.4f}, healthy above {_min_spread(name)}; effective rank {last.rank[name]:.1f})",
            constant,
        )
    compared = [snapshot for snapshot in snapshots if snapshot.trivial_loss is not None][-SNAPSHOTS_IN_AGREEMENT:]
    if len(compared) == SNAPSHOTS_IN_AGREEMENT and all(snapshot.is_trivial for snapshot in compared):
        seen = compared[-1]
        return Finding(
            f"the loss is at its trivial value at step {seen.step}: {seen.loss:.4g}, and {seen.trivial_loss:.4g} with "
            "a backbone that gives every sample the same",
            set(),
        )
    return None


def _min_spread(name: str) -> float:
    return MIN_BACKBONE_SPREAD if name == "backbone" else MIN_HEAD_SPREAD


def _is_constant(name: str, recent: Sequence[Snapshot]) -> bool:
    """Whether an output has been nearly the same for every sample, and its spread does not grow."""
    spreads = [snapshot.spread.get(name, 1.0) for snapshot in recent]
    if len(spreads) < SNAPSHOTS_IN_AGREEMENT:
        return False
    return max(spreads) < _min_spread(name) and spreads[-1] <= RISING_FACTOR * spreads[0]


def likely_causes(model: SSLModule, constant: set[str], inputs: Tensor | None) -> list[str]:
    """Return causes in words, the likeliest first: those with evidence, then those that are always possible.

    Args:
        model: that collapsed.
        constant: names of the outputs that are nearly the same for every sample.
        inputs: a batch of the backbone's, [batch, *input_shape], if one was seen.
    """
    return [*_causes_with_evidence(model, constant, inputs), *_general_causes(model)]


def _causes_with_evidence(model: SSLModule, constant: set[str], inputs: Tensor | None) -> Iterator[str]:
    if inputs is not None and float(feature_spread(inputs.flatten(1))) < MIN_INPUT_SPREAD:
        yield "the views that reach the backbone are all the same: look at the data and at the view policy"
    heads = sorted(constant - {"backbone"})
    if heads and "backbone" not in constant:
        yield (
            f"{heads[0]} alone gives a constant while the backbone still tells samples apart: a head that ignores its "
            "input, dead units, or weights at zero"
        )
    # The method's own may well have none; where the user's has none, something that learned was replaced.
    for name in model.overridden:
        if name in model.heads and _is_empty(model.heads[name]):
            yield (
                f"{name} has no parameters (yours in place of the method's): a method that only attracts views "
                "collapses without them"
            )
    momentum = getattr(model.config, "momentum", None)
    if isinstance(momentum, float) and momentum < MIN_MOMENTUM:
        yield f"momentum={momentum} lets the moving average follow at once; 0.9 to 0.996 are usual"
    if inputs is not None and len(inputs) < MIN_BATCH_FOR_BATCH_NORM and _has_batch_norm(model):
        yield f"a batch of {len(inputs)} is small for BatchNorm and for anything that compares samples"
    decay = model.config.weight_decay
    if decay >= HIGH_WEIGHT_DECAY and model.config.optimizer != "adamw":
        yield f"weight_decay={decay} is strong for {model.config.optimizer}"


def _general_causes(model: SSLModule) -> Iterator[str]:
    rate, warmup = model.config.learning_rate, model.config.warmup_steps
    advice = "" if warmup else ", or needs warmup_steps"
    yield f"learning_rate={rate} is too high for {model.config.optimizer}{advice}"
    yield "the views have too much in common, or nothing: look at them in the report"
    yield "the loss does not keep samples apart"


def _is_empty(module: nn.Module) -> bool:
    return next(module.parameters(), None) is None


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules())
