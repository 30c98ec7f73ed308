"""``ssl-registry train METHOD``: `ssl_registry.training.train` behind a parser made for the method.

The method's own options, every argument of Lightning's Trainer (``--trainer.``) and YAML files (``--config``) come
through jsonargparse; ranges are the method's config's.
"""

from __future__ import annotations

import logging
import shlex
import sys

from ssl_registry._registry import registry
from ssl_registry.cli.messages import quieten, show_messages
from ssl_registry.cli.methods import find_method

__all__ = ["run"]

log = logging.getLogger(__name__)

HELP = """usage: ssl-registry train METHOD [--data SOURCE] [--backbone NAME] [--epochs N] [--out DIR] ...

Train a method on unlabelled samples. METHOD is one of: {methods}

  ssl-registry train {example} --help             its options; --trainer.help adds those of Lightning's Trainer
  ssl-registry train {example}                    the embedded digits, a first look
  ssl-registry train {example} --data photos/ --backbone resnet50 --epochs 100
  ssl-registry train {example} --data photos/ --recipe NAME   published values; `ssl-registry show {example}` lists them
  ssl-registry train {example} --config runs/x/config.yaml    repeat a run
  ssl-registry train {example} --out runs/x --resume          go on with a run"""


def run(argv: list[str]) -> int:
    """Parse, train, and tell where the result is."""
    if not argv or argv[0] in ("-h", "--help"):
        names = [info.name for info in registry.methods()]
        print(HELP.format(methods=", ".join(names) or "none installed", example=names[0] if names else "METHOD"))
        return 0
    method = argv[0]
    config_class = find_method("train", method, argv[1:]).Config
    if asked := {"-h", "--help", "--trainer.help"}.intersection(argv):
        from ssl_registry.cli.train_options import make_parser

        make_parser(method, config_class, trainer="--trainer.help" in asked).print_help()
        return 0
    from ssl_registry.cli.settings import resolve

    settings = resolve(method, config_class, argv[1:])
    quieten()
    from ssl_registry._system.memory import keep_freed_memory
    from ssl_registry.training.callbacks.interrupt import TERMINATED
    from ssl_registry.workflows.train import train

    keep_freed_memory()
    try:
        with show_messages():
            result = train(method, **settings.as_arguments())
            if not result.diverged:
                where = shlex.quote(str(result.run))
                log.info(
                    f"Next: ssl-registry finetune {where} (a classifier from labels); in its place evaluate, embed or "
                    "export"
                )
    except SystemExit as stop:
        # Lightning leaves so after a signal; by then the checkpoint is written.
        where = "" if settings.run.out else " --out FOLDER"
        print(f"Stopped. Go on with the same command and --resume{where}.", file=sys.stderr)
        return TERMINATED if stop.code == TERMINATED else 130
    # A script that goes on to evaluate must hear of it.
    guard = settings.run.guard
    return int((guard == "stop" and result.warning is not None) or (guard == "warn" and result.diverged))
