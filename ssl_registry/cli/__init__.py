"""The command line ``ssl-registry``: one file a command, each imported only when it runs.

`main` knows the commands by name and docstring alone, so ``ssl-registry list`` and ``--help`` load no torch.
A user's mistake is one line on stderr and exit code 2. Any other error is one line and exit code 1, which names plugin,
hook and line where it is a plugin's. ``--debug`` shows the traceback behind both.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Sequence

__all__ = ["main"]

# Command -> its module, which has `run(argv) -> exit code`, and what it does.
# No module is named `list`: as an attribute of this package it would take the builtin's place.
COMMANDS = {
    "list": ("listing", "the installed methods, and from where"),
    "show": ("show", "one method: its paper, options and hooks"),
    "backbones": ("backbones", "names of backbones, by pattern"),
    "train": ("train", "train a method on a source of samples"),
    "views": ("views", "a picture of samples and the views of them"),
    "runs": ("runs", "your runs: how far each came, the best, and clearing away"),
    "report": ("report", "one HTML page about a run, or about several side by side"),
    "bench": ("bench", "methods side by side over seeds, as a table"),
    "explain": ("explain", "where each value of a run or a command comes from"),
    "new": ("new", "write a plugin for a method of your own"),
    "doctor": ("doctor", "versions, accelerator and plugins, for a bug report"),
    "check": ("check", "check a method against the contract and known mistakes"),
    "profile": ("profile", "where the time of a training goes, and what makes it faster"),
    "evaluate": ("evaluate", "how good a trained backbone is, beside its baselines"),
    "finetune": ("finetune", "go on with labels, few or all"),
    "predict": ("predict", "the class of every sample, by what finetune trained"),
    "embed": ("embed", "the features of every sample, as a Parquet file"),
    "export": ("export", "the backbone for timm, torch, ONNX or the Hugging Face hub"),
}

USAGE = """usage: ssl-registry COMMAND ...

commands:
{commands}

`ssl-registry COMMAND --help` tells more of each. Everywhere: --debug shows the traceback of an error,
--plugin FILE.py runs a Python file that registers methods first."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a foreign name must not fail on a terminal that lacks its letters
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [word for word in arguments if word != "--debug"]
    command = arguments[0] if arguments else "--help"
    if command in ("-h", "--help"):
        print(USAGE.format(commands="\n".join(f"  {name:<12}{what}" for name, (_, what) in COMMANDS.items())))
        return 0
    if command == "--version":
        from ssl_registry._version import __version__

        print(f"ssl-registry {__version__}")
        return 0
    from ssl_registry.errors import SSLRegistryError, did_you_mean

    try:
        if command not in COMMANDS:
            raise SSLRegistryError(
                f"there is no command {command!r}.{did_you_mean(command, COMMANDS)} Commands: {', '.join(COMMANDS)}"
            )
        module = importlib.import_module(f"ssl_registry.cli.{COMMANDS[command][0]}")
        code: int = module.run(_run_plugin_files(arguments[1:]))
        return code
    except SSLRegistryError as error:
        if debug:
            raise
        from ssl_registry._system.terminal import one_line

        print(one_line(f"ssl-registry {command}: {error}"), file=sys.stderr)
        return 2
    except BrokenPipeError:  # `ssl-registry list | head`
        sys.stderr.close()
        return 1
    except OSError as error:
        # About a file: a name that is too long, a folder that may not be entered, a disk that is full.
        if debug:
            raise
        from ssl_registry._system.terminal import one_line
        from ssl_registry.cli.faults import describe_fault

        words = describe_fault(error) if error.filename is None else f"{error.filename}: {error.strerror}"
        print(one_line(f"ssl-registry {command}: {words}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"ssl-registry {command}: stopped", file=sys.stderr)
        return 130
    except Exception as error:  # of a plugin, of a network of one's own, or nobody foresaw it
        if debug:
            raise
        from ssl_registry._system.terminal import one_line
        from ssl_registry.cli.faults import describe_fault

        print(one_line(f"ssl-registry {command}: {describe_fault(error)}"), file=sys.stderr)
        return 1


def _run_plugin_files(arguments: list[str]) -> list[str]:
    """Run each ``--plugin FILE.py`` and return the other arguments."""
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, equals, path = word.partition("=")
        if flag != "--plugin":
            rest.append(word)
            continue
        from ssl_registry._system.python_files import load_python_file
        from ssl_registry.errors import SSLRegistryError

        if not equals:
            path = next(words, "")
        if not path:
            raise SSLRegistryError("--plugin takes a Python file that registers methods")
        load_python_file(path)
    return rest
