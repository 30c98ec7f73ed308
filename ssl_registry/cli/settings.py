"""What a ``train`` command comes to: every option's value, and where it came from.

Default < recipe < suite < ``--config`` file < flag, whatever their order on the command line. Where ``--resume`` goes
on with a run, its own ``config.yaml`` stands below the files, so that nothing needs to be said again; who names the
recipe says all of it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from ssl_registry._system.options import allowed_values, parse_options
from ssl_registry._system.trust import require_trust
from ssl_registry._system.yaml_files import flatten, read_yaml
from ssl_registry.cli.train_options import add_trainer, check_known, check_near, make_parser, parse
from ssl_registry.cli.words import normalized_words, take
from ssl_registry.contract.config import MethodConfig
from ssl_registry.errors import ConfigError
from ssl_registry.recipes.adapting import adapt
from ssl_registry.recipes.finding import load_recipe
from ssl_registry.recipes.reading import TrainingRecipe
from ssl_registry.run_options import RunOptions
from ssl_registry.runs.deeds import deeds_of_settings
from ssl_registry.runs.folder import Run

__all__ = ["Settings", "resolve"]

# Two options for one thing: the one from the more important place counts.
RIVALS = (("epochs", "max_epochs"), ("logger", "logger"))  # ours, and the Trainer's
# Types of options that are values; of any other class jsonargparse takes a name, and imports it.
PLAIN = (*(str, int, float, bytes, list, tuple, dict, set, frozenset, type(None)), PurePath, Enum, BaseModel, date)


@dataclass(frozen=True)
class Settings:
    """The options of one ``train`` command.

    Args:
        run: the run's.
        options: the method's, those of every method among them.
        trainer: arguments of Lightning's Trainer; none of them is None.
        origins: where each option came from, in words, by dotted name; one that is missing has its default.
    """

    run: RunOptions
    options: dict[str, Any]
    trainer: dict[str, Any]
    origins: dict[str, str]

    def as_arguments(self) -> dict[str, Any]:
        """Return the arguments of `ssl_registry.train`."""
        return {**dict(self.run), "options": self.options, "trainer": self.trainer, "origins": self.origins}


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
        TrustError: if a file has a value that would run, import or fetch something, without ``--trust``.
    """
    models: list[type[BaseModel]] = [RunOptions, config_class]
    optional = {name for model in models for name in model.model_fields if allowed_values(model, name).endswith("None")}
    words = normalized_words(argv, optional=optional)
    parser = make_parser(method, config_class, trainer=False)
    flags = {word[2:].partition("=")[0].rstrip("+") for word in words if word.startswith("--")}
    check_near(method, flags, _names(parser))
    add_trainer(parser)
    known = _names(parser)
    check_known(method, flags, known)
    # A recipe that is named again shares its batch out among the processes of today.
    resumed = _resumed(words) if "resume" in flags and "recipe" not in flags else None
    paths, words = take(words, "--config")
    if resumed:
        paths = [str(resumed.settings), *paths]
    names, words = take(words, "--recipe")
    files = [(f"file {path}", _read_file(path, method)) for path in paths]
    if suite:
        given = flags.union(*(content for _, content in files))
        # Arguments of a backbone belong to the backbone that they were written for.
        kept = {key: value for key, value in suite[1].items() if key != "backbone_kwargs" or "backbone" not in given}
        files = [(suite[0], kept), *files]
    gate = _Gate(config_class, flags)
    for path, content in files:
        check_known(f"{path.removeprefix('file ')}: {method}", content, known)
        # Weights to start from are not read again where a checkpoint holds those of the run.
        is_restored = resumed and path == f"file {resumed.settings}" and resumed.last_checkpoint.is_file()
        asked = {key: value for key, value in content.items() if not (is_restored and key == "pretrained")}
        gate.check(asked, where=path)
    names = names or [str(content["recipe"]) for _, content in files if content.get("recipe")]
    recipe = load_recipe(method, names[-1]) if names else None
    if recipe and recipe.is_own:  # another one came with the plugin, whose code is run anyway
        gate.check(recipe.settings, where=recipe.path)
    layers = [word for _, content in files for word in ("--config", json.dumps(content, default=str))]
    if recipe:
        check_known(f"{recipe.path}: {method}", recipe.settings, known)
        parse(parser, models, ["--config", json.dumps(recipe.settings)], where=f"{recipe.path}: ")
        layers = ["--config", json.dumps(recipe.settings), *layers]
    values = parse(parser, models, [*layers, *words])
    origins = _origins(values, flags, files, recipe)
    _settle_rivals(values, origins, [*(place for place, _ in files), "flag"])
    if resumed:
        recorded = resumed.provenance()
        taken = [option for option, place in origins.items() if place == f"file {resumed.settings}"]
        origins |= {option: recorded[option] for option in taken if option in recorded}
    if recipe:
        _adapt(recipe, values, origins)
    run = {name: values[name] for name in RunOptions.model_fields}
    options = {name: values[name] for name in config_class.model_fields}
    parse_options(config_class, options, owner=method)  # a mistake is told before anything is loaded
    given = {option.split(".")[1] for option in origins if option.startswith("trainer.")}
    trainer = {name: values["trainer"][name] for name in given if values["trainer"][name] is not None}
    return Settings(parse_options(RunOptions, run, owner=method), options, trainer, origins)


