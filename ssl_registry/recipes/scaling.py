"""The rules that carry a value from the batch size it was published for to another one.

With ``factor`` = samples a step here / samples a step there, over all processes and accumulated micro-batches:

- ``linear``: value * factor; the learning rate (Goyal et al., 2017, arXiv:1706.02677, section 2.1). What a paper
  states as "base * batch size / 256" is the same rule.
- ``sqrt``: value * sqrt(factor); the learning rate of DINOv2 (Oquab et al., 2023, arXiv:2304.07193, the authors' code).
- ``power``: value ** factor; a moving average's momentum (Busbridge et al., 2023, "How to Scale Your EMA",
  arXiv:2307.13813), which keeps the average's horizon the same number of samples.
- ``inverse``: value / factor, rounded, at least 1; a number of steps that stands for a number of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["RULES", "rescale"]

RULES: dict[str, Callable[[float, float], float]] = {
    "linear": lambda value, factor: value * factor,
    "sqrt": lambda value, factor: value * factor**0.5,
    "power": lambda value, factor: value**factor,
    "inverse": lambda value, factor: max(1, round(value / factor)) if value else 0,
}


def rescale(values: Mapping[str, float], rules: Mapping[str, str], factor: float) -> dict[str, float]:
    """Carry values over to a batch ``factor`` times as large.

    Args:
        values: by option, as published.
        rules: the rule of each option, a key of `RULES`.
        factor: greater than 0; at 1 nothing changes.

    Returns:
        The options that have a rule, scaled.

    Example:
        >>> rescale({"learning_rate": 0.2, "warmup_steps": 100}, {"learning_rate": "linear"}, 2.0)
        {'learning_rate': 0.4}
        >>> round(rescale({"momentum": 0.99}, {"momentum": "power"}, 4.0)["momentum"], 4)
        0.9606
    """
    if factor == 1:
        return {option: values[option] for option in rules}
    return {option: RULES[rule](values[option], factor) for option, rule in rules.items()}
