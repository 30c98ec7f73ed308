"""`Suite`: what a comparison holds fixed for every method, read from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter, ValidationError

from ssl_registry._system.plain import first_problem
from ssl_registry._system.yaml_files import read_yaml
from ssl_registry.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from ssl_registry.contract.needs import Needs

__all__ = ["Suite", "list_suites", "load_suites"]

FOLDER = Path(__file__).parent / "suites"
MOST_SEEDS = 1000
KEYS = (
    "summary",
    "recipe",
    "modality",
    "data",
    "seeds",
    "protocols",
    "labels",
    "best",
    "supervised_epochs",
    "settings",
    "tokens",
)
# Of a file of several: what they share, and the suites by name.
SHARED = ("summary", "seeds", "protocols", "labels", "best", "supervised_epochs")


@dataclass(frozen=True)
class Suite:
    """A comparison.

    Args:
        name: what ``bench`` takes.
        summary: one line.
        recipe: methods that ship a recipe of this name take part, with its settings.
        modality: what the samples are, ``image``, ``signal`` or ``table``: methods that do not take them take no part.
            By default that of the settings; without one, of any kind.
        data: sources of samples; empty where only the user knows where they lie.
        seeds: how many, from 0 on.
        protocols: of ``evaluate``, by which every backbone is measured.
        labels: how many training labels they see, as ``evaluate`` takes it. With several the suite's network is also
            trained on them from random weights: the row ``supervised``.
        best: whether the best epoch is looked for, too.
        supervised_epochs: of that training, over all labels.
        settings: options of ``train`` that are the same for every method; they win over the recipe.
        tokens: those of methods that work on tokens, where they differ: a backbone that has tokens.
        is_own: whether it is a file that the user named, not one of the core's.
        of_several: whether its file holds others.
    """

    name: str
    summary: str = ""
    recipe: str = ""
    modality: Literal["image", "signal", "table"] | None = None
    data: tuple[str, ...] = ()
    seeds: int = 3
    protocols: tuple[str, ...] = ("knn", "linear")
    labels: tuple[float, ...] = (1.0,)
    best: bool = True
    supervised_epochs: int = 20
    settings: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, Any] = field(default_factory=dict)
    is_own: bool = False
    of_several: bool = False

    def takes(self, needs: Needs) -> bool:
        """Tell whether a method takes the suite's kind of samples."""
        modality = self.modality or self.settings.get("modality")
        return modality is None or modality in needs.modalities

    def settings_for(self, needs: Needs) -> dict[str, Any]:
        """Return the settings for a method.

        One that works on tokens, or names a backbone, has its own instead of the suite's; on tokens that of ``tokens``.
        """
        if not needs.tokens and needs.backbone is None:
            return self.settings
        of_backbone = ("backbone", "backbone_kwargs", "low_resolution")
        kept = {key: value for key, value in self.settings.items() if key not in of_backbone}
        return {**kept, **self.tokens} if needs.tokens else kept


def list_suites() -> dict[str, Path]:
    """Return the suites that the core brings, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def load_suites(name: str) -> tuple[Suite, ...]:
    """Read the suites that a name, or the path of a ``.yaml`` file, stands for: one, or several in a file.

    Raises:
        ConfigError: if there is none, or it is not one.
    """
    known = list_suites()
    own = name.endswith((".yaml", ".yml"))
    if not own and name not in known:
        raise ConfigError(
            f"there is no suite {name!r}.{did_you_mean(name, known)} There are: {', '.join(known)}; "
            "the path of a .yaml file will do too"
        )
    path = Path(name) if own else known[name]
    content = read_yaml(path)
    if "suites" not in content:
        return (_suite(path.stem, content, path, is_own=own),)
    several = content.pop("suites")
    _check_keys(content, SHARED, f"{path}: beside its suites a file")
    if not isinstance(several, dict) or not all(isinstance(one, dict) for one in several.values()) or not several:
        raise ConfigError(f"{path}: suites must be names with the keys of a suite below each")
    shared = {key: value for key, value in content.items() if key != "summary"}
    suites = (_suite(str(key), {**shared, **one}, path, is_own=own) for key, one in several.items())
    return tuple(replace(suite, of_several=True) for suite in suites)


def _suite(name: str, content: dict[str, Any], path: Path, *, is_own: bool) -> Suite:
    _check_keys(content, KEYS, f"{path}: a suite")
    if not content.get("recipe"):
        raise ConfigError(f"{path} is no suite: it needs a recipe, by which methods take part")
    data = content.get("data") or []
    given = {key: value for key, value in content.items() if value is not None}
    try:
        suite: Suite = TypeAdapter(Suite).validate_python(
            {**given, "name": name, "data": [data] if isinstance(data, str) else data, "is_own": is_own}
        )
    except ValidationError as error:
        raise ConfigError(f"{path} is no suite: {first_problem(error)}") from None
    if suite.seeds > MOST_SEEDS:
        raise ConfigError(f"{path}: seeds: {suite.seeds} are more than {MOST_SEEDS}")
    return suite


def _check_keys(content: dict[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in content:
        if key not in known:
            raise ConfigError(f"{what} has no key {key!r}.{did_you_mean(str(key), known)} It has: {', '.join(known)}")