def _names(parser: Any) -> list[str]:
    return [option.lstrip("-") for action in parser._actions for option in action.option_strings]


class _Gate:
    """Stops before a value of a file is parsed that would run, import or fetch something.

    Args:
        config_class: the method's options.
        flags: options that stand on the command line; what they replace does nothing.
    """

    def __init__(self, config_class: type[MethodConfig], flags: set[str]) -> None:
        self._objects = [name for name, field in config_class.model_fields.items() if _takes_objects(field.annotation)]
        self._flags = flags

    def check(self, content: dict[str, Any], *, where: object) -> None:
        for option in ("config", "trust"):
            if content.get(option):  # `--print_config` writes those that are not given, too
                raise ConfigError(f"{where} says {option}, which is for the command line alone")
        if not isinstance(content.get("trainer") or {}, dict):
            raise ConfigError(f"{where}: trainer holds a text; expected options of Lightning's Trainer by name")
        found = deeds_of_settings(content, objects=self._objects)
        require_trust(found, where=where, trust="trust" in self._flags, said=self._flags)


def _takes_objects(annotation: Any) -> bool:
    """Whether an option's type makes the parser import what a text names.

    >>> _takes_objects(list[int] | None), _takes_objects(type[int] | None), _takes_objects(Settings)
    (False, True, True)
    """
    origin = get_origin(annotation)
    if origin is Literal:
        return False
    if origin in (type, Callable) or annotation in (type, Callable):
        return True
    if isinstance(annotation, type) and origin is None:
        return not issubclass(annotation, PLAIN)
    return any(_takes_objects(part) for part in get_args(annotation))


def _read_file(path: str, method: str) -> dict[str, Any]:
    """Read a file of options, which may name its method."""
    content = read_yaml(path)
    named = content.pop("method", None)
    if named not in (None, method):
        raise ConfigError(
            f"{path} is a configuration of {named}, not {method}: ssl-registry train {named} --config ..."
        )
    return content


def _resumed(words: list[str]) -> Run | None:
    """Find the run that ``--out`` names, if it has a configuration."""
    folders, _ = take(words, "--out")
    run = Run(Path(folders[-1])) if folders else None
    return run if run and run.settings.exists() else None


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


def _settle_rivals(values: dict[str, Any], origins: dict[str, str], places: list[str]) -> None:
    """Of two options for one thing, forget the one from the less important place.

    Args:
        values: of all options.
        origins: of those that are not defaults.
        places: the more important ones behind the others.
    """
    for option, lightnings in RIVALS:
        if values[option] is None or values["trainer"][lightnings] is None:
            continue
        here, there = (
            places.index(place) if (place := origins.get(name)) in places else -1
            for name in (option, f"trainer.{lightnings}")
        )
        if here > there:
            values["trainer"][lightnings] = None
            origins.pop(f"trainer.{lightnings}", None)
        elif there > here:
            values[option] = None
            origins.pop(option, None)


def _adapt(recipe: TrainingRecipe, values: dict[str, Any], origins: dict[str, str]) -> None:
    """Let the recipe's values follow the batch and the processes of this run."""
    from ssl_registry.training.trainer import count_processes

    trainer = values["trainer"]
    copies = count_processes(trainer) * (trainer.get("accumulate_grad_batches") or 1)
    mine = {option for option, place in origins.items() if place.startswith("recipe ")}
    for option, (value, reason) in adapt(recipe, values, values.keys() - mine, copies=copies).items():
        values[option] = value
        origins[option] = f"{origins[option]}; {reason}"
