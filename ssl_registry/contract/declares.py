"""`Declares`: what a method does on purpose, where the conformance kit would take it for a mistake.

It imports no torch: a method states it in its class, and help is shown without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Declares", "declares_of"]

REASONS = ("options", "targets", "statistics", "stopped", "fails")


@dataclass(frozen=True)
class Declares:
    """What a method does on purpose; the class attribute ``declares`` of a method. By default nothing is declared.

    The conformance kit holds every method to general properties. Where a paper wants something else, the method says so
    here, with the place in the paper. A declaration of something that the kit does not find is a failure too.

    Args:
        options: options that change nothing within four steps, which are two epochs, by name, each with what they do
            and when.
        by_epochs: why the same batches, divided into other epochs, give other weights.
        targets: heads that start elsewhere than the network whose average they are, or do not follow it.
        statistics: networks whose BatchNorm layers do not use the batch's statistics while they are trained with or are
            compared with: names of heads.
        shared_statistics: why several views go through a network with BatchNorm as one batch.
        stopped: networks, ``"backbone"`` or names of heads, whose outputs take part in the loss without a gradient, in
            all their calls or in some: a stop-gradient.
        grows: why the loss of a batch that holds each sample twice is another one, by half or more.
        fails: checks of the kit that the method cannot pass by its nature, by name.
        symmetric: whether exchanging the first two views leaves the loss as it was.
        small: values of options with which the kit runs where it is told no others, such as widths: its networks have a
            few thousand weights, and a check takes seconds.
        reference: where an independent formula of the loss is, as an entry point names it:
            ``"package.module:function"``. It is called with the arguments of `compute_loss`, on a model in float64, and
            returns the loss.

    Example:
        >>> declares = Declares(symmetric=True, stopped={"projection_head": "the other view's target (eq. 2)"})
        >>> declares.problem(options=["temperature"])
        ''
    """

    options: Mapping[str, str] = field(default_factory=dict)
    by_epochs: str = ""
    targets: Mapping[str, str] = field(default_factory=dict)
    statistics: Mapping[str, str] = field(default_factory=dict)
    shared_statistics: str = ""
    stopped: Mapping[str, str] = field(default_factory=dict)
    grows: str = ""
    fails: Mapping[str, str] = field(default_factory=dict)
    symmetric: bool = False
    small: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""

    def problem(self, options: Any) -> str:
        """Return what is wrong with the values, in words; an empty string where nothing is.

        Args:
            options: names of the method's options.
        """
        for name in REASONS:
            value = getattr(self, name)
            if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
                return f"{name}={value!r} must be a dict of reasons by name"
            if blank := [key for key, reason in value.items() if not (isinstance(reason, str) and reason.strip())]:
                return f"{name}[{blank[0]!r}] has no reason; say in a sentence why, and where the paper has it"
        for name in ("by_epochs", "shared_statistics", "grows", "reference"):
            if not isinstance(getattr(self, name), str):
                return f"{name}={getattr(self, name)!r} must be a sentence"
        if not isinstance(self.symmetric, bool):
            return f"symmetric={self.symmetric!r} must be True or False"
        if not isinstance(self.small, Mapping):
            return f"small={self.small!r} must be a dict of values by option"
        for field_name, names in (("options", self.options), ("small", self.small)):
            if unknown := [name for name in names if name not in options]:
                return f"{field_name} names {unknown[0]!r}, which is no option of the method"
        if self.reference and not all(self.reference.partition(":")):
            return f"reference={self.reference!r} must be written as 'package.module:function'"
        return ""


def declares_of(method: Any) -> Declares:
    """Return the declarations of a method's class or instance; none where it states none."""
    declares: Declares = getattr(method, "declares", None) or Declares()
    return declares
