"""`TrainingRecipe`: options of ``train`` in blocks, each with its source, and rules for other batch sizes.

The file, as a plugin ships it and a user writes it. Settings are options as in ``train --config``; a batch size counts
the samples of all processes together. Scaling names what follows it, by a rule of `ssl_registry.recipes.scaling`. The
method may be left out in a user's own file:

    method: byol
    summary: CIFAR-10 with a ResNet-18, 200 epochs.
    settings:
      - source: lightly's CIFAR-10 benchmark
        batch_size: 128
        learning_rate: 0.06
        optimizer_kwargs: {momentum: 0.9}
      - source: chosen here; nothing smaller was tried
        trainer: {gradient_clip_val: 1.0}
    scaling:
      - source: lightly's CIFAR-10 benchmark
        learning_rate: linear
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_registry._system.yaml_files import flatten, read_yaml
from ssl_registry.errors import ConfigError, did_you_mean
from ssl_registry.recipes.scaling import RULES

__all__ = ["TrainingRecipe", "read_recipe"]

KEYS = ("method", "summary", "settings", "scaling")
# These belong to one run, not to a way of training.
NOT_IN_A_RECIPE = ("config", "method", "out", "recipe", "resume", "trust")


@dataclass(frozen=True)
class TrainingRecipe:
    """A way of training that someone published or chose.

    Args:
        name: what ``--recipe`` takes.
        path: of its file.
        method: whose it is; None where the file does not say.
        summary: one line of what it is for.
        settings: options of ``train``, nested as in ``--config``.
        sources: where each value comes from, by dotted option.
        scaling: the rule of each option that follows the batch size.
        scaling_sources: where each rule comes from.
    """

    name: str
    path: Path
    method: str | None
    summary: str
    settings: dict[str, Any]
    sources: dict[str, str]
    scaling: dict[str, str]
    scaling_sources: dict[str, str]

    @property
    def is_own(self) -> bool:
        """Whether it is a file that the user named, not one that a plugin ships."""
        return self.name == str(self.path)


def read_recipe(path: str | Path, *, name: str | None = None) -> TrainingRecipe:
    """Read a recipe's file.

    Args:
        path: of a YAML file.
        name: what to call it; default: the path as given.

    Raises:
        ConfigError: naming the file and what is wrong in it.
    """
    content = read_yaml(path)
    for key in content:
        if key not in KEYS:
            raise ConfigError(
                f"{path}: a recipe has no key {key!r}.{did_you_mean(str(key), KEYS)} It has: {', '.join(KEYS)}; "
                "options of train stand under settings"
            )
    if not content.get("settings"):
        raise ConfigError(f"{path} is no recipe: it needs settings, a list of blocks of options, each with its source")
    settings, sources = _read_blocks(path, "settings", content["settings"])
    scaling, scaling_sources = _read_blocks(path, "scaling", content.get("scaling") or [])
    recipe = TrainingRecipe(
        name=name or str(path),
        path=Path(path),
        method=content.get("method"),
        summary=" ".join(str(content.get("summary", "")).split()),
        settings=settings,
        sources=sources,
        scaling=scaling,
        scaling_sources=scaling_sources,
    )
    _check(recipe)
    return recipe


def _read_blocks(path: str | Path, part: str, blocks: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Merge blocks of options into one mapping, and note each option's source."""
    merged: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for block in [blocks] if isinstance(blocks, dict) else blocks:
        if not isinstance(block, dict):
            raise ConfigError(f"{path}: {part} is a list of blocks such as {{source: ..., learning_rate: 0.1}}")
        options = {str(key): value for key, value in block.items() if key != "source"}
        source = " ".join(str(block.get("source", "no source given")).split())
        for option, _ in flatten(options):
            if option in sources:
                raise ConfigError(f"{path}: {part} has {option} twice")
            sources[option] = source
        for key, value in options.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return merged, sources


def _check(recipe: TrainingRecipe) -> None:
    for option in NOT_IN_A_RECIPE:
        if option in recipe.settings:
            raise ConfigError(f"{recipe.path}: {option} belongs to one run, not into a recipe's settings")
    if recipe.scaling and not _is_number(recipe.settings.get("batch_size")):
        raise ConfigError(f"{recipe.path}: scaling needs a batch_size among the settings, which the values are for")
    for option, rule in recipe.scaling.items():
        if rule not in RULES:
            raise ConfigError(f"{recipe.path}: scaling has no rule {rule!r} for {option}; rules: {', '.join(RULES)}")
        if not _is_number(recipe.settings.get(option)):
            raise ConfigError(f"{recipe.path}: scaling names {option}, which is no number among the settings")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
