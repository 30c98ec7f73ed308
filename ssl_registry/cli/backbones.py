"""``ssl-registry backbones PATTERN``: names that ``--backbone`` takes."""

from __future__ import annotations

import json

from ssl_registry.cli.parsing import QuickParser
from ssl_registry.errors import BackboneError

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Print the names that match, and where each comes from."""
    parser = QuickParser("backbones", "List names of backbones.")
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern in quotes, such as 'resnet*'")
    parser.add_argument("--modality", choices=("image", "signal", "table"), help="those that take such samples")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    from ssl_registry.model.backbones import list_backbones

    names = list_backbones(options.pattern, modality=options.modality)
    if not names:
        raise BackboneError(f"no backbone matches {options.pattern!r}; '*' lists all {len(list_backbones())}")
    if options.json:
        print(json.dumps(names, indent=2))
        return 0
    width = max(map(len, names))
    for name, origin in names.items():
        print(f"{name:<{width}}  {origin}")
    return 0
