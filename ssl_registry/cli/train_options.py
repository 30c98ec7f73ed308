"""The parser of ``ssl-registry train METHOD``: options of the run, the method's own, every method's, Lightning's."""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action
from collections.abc import Iterable
from typing import Any, get_args

from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter
from pydantic import BaseModel

from ssl_registry._system.options import allowed_values
from ssl_registry.cli.data_arguments import data_help
from ssl_registry.cli.option_types import teach
from ssl_registry.cli.synonyms import SYNONYMS, suggested
from ssl_registry.cli.words import dashed
from ssl_registry.contract.config import MethodConfig
from ssl_registry.data.options import DataOptions
from ssl_registry.errors import ConfigError, ContractError
from ssl_registry.run_options import RESERVED, RunOptions

__all__ = ["add_trainer", "check_known", "check_near", "make_parser", "parse"]

PYTHON_ONLY = "is a Python object, so it can be given in Python alone: train(..., trainer={{'{0}': ...}})"
# Arguments of Lightning's Trainer, and why they are no options.
NOT_ON_THE_COMMAND_LINE = {
    **{name: PYTHON_ONLY.format(name) for name in ("callbacks", "plugins", "profiler")},
    "fast_dev_run": "leaves neither metrics nor a checkpoint; --trainer.max_steps 5 makes a short run",
}


