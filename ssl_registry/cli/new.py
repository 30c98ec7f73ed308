"""``ssl-registry new METHOD``: a plugin to begin with."""

from __future__ import annotations

from pathlib import Path

from ssl_registry.cli.parsing import QuickParser
from ssl_registry.discovery.scaffold import write_plugin

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Write a plugin and tell what comes next."""
    parser = QuickParser("new", "Write a plugin that installs, passes the conformance kit and trains at once.")
    parser.add_argument("method", help="name of the new method: lower-case words joined by dashes, such as my-method")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write (default: ssl-registry-METHOD)")
    options = parser.parse_args(argv)
    files = write_plugin(options.method, options.out)
    folder = options.out or Path(f"ssl-registry-{options.method}")
    for file in files:
        print(file)
    print(
        f"\nNext:\n  pip install -e {folder}\n  ssl-registry train {options.method}\n"
        f"  ssl-registry check {options.method}\n  python -m pytest {folder}"
    )
    return 0
