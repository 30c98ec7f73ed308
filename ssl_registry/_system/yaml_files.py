"""YAML files that hold options, and their dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssl_registry._system.small_files import read_text
from ssl_registry.errors import ConfigError

__all__ = ["flatten", "read_yaml", "to_yaml"]

# PyYAML reads about 100 kB a second; a configuration has 3 kB.
MOST_BYTES = 2**18
MOST_VALUES = 20_000
DEEPEST = 32


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; ``3e-4`` is a number in it, as on the command line.

    Raises:
        ConfigError: if it cannot be read, is no YAML, holds something else, or stands for more than a configuration
            has: an alias repeats what it names, and aliases of aliases grow beyond any memory.
    """
    from jsonargparse import get_loader
    from yaml import YAMLError

    text = read_text(path, most=MOST_BYTES)
    try:
        _check_size(text)
        content = get_loader("yaml")(text)
    # ValueError and TypeError: a number of thousands of digits, a tag that does not fit its value.
    except (YAMLError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is not YAML, or not of options: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping of options, not a {type(content).__name__}")
    return content


def _check_size(text: str) -> None:
    """Count the values as if every alias were written out, before any of them is made.

    Raises:
        ValueError: if they are too many, or nested too deeply.
    """
    from yaml import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent, SafeLoader, parse

    # Values of each part that is open, the outermost first, with its anchor; and of each part that has an anchor.
    open_parts: list[tuple[str | None, int]] = [(None, 0)]
    anchored: dict[str, int] = {}
    for event in parse(text, Loader=SafeLoader):
        if isinstance(event, CollectionStartEvent):
            open_parts.append((event.anchor, 1))
            if len(open_parts) > DEEPEST:
                raise ValueError("it is nested too deeply")
            continue
        if isinstance(event, CollectionEndEvent):
            anchor, count = open_parts.pop()
        elif isinstance(event, AliasEvent):
            # Of a part that is not closed yet, or of none at all, which the loader tells better.
            anchor, count = None, anchored.get(event.anchor or "", 1)
            if any(event.anchor == name for name, _ in open_parts):
                raise ValueError(f"*{event.anchor} is an alias of the part that it stands in")
        elif isinstance(event, NodeEvent):
            anchor, count = event.anchor, 1
        else:
            continue
        if anchor is not None:
            anchored[anchor] = count
        outer, before = open_parts[-1]
        open_parts[-1] = (outer, before + count)
        if before + count > MOST_VALUES:
            raise ValueError(f"it stands for more than {MOST_VALUES:,} values, which no configuration has")


def to_yaml(content: Mapping[str, Any]) -> str:
    """Return plain values as YAML that `read_yaml` reads back as they are.

    PyYAML writes a text such as ``1e2`` without quotes, since YAML 1.1 takes it for text; `read_yaml` takes it for a
    number.

    >>> to_yaml({"data": "1e2", "epochs": 3})
    "data: '1e2'\\nepochs: 3\\n"

    Raises:
        yaml.representer.RepresenterError: for a value that a file cannot hold.
    """
    import yaml
    from jsonargparse import get_loader

    class Dumper(yaml.SafeDumper):
        """Quotes every text that would be read as something else."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        tag = "tag:yaml.org,2002:str"
        try:
            plain = get_loader("yaml")(value) == value
        except yaml.YAMLError:
            return dumper.represent_scalar(tag, value)  # PyYAML quotes what has a meaning in YAML
        return dumper.represent_scalar(tag, value, style=None if plain else "'")

    Dumper.add_representer(str, text)
    return yaml.dump(dict(content), Dumper=Dumper, sort_keys=False)


def flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of nested mappings with its dotted name.

    >>> dict(flatten({"a": 1, "trainer": {"precision": 16, "plugins": {}}}))
    {'a': 1, 'trainer.precision': 16, 'trainer.plugins': {}}
    """
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