def make_parser(method: str, config_class: type[MethodConfig], *, trainer: bool = True) -> Any:
    """Build the parser of ``train METHOD`` from `RunOptions`, the method's config and Lightning's Trainer.

    Args:
        method: its name.
        config_class: its options.
        trainer: False leaves the Trainer's out, and Lightning unimported, until `add_trainer`.

    Raises:
        ContractError: if an option of the method has a name that ``train`` takes.
    """
    if taken := sorted(RESERVED & config_class.model_fields.keys()):
        raise ContractError(f"{method}: its option {taken[0]} has a name that train takes; its author must rename it")
    parser = ArgumentParser(
        prog=f"ssl-registry train {method}",
        usage=f"ssl-registry train {method} [--data SOURCE] [--backbone NAME] [--epochs N] [--out FOLDER] ...",
        description=f"Train {method}. What it is: ssl-registry show {method}",
        exit_on_error=False,
        default_env=False,
        allow_abbrev=False,
        formatter_class=_Help,
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these options.")
    recipe = "Published values: a recipe of the method (see `ssl-registry show`), or the path of your own .yaml."
    parser.add_argument("--recipe", type=str | None, default=None, help=recipe)
    of_data = ["data", *(name for name in DataOptions.model_fields if name != "seed")]
    _add(parser, "data", RunOptions, of_data)
    _add(parser, "run", RunOptions, [name for name in RunOptions.model_fields if name not in of_data])
    own = [name for name in config_class.model_fields if name not in MethodConfig.model_fields]
    _add(parser, f"{method}'s own", config_class, own)
    _add(parser, "every method's", config_class, MethodConfig.model_fields)
    if trainer:
        add_trainer(parser)
    else:
        parser.epilog = "--trainer.NAME is every argument of Lightning's Trainer; --trainer.help lists them."
    return parser


def add_trainer(parser: Any) -> None:
    """Add every argument of Lightning's Trainer, whose import takes more than half of the seconds of a command."""
    from lightning.pytorch import Trainer

    parser.add_class_arguments(Trainer, "trainer", skip=set(NOT_ON_THE_COMMAND_LINE), instantiate=False)
    # None means "as `train` sets it"; the Trainer's own default applies where it sets nothing.
    parser.set_defaults({"trainer.logger": None})


def _add(parser: ArgumentParser, title: str, model: type[BaseModel], names: Iterable[str]) -> None:
    """Add fields of a model as a group of options."""
    group = parser.add_argument_group(title)
    for name in names:
        field = model.model_fields[name]
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        words = data_help() if name == "data" else field.description or ""
        # `--report` is as good as `--report true`.
        switch = bool in (field.annotation, *get_args(field.annotation))
        teach(field.annotation)
        switched: dict[str, Any] = {"nargs": "?", "const": True} if switch else {}
        group.add_argument(
            f"--{name}",
            *extra.get("flags", ()),  # type: ignore[misc]  # a list of names, by `RunOptions`
            type=field.annotation,
            default=field.get_default(call_default_factory=True),
            help=f"{words} [{allowed_values(model, name)}]".replace("%", "%%"),
            **switched,
        )


def check_near(owner: str, options: Iterable[str], known: list[str]) -> None:
    """Refuse the first option that is a slip of a known one; before `add_trainer`, for an answer without waiting.

    Args:
        owner, options, known: as in `check_known`, without the Trainer's; an option that resembles none of them is left
            to that.

    Raises:
        ConfigError: with the right name.
    """
    trainers = [name for names in SYNONYMS.values() for name in names if name.startswith("trainer.")]
    for option in map(str, options):
        root = option.partition(".")[0]
        if root not in known and root != "trainer" and suggested(option, [*known, *trainers]):
            check_known(owner, [option], [*known, *trainers])


def check_known(owner: str, options: Iterable[str], known: list[str]) -> None:
    """Refuse the first option that the parser does not have; jsonargparse's own message buries it.

    Args:
        owner: whose options they are, for the message; the method is its last word.
        options: dotted names.
        known: those of the parser.

    Raises:
        ConfigError: with the nearest right name.
    """
    in_file = " " in owner
    for option in map(str, options):
        root, dot, name = option.partition(".")
        name = name.partition(".")[0]
        if root == "trainer" and name in NOT_ON_THE_COMMAND_LINE:
            raise ConfigError(f"{owner} has no option {dashed(option)}: {name} {NOT_ON_THE_COMMAND_LINE[name]}")
        # Of a mapping, such as optimizer_kwargs, any key will do.
        if (f"trainer.{name}" if root == "trainer" and dot else root) not in known:
            raise ConfigError(
                f"{owner} has no option {dashed(option)}.{suggested(option, known, in_file=in_file)} "
                f"See: ssl-registry train {owner.rpartition(' ')[2]} --help"
            )


def parse(parser: Any, models: list[type[BaseModel]], argv: list[str], *, where: str = "") -> dict[str, Any]:
    """Return the values of all options.

    Args:
        parser: from `make_parser`.
        models: that its options were made from.
        argv: words, as `normalized_words` gives them.
        where: they stand, for messages.

    Raises:
        ConfigError: naming the option and what it takes.
    """
    try:
        values: dict[str, Any] = parser.parse_args(argv).as_dict()
    except ArgumentError as error:
        raise ConfigError(f"{where}{_in_words(str(error), models)}") from error
    return values


def _in_words(message: str, models: list[type[BaseModel]]) -> str:
    """Say what jsonargparse found in words that name the option and what it takes.

    >>> _in_words('Parser key "epochs":\\n  Expected a <int>. Got value: many', [RunOptions])
    "--epochs 'many' is not accepted (allowed: int >= 1 | None)"
    >>> _in_words("unrecognized arguments: photos/", [RunOptions])
    'photos/ stands behind no option; options begin with --, such as --data photos/'
    """
    key = re.search(r'key "(\w+)', message)
    value = re.search(r"(?:Got value|Given value): (.*)", message)
    model = next((model for model in models if key and key[1] in model.model_fields), None)
    if model and key and value:
        return f"{dashed(key[1])} {value[1]!r} is not accepted (allowed: {allowed_values(model, key[1])})"
    if model and key:
        return f"{dashed(key[1])} is not accepted (allowed: {allowed_values(model, key[1])})"
    if value and (trainers := re.search(r'key "(trainer\.[\w.]+)', message)):
        return f"{dashed(trainers[1])} {value[1]!r} is not accepted; --trainer.help tells what it takes"
    if stray := re.fullmatch(r"unrecognized arguments: (?!--)(\S+).*", message):
        return f"{stray[1]} stands behind no option; options begin with --, such as --data {stray[1]}"
    if empty := re.fullmatch(r"argument (\S+?)(?:/\S+)?: expected one argument", message):
        return f"{dashed(empty[1].lstrip('-'))} needs a value"
    return message


class _Help(DefaultHelpFormatter):
    """Options with dashes; what they take is in our own words, so jsonargparse's types are left out."""

    def _format_action_invocation(self, action: Action) -> str:
        text: str = super()._format_action_invocation(action)
        return re.sub(r"(?<!\w)--([\w.]+)", lambda found: dashed(found[1]), text)

    def _get_help_string(self, action: Action) -> str:
        text = action.help or ""
        told = "(default: " in text or action.default in (None, SUPPRESS, {}) or not action.option_strings
        return text if told else f"{text.removesuffix(']')}, default: %(default)s]"
