"""YAML files that hold options, and their dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssl_registry.errors import ConfigError

__all__ = ["flatten", "read_yaml", "to_yaml"]


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; ``3e-4`` is a number in it, as on the command line.

    Raises:
        ConfigError: if there is no such file, it is no YAML, or holds something else.
    """
    from jsonargparse import get_loader
    from yaml import YAMLError

    try:
        content = get_loader("yaml")(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping of options, not a {type(content).__name__}")
    return content


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
