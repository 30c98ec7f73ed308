"""``ssl-registry train METHOD``: `ssl_registry.training.train` behind a parser made for the method.

The method's own options, every argument of Lightning's Trainer (``--trainer.``) and YAML files (``--config``) come
through jsonargparse; ranges are the method's config's.
"""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

from ssl_registry._registry import registry
from ssl_registry.cli.train_options import make_parser
from ssl_registry.config import MethodConfig
from ssl_registry.errors import ConfigError, did_you_mean

__all__ = ["quieten", "run"]

HELP = """usage: ssl-registry train METHOD [--data SOURCE] [--backbone NAME] [--epochs N] [--out DIR] ...

Train a method on unlabelled samples. METHOD is one of: {methods}

  ssl-registry train {example} --help             its options, and every one of Lightning's Trainer
  ssl-registry train {example}                    the embedded digits, a first look
  ssl-registry train {example} --data photos/ --backbone resnet50 --epochs 100
  ssl-registry train {example} --config runs/x/config.yaml    repeat a run
  ssl-registry train {example} --out runs/x --resume          go on with a run"""


def run(argv: list[str]) -> int:
    """Parse, train, and tell where the result is."""
    if not argv or argv[0] in ("-h", "--help"):
        names = [info.name for info in registry.methods()]
        print(HELP.format(methods=", ".join(names) or "none installed", example=names[0] if names else "METHOD"))
        return 0
    method, rest = argv[0], [_underscored(word) for word in argv[1:]]
    if method.startswith("-"):
        raise ConfigError(f"the method comes first: ssl-registry train METHOD {' '.join(argv)}")
    config_class = registry.method_class(method).Config
    settings = _parse(method, config_class, rest)
    return _train(method, config_class, settings)


def _underscored(word: str) -> str:
    """Accept ``--data-root`` for ``--data_root``; values stay as they are."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return "--" + flag[2:].replace("-", "_") + equals + value


def _parse(method: str, config_class: type[MethodConfig], argv: list[str]) -> dict[str, Any]:
    from jsonargparse import ArgumentError

    parser = make_parser(method, config_class)
    unknown = _unknown_option(parser, argv)
    if unknown:
        known = [option.lstrip("-") for action in parser._actions for option in action.option_strings]
        raise ConfigError(
            f"{method} has no option --{unknown}.{did_you_mean(unknown, known)} See: ssl-registry train {method} --help"
        )
    try:
        settings: dict[str, Any] = parser.parse_args(argv).as_dict()
    except ArgumentError as error:
        raise ConfigError(str(error)) from error
    settings.pop("config", None)
    said = settings.pop("method", None)
    if said not in (None, method):
        raise ConfigError(f"the configuration is {said}'s, not {method}'s: ssl-registry train {said} --config ...")
    return settings


def _unknown_option(parser: Any, argv: list[str]) -> str | None:
    """Return the first top-level option that the parser does not have; jsonargparse's own message buries it."""
    roots = {option.lstrip("-").partition(".")[0] for action in parser._actions for option in action.option_strings}
    for word in argv:
        if word.startswith("--") and word[2:].partition("=")[0].partition(".")[0].rstrip("+") not in roots:
            return word[2:].partition("=")[0]
    return None


def _train(method: str, config_class: type[MethodConfig], settings: dict[str, Any]) -> int:
    from rich.console import Console

    from ssl_registry.training import train

    quieten()
    console = Console()
    options = {name: settings.pop(name) for name in config_class.model_fields}
    trainer = {key: value for key, value in settings.pop("trainer").items() if value is not None}
    try:
        train(
            method,
            **settings,
            trainer=trainer,
            options=options,
            say=lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
        )
    except SystemExit:
        # Lightning leaves so after Ctrl-C; by then the checkpoint is written.
        out = settings["out"]
        print(
            f"Stopped. Go on with the same command and --resume{'' if out else ' --out FOLDER'}.",
            file=sys.stderr,
        )
        return 130
    return 0


def quieten() -> None:
    """Keep Lightning's banners and its advice about what this command decides out of a person's sight."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
    warnings.filterwarnings("ignore", message=".*but have no `val_dataloader`.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
