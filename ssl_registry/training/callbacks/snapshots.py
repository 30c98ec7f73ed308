"""What one look at a training saw, and what several of them mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Finding", "Look", "judge"]

# A single batch may mislead: so many looks in a row must agree.
AGREE = 3
# Heads of healthy runs stay above 0.4, and backbones, whose features share a mean, above 0.2 (a transformer begins
# lower, and rises); collapsed ones fall below 0.1 and 0.03 in an epoch or two.
LEAST_SPREAD, LEAST_BACKBONE_SPREAD = 0.1, 0.03
# A spread that grows by this factor from the first of these looks to the last is no collapse but a beginning.
RISING = 1.1
# The trivial value is reached when the loss is this share away from it.
TRIVIAL = 0.002


@dataclass(frozen=True)
class Look:
    """One look at a run.

    Args:
        step: optimizer steps done.
        loss: of the batch.
        spread: `feature_spread` of each output that trains, by name: ``backbone`` and the heads.
        rank: `effective_rank` of each.
        blind_loss: what the batch costs with a backbone that gives every sample the same; None if not asked.
    """

    step: int
    loss: float
    spread: dict[str, float]
    rank: dict[str, float]
    trivial_loss: float | None = None

    @property
    def is_trivial(self) -> bool:
        """Whether a blind backbone would do as well."""
        return self.trivial_loss is not None and abs(self.loss - self.trivial_loss) <= TRIVIAL * abs(self.trivial_loss)


@dataclass(frozen=True)
class Finding:
    """What is wrong, in a sentence, and the outputs that are constant."""

    sentence: str
    constant: set[str]


def judge(looks: Sequence[Look]) -> Finding | None:
    """Tell what is wrong with a run, or None.

    Args:
        looks: so far, the latest last.

    Example:
        >>> dead = Look(10, 0.0, {"backbone": 0.001}, {"backbone": 1.0})
        >>> judge([dead]) is None, judge([dead] * 3).constant
        (True, {'backbone'})
    """
    last = looks[-1]
    if not math.isfinite(last.loss):
        return Finding(f"the loss is {last.loss} at step {last.step}: training has diverged", set())
    constant = {name for name in last.spread if _is_constant(name, looks[-AGREE:])}
    # A backbone whose features share a large mean still tells samples apart if a head behind it does.
    if constant and (constant != {"backbone"} or len(last.spread) == 1):
        name = min(constant, key=last.spread.__getitem__)
        return Finding(
            f"collapse at step {last.step}: {name} gives nearly the same for every sample (spread "
            f"{last.spread[name]:.4f}, healthy above {_least(name)}; effective rank {last.rank[name]:.1f})",
            constant,
        )
    compared = [look for look in looks if look.trivial_loss is not None][-AGREE:]
    if len(compared) == AGREE and all(look.is_trivial for look in compared):
        seen = compared[-1]
        return Finding(
            f"the loss is at its trivial value at step {seen.step}: {seen.loss:.4g}, and {seen.trivial_loss:.4g} with "
            "a backbone that gives every sample the same",
            set(),
        )
    return None


def _least(name: str) -> float:
    return LEAST_BACKBONE_SPREAD if name == "backbone" else LEAST_SPREAD


def _is_constant(name: str, recent: Sequence[Look]) -> bool:
    """Whether an output has been nearly the same for every sample, and is not on its way out of it."""
    spreads = [look.spread.get(name, 1.0) for look in recent]
    return len(spreads) == AGREE and max(spreads) < _least(name) and spreads[-1] <= RISING * spreads[0]
