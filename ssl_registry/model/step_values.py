"""`StepValues`: what is set in the optimizer's parameter groups before each step, beside the learning-rate schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from ssl_registry.contract.config import MethodConfig
from ssl_registry.errors import ContractError, did_you_mean
from ssl_registry.nn import cosine_schedule

__all__ = ["StepValues"]

ALL = "all"


class StepValues:
    """Set weight decay along its cosine, then what the method's `optimizer_values` says.

    Both are functions of where the run stands, and nothing is kept from one step to the next, so a run that is resumed
    has the values of one that was never stopped.

    Args:
        groups: as the method, or the default, gave them. A value that a group states itself follows no schedule.
        config: of the method.
    """

    def __init__(self, groups: Sequence[Mapping[str, Any]], config: MethodConfig) -> None:
        self.stated = [frozenset(group) for group in groups]
        self.config = config

    def schedule(self, optimizer: Optimizer, step: int, max_steps: int | None) -> None:
        """Set the weight decay of optimizer step ``step``, counted from 0, if it changes over the run."""
        first, last = self.config.weight_decay, self.config.final_weight_decay
        if last is not None and max_steps is not None:
            self._set(optimizer, ALL, {"weight_decay": cosine_schedule(step, max_steps, first, last)})

    def override(self, optimizer: Optimizer, told: Mapping[str, Mapping[str, float]], *, owner: str) -> None:
        """Set what the method says, by the names of groups; what is said of one group wins over ``"all"``.

        Raises:
            ContractError: for a group or a value that the optimizer does not have.
        """
        known = [ALL, *(group["name"] for group in optimizer.param_groups if "name" in group)]
        if not isinstance(told, Mapping) or not all(isinstance(values, Mapping) for values in told.values()):
            raise ContractError(
                f'{owner}: optimizer_values must return {{"all": {{"lr": ..., "weight_decay": ...}}}} or the like, by '
                f"names of groups ({', '.join(known)}); it returned {told!r}"
            )
        if unknown := [name for name in told if name not in known]:
            raise ContractError(
                f"{owner}: optimizer_values names the group {unknown[0]!r}.{did_you_mean(str(unknown[0]), known)} "
                f"There are: {', '.join(known)}; param_groups gives a group its name: "
                '{"params": ..., "name": ...}'
            )
        for name in sorted(told, key=lambda name: name != ALL):
            values = told[name]
            numbers = [key for key, value in optimizer.param_groups[0].items() if _is_number(value)]
            for key, value in values.items():
                if key not in numbers or not _is_number(value):
                    raise ContractError(
                        f"{owner}: optimizer_values sets {name!r}: {key}={value!r}; numbers of this optimizer are: "
                        f"{', '.join(numbers)}"
                    )
            self._set(optimizer, name, values)

    def _set(self, optimizer: Optimizer, name: str, values: Mapping[str, float]) -> None:
        for group, stated in zip(optimizer.param_groups, self.stated, strict=True):
            if name == ALL:
                group.update((key, value) for key, value in values.items() if key not in stated)
            elif group.get("name") == name:
                group.update(values)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
