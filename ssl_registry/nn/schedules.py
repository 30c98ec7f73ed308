"""Values that change with the optimizer step: momentum, temperatures, weight decay.

Pure functions of the step, so a resumed run meets the same values. A method calls them with ``ctx.max_steps``, and
with ``ctx.step`` in `compute_loss` or ``ctx.step - 1`` in `on_step_end`, where the step just made is already counted.
A value that changes by epochs takes ``ctx.epoch`` and a number of epochs.
"""

from __future__ import annotations

import math

__all__ = ["cosine_schedule", "linear_schedule"]


def linear_schedule(step: int, max_steps: int | None, start_value: float, end_value: float) -> float:
    """Move from ``start_value`` to ``end_value`` along a straight line.

    Over a whole run it is the momentum of I-JEPA (Assran et al., 2023, arXiv:2301.08243, appendix A). Over the first
    steps it is a warm-up that then stays constant: ``linear_schedule(ctx.step, 1000, 0.0, 0.1)``; so are the momentum
    of data2vec (Baevski et al., 2022, arXiv:2202.03555, section 3.3) and the teacher's temperature of DINO (Caron et
    al., 2021, arXiv:2104.14294, section 3.2), which counts epochs.

    Args:
        step: steps done, from 0; past ``max_steps`` the value stays at ``end_value``.
        max_steps: steps to the end; with 0 the value is ``end_value`` from the start; None, a run without a known
            end, leaves it at ``start_value``.
        start_value: at step 0.
        end_value: at step ``max_steps``.

    Raises:
        ValueError: if ``step`` or ``max_steps`` is negative.

    Example:
        >>> [linear_schedule(step, 4, 0.0, 1.0) for step in (0, 1, 4, 9)]
        [0.0, 0.25, 1.0, 1.0]
        >>> linear_schedule(7, None, 0.0, 1.0)
        0.0
    """
    _check_steps(step, max_steps, least=0)
    if max_steps is None:
        return start_value
    progress = min(1.0, step / max_steps) if max_steps else 1.0
    return _between(start_value, end_value, progress)


def cosine_schedule(
    step: int,
    max_steps: int | None,
    start_value: float,
    end_value: float,
    period: int | None = None,
    *,
    warmup_steps: int = 0,
    warmup_value: float = 0.0,
) -> float:
    """Move from ``start_value`` to ``end_value`` along half a cosine, after a linear warm-up if asked for.

    value = end - (end - start) * (cos(pi * k / K) + 1) / 2, with k the step and K ``max_steps``, both counted from
    the end of the warm-up. With ``start_value`` tau_base and ``end_value`` 1 it is the momentum of BYOL (Grill et
    al., 2020, arXiv:2006.07733, section 3.2); from 0.04 to 0.4 the weight decay of DINO (Caron et al., 2021,
    arXiv:2104.14294, section 3.2); with a warm-up the usual learning rate (Loshchilov and Hutter, 2017,
    arXiv:1608.03983, equation 5).

    Args:
        step: steps done, from 0; past ``max_steps`` the value stays as it is there.
        max_steps: steps of the whole run, the warm-up included; None, a run without a known end, leaves the value at
            ``start_value`` after the warm-up.
        start_value: at step ``warmup_steps``.
        end_value: at step ``max_steps``.
        period: steps of a full cycle from ``start_value`` to ``end_value`` and back, repeated without end, in place of
            the half cycle up to ``max_steps``.
        warmup_steps: steps in which the value moves from ``warmup_value`` to ``start_value`` along a straight line.
        warmup_value: at step 0, if there is a warm-up.

    Raises:
        ValueError: if ``step`` or ``warmup_steps`` is negative, or ``max_steps`` or ``period`` is below 1.

    Example:
        >>> [round(cosine_schedule(step, 100, 0.996, 1.0), 4) for step in (0, 50, 100, 200)]
        [0.996, 0.998, 1.0, 1.0]
        >>> [cosine_schedule(step, 6, 1.0, 0.0, warmup_steps=2) for step in (0, 1, 2, 4, 6)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    _check_steps(step, max_steps, least=1)
    if warmup_steps < 0:
        raise ValueError(f"warmup_steps={warmup_steps} must not be negative")
    if period is not None and period < 1:
        raise ValueError(f"period={period} must be at least 1, or None for half a cycle over max_steps")
    if period is None and max_steps is not None:
        step = min(step, max_steps)
    if step < warmup_steps:
        return _between(warmup_value, start_value, step / warmup_steps)
    step -= warmup_steps
    if period is not None:
        angle = 2 * math.pi * (step % period) / period
    elif max_steps is not None and step:  # step > 0 says that max_steps is beyond the warm-up
        angle = math.pi * step / (max_steps - warmup_steps)
    else:
        return start_value
    return _between(start_value, end_value, (1 - math.cos(angle)) / 2)


def _between(start_value: float, end_value: float, progress: float) -> float:
    """Mix the two values: exact at both ends, and where they are equal."""
    difference = end_value - start_value
    # From the nearer end: start + difference is not always end.
    return start_value + difference * progress if progress < 0.5 else end_value - difference * (1 - progress)


def _check_steps(step: int, max_steps: int | None, *, least: int) -> None:
    if step < 0:
        raise ValueError(f"step={step} must not be negative")
    if max_steps is not None and max_steps < least:
        raise ValueError(f"max_steps={max_steps} must be at least {least}, or None for a run without a known end")
