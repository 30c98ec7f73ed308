"""``ssl-registry report RUN [RUN ...]``: one HTML page about a run, or about several side by side."""

from __future__ import annotations

from ssl_registry._system.terminal import tell
from ssl_registry.cli.data_arguments import add_trust
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.errors import SSLRegistryError

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Write the page and print where it is."""
    parser = QuickParser("report", "Write one HTML file that shows a run, or several side by side, and opens offline.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run")
    parser.add_argument("--out", help="the file (default: report.html in the run's folder, or here for several)")
    add_trust(parser)
    options = parser.parse_args(argv)
    from ssl_registry.workflows.report import write_report

    try:
        tell(str(write_report(*options.runs, out=options.out, trust=options.trust)))
    except OSError as error:
        raise SSLRegistryError(f"{error.filename or 'the report'}: {error.strerror or error}") from error
    return 0
