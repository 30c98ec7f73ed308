"""What a ``train`` command comes to: every option's value, and where it came from.

Default < recipe < ``--config`` file < flag, whatever their order on the command line. Where ``--resume`` goes on with a
run, its own ``config.yaml`` stands below the files, so that nothing needs to be said again; who names the recipe says
all of it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_registry._system.yaml_files import flatten, read_yaml
from ssl_registry.cli.train_options import make_parser
from ssl_registry.cli.view_options import one_word_a_view
from ssl_registry.contract.config import MethodConfig
from ssl_registry.errors import ConfigError, did_you_mean
from ssl_registry.recipes.adapting import adapt
from ssl_registry.recipes.finding import load_recipe
from ssl_registry.recipes.reading import TrainingRecipe
from ssl_registry.runs.folder import Run

__all__ = ["Settings", "resolve"]


@dataclass(frozen=True)
class Settings:
    """The options of one ``train`` command.

    Args:
        values: nested, as the parser gives them.
        origins: where each came from, in words, by dotted option; an option that is missing has its default.
    """

    values: dict[str, Any]
    origins: dict[str, str]

    def as_arguments(self, config_class: type[MethodConfig]) -> dict[str, Any]:
        """Return the arguments of `ssl_registry.training.train`: the method's options and the Trainer's apart."""
        arguments = dict(self.values)
        options = {name: arguments.pop(name) for name in config_class.model_fields}
        trainer = {key: value for key, value in arguments.pop("trainer").items() if value is not None}
        return {**arguments, "options": options, "trainer": trainer, "origins": self.origins}


def resolve(
    method: str,
    config_class: type[MethodConfig],
    argv: list[str],
    *,
    suite: tuple[str, dict[str, Any]] | None = None,
) -> Settings:
    """Parse the words behind ``train METHOD``.

    Args:
        method: its name.
        config_class: its options.
        argv: the words.
        suite: name and options that stand between recipe and ``--config`` files.

    Raises:
        ConfigError: about an option, a file or a recipe.
    """
    words = one_word_a_view([_underscored(word) for word in argv])
    parser = make_parser(method, config_class)
    known = [option.lstrip("-") for action in parser._actions for option in action.option_strings]
    flags = {word[2:].partition("=")[0].rstrip("+") for word in words if word.startswith("--")}
    _check_known(method, flags, known)
    # A recipe that is named again shares its batch out among the processes of today.
    resumed = _resumed(words) if "resume" in flags and "recipe" not in flags else None
    paths, words = _take(words, "--config")
    if resumed:
        paths = [str(resumed.settings), *paths]
    names, words = _take(words, "--recipe")
    files = [(f"file {path}", read_yaml(path)) for path in paths]
    if suite:
        given = flags.union(*(content for _, content in files))
        # Arguments of a backbone belong to the backbone that they were written for.
        kept = {key: value for key, value in suite[1].items() if key != "backbone_kwargs" or "backbone" not in given}
        files = [(suite[0], kept), *files]
    for path, content in files:
        _check_known(f"{path.removeprefix('file ')}: {method}", content, known)
    names = names or [str(content["recipe"]) for _, content in files if content.get("recipe")]
    recipe = load_recipe(method, names[-1]) if names else None
    layers = [word for _, content in files for word in ("--config", json.dumps(content, default=str))]
    if recipe:
        _check_known(f"{recipe.path}: {method}", recipe.settings, known)
        _parse(parser, ["--config", json.dumps(recipe.settings)], where=f"{recipe.path}: ")
        layers = ["--config", json.dumps(recipe.settings), *layers]
    values = _parse(parser, [*layers, *words])
    values.pop("config", None)
    values.pop("recipe", None)
    said = values.pop("method", None)
    if said not in (None, method):
        raise ConfigError(f"the configuration is {said}'s, not {method}'s: ssl-registry train {said} --config ...")
    origins = _origins(values, flags, files, recipe)
    if resumed:
        recorded = resumed.provenance()
        taken = [option for option, place in origins.items() if place == f"file {resumed.settings}"]
        origins |= {option: recorded[option] for option in taken if option in recorded}
    if recipe:
        _adapt(recipe, values, origins)
    return Settings(values, origins)


def _underscored(word: str) -> str:
    """Accept ``--data-root`` for ``--data_root``; values stay as they are."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return "--" + flag[2:].replace("-", "_") + equals + value


def _resumed(words: list[str]) -> Run | None:
    """Find the run that ``--out`` names, if it has a configuration."""
    folders, _ = _take(words, "--out")
    run = Run(Path(folders[-1])) if folders else None
    return run if run and run.settings.is_file() else None


def _take(words: list[str], flag: str) -> tuple[list[str], list[str]]:
    """Split a command line into the values of ``flag`` and all other words."""
    values, rest = [], []
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if name != flag:
            rest.append(word)
            continue
        value = value if equals else next(left, "")
        if not value:
            raise ConfigError(f"{flag} needs a value")
        values.append(value)
    return values, rest


def _check_known(owner: str, options: Iterable[str], known: list[str]) -> None:
    """Find the first option that the parser does not have; jsonargparse's own message buries it."""
    roots = {option.partition(".")[0] for option in known}
    for option in options:
        if str(option).partition(".")[0] not in roots:
            raise ConfigError(
                f"{owner} has no option --{option}.{did_you_mean(str(option), known)} "
                f"See: ssl-registry train {owner.rpartition(' ')[2]} --help"
            )


def _parse(parser: Any, argv: list[str], *, where: str = "") -> dict[str, Any]:
    from jsonargparse import ArgumentError

    try:
        values: dict[str, Any] = parser.parse_args(argv).as_dict()
    except ArgumentError as error:
        raise ConfigError(f"{where}{error}") from error
    return values


def _origins(
    values: dict[str, Any], flags: set[str], files: list[tuple[str, dict[str, Any]]], recipe: TrainingRecipe | None
) -> dict[str, str]:
    """Find, for each option, the most important place that set it."""
    said = [(place, dict(flatten(content))) for place, content in reversed(files)]
    origins = {}
    for option, _ in flatten(values):
        place = next((place for place, content in said if option in content), None)
        # `--optimizer_kwargs {...}` sets all that is in it.
        if any(option == flag or option.startswith(f"{flag}.") for flag in flags):
            origins[option] = "flag"
        elif place:
            origins[option] = place
        elif recipe and option in recipe.sources:
            origins[option] = f"recipe {recipe.name}: {recipe.sources[option]}"
    return origins


def _adapt(recipe: TrainingRecipe, values: dict[str, Any], origins: dict[str, str]) -> None:
    """Let the recipe's values follow the batch and the processes of this run."""
    from ssl_registry.training.trainer import count_processes

    trainer = values["trainer"]
    copies = count_processes(trainer) * (trainer.get("accumulate_grad_batches") or 1)
    mine = {option for option, place in origins.items() if place.startswith("recipe ")}
    for option, (value, reason) in adapt(recipe, values, values.keys() - mine, copies=copies).items():
        values[option] = value
        origins[option] = f"{origins[option]}; {reason}"
