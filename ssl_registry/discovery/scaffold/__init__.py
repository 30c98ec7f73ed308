"""What ``ssl-registry new`` writes: a plugin that installs, passes the conformance kit and trains at once.

The files of `template` are the plugin, with ``$method``, ``$package``, ``$distribution`` and ``$class_name`` for its
names, in paths as in texts; their ending ``.tmpl`` keeps them from being taken for the project's own.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from ssl_registry._version import __version__
from ssl_registry.discovery.entry_points import discover_methods
from ssl_registry.errors import ConfigError

__all__ = ["Names", "write_plugin"]

TEMPLATE = Path(__file__).parent / "template"
LONGEST = 50


@dataclass(frozen=True)
class Names:
    """The names that follow from a method's: of its distribution, package and class.

    Args:
        method: lower-case words of letters and digits, joined by dashes.

    Raises:
        ConfigError: for another spelling, with the nearest right one.

    Example:
        >>> names = Names("my-method")
        >>> names.distribution, names.package, names.class_name
        ('ssl-registry-my-method', 'ssl_registry_my_method', 'MyMethod')
    """

    method: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", self.method):
            near = re.sub(r"[^a-z0-9]+", "-", self.method.lower()).strip("-0123456789")
            hint = f"; {near} would do" if near else ""
            raise ConfigError(
                f"{self.method!r} cannot name a new method: it takes lower-case letters and digits, in words joined by "
                f"dashes, and begins with a letter{hint}"
            )
        if len(self.method) > LONGEST:
            raise ConfigError(f"{self.method} has {len(self.method)} letters; a name has at most {LONGEST}")

    @property
    def distribution(self) -> str:
        """What pip installs."""
        return f"ssl-registry-{self.method}"

    @property
    def package(self) -> str:
        """What Python imports."""
        return self.distribution.replace("-", "_")

    @property
    def class_name(self) -> str:
        """The method's class."""
        name = "".join(word.capitalize() for word in self.method.split("-"))
        return f"{name}Method" if keyword.iskeyword(name) else name


def write_plugin(method: str, folder: Path | None = None) -> list[Path]:
    """Write a new plugin.

    Args:
        method: its name, such as ``my-method``.
        folder: where it goes; default: named as the distribution, in the current folder.

    Returns:
        The files, in order.

    Raises:
        ConfigError: for a name that is malformed or taken by an installed method, and for a folder that holds
            something, or cannot be written.
    """
    names = Names(method)
    for info in discover_methods():
        if method in (info.name, (info.distribution or "").removeprefix("ssl-registry-")):
            raise ConfigError(
                f"{method} is taken: {info.distribution} {info.version} is installed; choose another name"
            )
    folder = Path(names.distribution) if folder is None else folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder; choose another with --out")
    major, minor, *_ = __version__.split(".")
    words = {
        "method": names.method,
        "distribution": names.distribution,
        "package": names.package,
        "class_name": names.class_name,
        "core": f">={major}.{minor},<{major}.{int(minor) + 1}",
    }
    written = []
    try:
        for source in sorted(TEMPLATE.rglob("*.tmpl")):
            place = Template(source.relative_to(TEMPLATE).as_posix()).substitute(words).removesuffix(".tmpl")
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(source.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise ConfigError(f"cannot write in {folder}: {error.strerror}; choose another with --out") from error
    return written
