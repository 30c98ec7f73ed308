"""``ssl-registry embed RUN --out FILE``: a row for every sample, every recording, or every token."""

from __future__ import annotations

from ssl_registry._system.terminal import tell
from ssl_registry.cli.data_arguments import DEVICES, PATH, add_data_arguments, add_network, add_trust, data_arguments
from ssl_registry.cli.messages import show_messages
from ssl_registry.cli.parsing import QuickParser

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Write, and tell what was written."""
    parser = QuickParser("embed", "Write the features of every sample to a file: id, path, split, label, vector.")
    parser.add_argument("path", metavar="RUN_OR_CHECKPOINT", help=PATH)
    parser.add_argument(
        "--out",
        required=True,
        help="the file: .parquet, .csv (a column for each number: v0, v1, ...) or .npz; the same command goes on where "
        "it was stopped",
    )
    parser.add_argument(
        "--by",
        choices=("sample", "recording"),
        default="sample",
        help="what has a row: a sample, of recordings that are cut into windows a window (default); or a recording, by "
        "the mean of its windows, with their number",
    )
    parser.add_argument(
        "--tokens",
        action="store_true",
        help="patch tokens in place of vectors: to .parquet a row each, with id, path, label, row, column and features "
        "(of signals step in place of row and column); to .npz features [samples, tokens, width], grid, ids, paths and "
        "labels",
    )
    parser.add_argument("--devices", help=DEVICES)
    add_data_arguments(parser)
    add_network(parser)
    add_trust(parser)
    options = parser.parse_args(argv)
    from ssl_registry.workflows.embed import embed

    with show_messages():
        result = embed(
            options.path,
            out=options.out,
            tokens=options.tokens,
            by=options.by,
            devices=options.devices,
            backbone=options.backbone,
            network=options.network,
            trust=options.trust,
            **data_arguments(options),
        )
    file = result.file.absolute()
    if result.grid is None:
        averaged = "" if result.windows is None else f", the means of {result.windows} windows"
        tell(f"{file}: {result.rows} rows of {result.width} features{averaged}")
    else:
        grid = " x ".join(map(str, result.grid))
        tell(f"{file}: {result.rows} samples of {grid} tokens of {result.width} features")
    if result.resumed:
        samples = "of them" if result.windows is None else "windows"
        print(f"{result.resumed} {samples} were there from a call that was stopped")
    if result.unreadable:
        print(f"{result.unreadable} image files cannot be read and have no row")
    return 0
