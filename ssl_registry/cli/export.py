"""``ssl-registry export RUN``: the backbone in a form that needs no ssl_registry, checked in a fresh process."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict

from ssl_registry._system.terminal import tell
from ssl_registry.cli.data_arguments import PATH, add_network, add_trust
from ssl_registry.cli.messages import show_messages
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.workflows.export.formats import FORMATS

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Write, check, and print how to load it."""
    parser = QuickParser("export", "Write a trained backbone for timm, torch, ONNX or the Hugging Face hub.")
    parser.add_argument("path", metavar="RUN_OR_CHECKPOINT", help=PATH)
    parser.add_argument("--format", default="timm", help=f"{_formats()} (default: timm)".replace("%", "%%"))
    parser.add_argument("--out", help="the folder (default: export-FORMAT in the run)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--image-size", type=int, help="side of the images, for weights alone (default: the network's)")
    add_network(parser)
    add_trust(parser)
    options = parser.parse_args(argv)
    from ssl_registry.workflows.export.writing import export

    with nullcontext() if options.json else show_messages():
        result = export(
            options.path,
            format=options.format,
            out=options.out,
            image_size=options.image_size,
            backbone=options.backbone,
            network=options.network,
            trust=options.trust,
        )
    if options.json:
        print(json.dumps(asdict(result) | {"folder": str(result.folder)}, indent=2))
        return 0
    tell(f"{result.folder}: {', '.join(result.files)}")
    print(f"Loaded in a fresh process; largest difference of its outputs: {result.difference:.2g}\n")
    tell(result.code)
    return 0


def _formats() -> str:
    """List every format and what it is; of plugins by their metadata alone."""
    own = [f"{name} ({format.help})" for name, format in FORMATS.own.items()]
    plugins = [f"{info.name} ({info.summary}; {info.origin})" for info in FORMATS.entries() if info.status == "ok"]
    return ", ".join([*own, *plugins])
