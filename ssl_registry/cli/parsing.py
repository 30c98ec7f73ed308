"""argparse for the commands that must answer in a fraction of a second: no torch, no pydantic, no jsonargparse."""

from __future__ import annotations

import argparse
import itertools
from typing import Any, NoReturn

from ssl_registry.cli.synonyms import suggested
from ssl_registry.errors import SSLRegistryError

__all__ = ["QuickParser"]

STRAY = "unrecognized arguments: "


class QuickParser(argparse.ArgumentParser):
    """An ArgumentParser whose mistakes are one line; options can be written with dashes or underscores."""

    def __init__(self, command: str, description: str, **kwargs: Any) -> None:
        super().__init__(prog=f"ssl-registry {command}", description=description, allow_abbrev=False, **kwargs)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words with either spelling; words that are not known stay as they are."""
        spelt = {option.replace("-", "_"): option for action in self._actions for option in action.option_strings}
        words = []
        for word in args or ():
            flag, equals, value = word.partition("=")
            words.append(spelt.get(flag.replace("-", "_"), flag) + equals + value if word.startswith("--") else word)
        # A shell's variable that is not set is not the current folder.
        if "--out=" in words or ("--out", "") in itertools.pairwise(words):
            self.error("--out is empty; give a path")
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise what `main` prints, with the option that was meant."""
        if message.startswith(STRAY):
            message += self._hint(message.removeprefix(STRAY).split())
        raise SSLRegistryError(f"{message}{' See' if message.endswith('?') else '; see'} {self.prog} --help")

    def _hint(self, words: list[str]) -> str:
        """Say what the first word that nothing takes was meant to be."""
        known = [option.lstrip("-") for action in self._actions for option in action.option_strings]
        first = words[0].partition("=")[0]
        if first.startswith("-"):
            hint = suggested(first.lstrip("-"), known)
            return f".{hint}" if hint else ""
        return f": it stands behind no option; data are given as --data {first}" if "data" in known else ""
