"""``ssl-registry evaluate RUN``: how good the features are, beside their baselines."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ssl_registry._system.terminal import printable
from ssl_registry.cli.data_arguments import DEVICES, PATH, add_data_arguments, add_network, add_trust, data_arguments
from ssl_registry.cli.messages import show_messages
from ssl_registry.cli.parsing import QuickParser

if TYPE_CHECKING:
    from rich.console import Console

    from ssl_registry.workflows.evaluate.results import EvaluateResult

__all__ = ["print_result", "run"]


def run(argv: list[str]) -> int:
    """Print a table, or JSON."""
    parser = QuickParser("evaluate", "Measure a trained backbone beside the untrained and the supervised one.")
    parser.add_argument("path", metavar="RUN_OR_CHECKPOINT", help=PATH)
    add_data_arguments(parser)
    parser.add_argument(
        "--protocols",
        default="knn,linear",
        help="of knn, linear, sgd, adam (default: knn,linear); or, with --data a folder of images and masks, of "
        "knn-segmentation, linear-segmentation",
    )
    parser.add_argument("--k", type=int, default=20, help="neighbours (default: 20)")
    parser.add_argument("--temperature", type=float, default=0.1, help="of k-NN's weights (default: 0.1)")
    parser.add_argument("--seeds", type=int, default=3, help="fits of a probe (default: 3)")
    parser.add_argument(
        "--labels-per-class",
        type=int,
        help="fit with so many labels of each class, others for each seed (default: all)",
    )
    parser.add_argument("--devices", help=DEVICES)
    parser.add_argument("--no-cache", action="store_true", help="do not keep features and rows on the disk")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_network(parser)
    add_trust(parser)
    options = parser.parse_args(argv)
    from ssl_registry.workflows.evaluate.evaluate import evaluate

    with nullcontext() if options.json else show_messages():
        result = evaluate(
            options.path,
            **data_arguments(options),
            protocols=options.protocols.split(","),
            k=options.k,
            temperature=options.temperature,
            seeds=options.seeds,
            labels_per_class=options.labels_per_class,
            devices=options.devices,
            backbone=options.backbone,
            network=options.network,
            trust=options.trust,
            cache=not options.no_cache,
        )
    if options.json:
        print(json.dumps(result.to_dict(), indent=2))
    else:
        print_result(result)
    return 0


def print_result(result: EvaluateResult) -> None:
    """Print a row for each protocol and set of weights."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = list(dict.fromkeys(name for row in result.rows for name in row.metrics))
    for column in ("protocol", "weights"):
        table.add_column(column, no_wrap=True)
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for row in sorted(result.rows, key=lambda row: row.protocol):
        figures = [row.metrics.get(name) for name in names]
        cells = ["" if f is None else f"{f.mean:.3f}" + ("" if f.std is None else f" ± {f.std:.3f}") for f in figures]
        table.add_row(row.protocol, row.features, *cells, style="bold" if row.features == "trained" else None)
    console.print(table)
    _print_classes(result, console)
    counted = f"{printable(result.data)}: {result.train} training and {result.test} test samples"
    if result.labels_per_class is not None:
        counted += f"; fitted with {result.labels_per_class} labels of each class, {result.seeds} draws of them"
    console.print(counted, highlight=False, markup=False)
    if result.verdict:
        console.print(printable(result.verdict), highlight=False, markup=False)
    if result.saved:
        console.print(printable(f"Added to {result.saved}"), highlight=False, markup=False, soft_wrap=True)


def _print_classes(result: EvaluateResult, console: Console) -> None:
    """Print intersection over union of each class, a row a class."""
    from rich.table import Table

    rows = sorted((row for row in result.rows if row.per_class), key=lambda row: row.protocol)
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="bold", title="IoU by class", title_justify="left")
    table.add_column("class", justify="right")
    for row in rows:
        table.add_column(f"{row.protocol}\n{row.features}", justify="right")
    for kind in sorted({kind for row in rows for kind in row.per_class}, key=int):
        found = [row.per_class.get(kind) for row in rows]
        table.add_row(kind, *("" if score is None else f"{score.mean:.3f}" for score in found))
    console.print(table)
