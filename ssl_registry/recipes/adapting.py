"""A recipe meets a run: its batch is shared out among the processes, and what follows the batch follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ssl_registry.recipes.reading import TrainingRecipe
from ssl_registry.recipes.scaling import rescale

__all__ = ["adapt"]


def adapt(
    recipe: TrainingRecipe, settings: Mapping[str, Any], given: Collection[str], *, copies: int
) -> dict[str, tuple[Any, str]]:
    """Tell which options change because the run's batch is not the recipe's.

    A recipe's ``batch_size`` is the number of samples an optimizer step sees in all; ``train`` counts those of one
    process and micro-batch. Unless the user gave a batch size, the recipe's is divided by ``copies``; then every
    option with a rule is scaled by samples a step here / there. What the user gave is never touched.

    Args:
        recipe: whose values they are.
        settings: options of ``train`` as they stand, the recipe's and the user's.
        given: names of the options that the user set, which win over the recipe.
        copies: processes * accumulated micro-batches.

    Returns:
        The new value and the reason, in words, of each option that changes.
    """
    published = recipe.settings.get("batch_size")
    if published is None:
        return {}
    changes: dict[str, tuple[Any, str]] = {}
    batch = settings["batch_size"]
    if "batch_size" not in given and copies > 1:
        batch = max(1, published // copies)
        changes["batch_size"] = batch, f"{published} in all, over {copies} processes or micro-batches"
    rules = {option: rule for option, rule in recipe.scaling.items() if option not in given}
    factor = batch * copies / published
    for option, value in rescale(settings, rules, factor).items():
        if value != settings[option]:
            reason = (
                f"{settings[option]:g} for {published} samples a step, {rules[option]} rule for {batch * copies} "
                f"({recipe.scaling_sources[option]})"
            )
            changes[option] = value, reason
    return changes
