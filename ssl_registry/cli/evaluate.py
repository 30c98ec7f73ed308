"""``ssl-registry evaluate RUN``: how good the features are, beside their baselines."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ssl_registry._system.terminal import printable
from ssl_registry.cli.data_arguments import DEVICES, PATH, add_data_arguments, add_network, add_trust, data_arguments
from ssl_registry.cli.messages import show_messages
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.cli.tables import FigureRow, print_figures, table_console
from ssl_registry.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from ssl_registry.workflows.evaluate.results import EvaluateResult

__all__ = ["print_result", "run"]

FEATURES = ("trained", "start", "untrained", "supervised", "raw", "pixels")  # in the order of their rows


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
        "--labels",
        default="1",
        help="training labels that the protocols see, with commas between: shares, such as 0.01,0.1,1, or above 1 so "
        "many of each class (default: 1, all)",
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
            labels=_amounts(options.labels),
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


def _amounts(words: str) -> list[float]:
    try:
        return [float(word) for word in words.split(",")]
    except ValueError:
        raise ConfigError(f"--labels {words}: give numbers with commas between, such as 0.01,0.1,1") from None


def print_result(result: EvaluateResult) -> None:
    """Print a row for each protocol and set of weights."""
    from ssl_registry.measures.few_labels import order_of_title

    console = table_console()
    names = list(dict.fromkeys(name for row in result.rows for name in row.metrics))
    ordered = sorted(result.rows, key=lambda row: (*order_of_title(row.protocol), _place(row.features)))
    rows = []
    for row in ordered:
        figures = [row.metrics.get(name) for name in names]
        cells = ["" if f is None else f"{f.mean:.3f}" + ("" if f.std is None else f" ± {f.std:.3f}") for f in figures]
        rows.append(FigureRow((row.protocol, row.features), tuple(cells), bold=row.features == "trained"))
    print_figures(console, ("protocol", "weights"), [name.replace("_", " ") for name in names], rows)
    _print_classes(result, console)
    counted = f"{printable(result.data)}: {result.train} training and {result.test} test samples"
    console.print(counted, highlight=False, markup=False)
    if result.verdict:
        console.print(printable(result.verdict), highlight=False, markup=False)
    if result.saved:
        console.print(printable(f"Added to {result.saved}"), highlight=False, markup=False, soft_wrap=True)


def _place(features: str) -> int:
    return FEATURES.index(features) if features in FEATURES else len(FEATURES)


def _print_classes(result: EvaluateResult, console: Console) -> None:
    """Print intersection over union of each class, a row a class."""
    rows = sorted((row for row in result.rows if row.per_class), key=lambda row: row.protocol)
    if not rows:
        return
    console.print("\nIoU by class", style="italic")
    kinds = sorted({kind for row in rows for kind in row.per_class}, key=int)
    cells = [tuple(f"{s.mean:.3f}" if (s := row.per_class.get(kind)) else "" for row in rows) for kind in kinds]
    found = [FigureRow((kind,), line) for kind, line in zip(kinds, cells, strict=True)]
    print_figures(console, ("class",), [f"{row.protocol} {row.features}" for row in rows], found)
