"""``ssl-registry report RUN [RUN ...]``: one HTML page about a run, or about several side by side."""

from __future__ import annotations

import argparse

from ssl_registry._system.terminal import tell
from ssl_registry.cli.data_arguments import add_trust
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.errors import ConfigError, SSLRegistryError

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Write the page and print where it is."""
    parser = QuickParser("report", "Write one HTML file that shows a run, or several side by side, and opens offline.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run")
    parser.add_argument("--out", help="the file (default: report.html in the run's folder, or here for several)")
    parser.add_argument("--watch", action="store_true", help="serve the page on this machine while the run trains")
    parser.add_argument("--port", type=int, help="of --watch (default: any that is free)")
    add_trust(parser)
    options = parser.parse_args(argv)
    if options.watch:
        return _watch(options)
    if options.port is not None:
        raise ConfigError("--port goes with --watch")
    from ssl_registry.workflows.report import write_report

    try:
        tell(str(write_report(*options.runs, out=options.out, trust=options.trust).absolute()))
    except OSError as error:
        raise SSLRegistryError(f"{error.filename or 'the report'}: {error.strerror or error}") from error
    return 0


def _watch(options: argparse.Namespace) -> int:
    if options.out is not None:
        raise ConfigError("--watch writes no file; leave --out out, or --watch")
    from ssl_registry.workflows.report.live import LiveReport

    live = LiveReport(*options.runs, port=options.port or 0, trust=options.trust)
    tell(f"{live.url} shows the run while it trains; Ctrl-C ends it")
    try:
        live.serve()
    except KeyboardInterrupt:
        return 0
    return 0
