"""`LiveReport`: the page of a run while it trains, served to a browser on this machine alone."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry.errors import ConfigError, SSLRegistryError
from ssl_registry.runs.folder import Run
from ssl_registry.workflows.report.facts import read_facts
from ssl_registry.workflows.report.page import render
from ssl_registry.workflows.report.run_page import RunPage
from ssl_registry.workflows.report.writing import reopened

__all__ = ["LiveReport"]

EVERY = 5  # seconds between two looks of the browser
HERE = "127.0.0.1"
LATER = "they come when the run has ended"


class LiveReport:
    """Serve the report of runs on the loopback interface; the browser asks anew until all of them have ended.

    Curves are read whenever a run's files have changed. Pictures need the network, so they are made once, when a run
    has ended. Nothing is written.

    Args:
        runs: folders that `ssl_registry.train` writes.
        port: of the server; 0 for any that is free.
        trust, registry: as `write_report` takes them.

    Attributes:
        url: what a browser opens.

    Raises:
        ConfigError: if a folder is no run's, or the port is taken.
    """

    def __init__(
        self, *runs: str | Path, port: int = 0, trust: bool = False, registry: Registry = default_registry
    ) -> None:
        if not runs:
            raise ConfigError("a report needs the folder of at least one run")
        self.runs = [Path(run) for run in runs]
        self.trust, self.registry = trust, registry
        for run in self.runs:
            read_facts(run)
        self._lock = threading.Lock()
        self._pages: dict[Path, tuple[object, RunPage]] = {}
        live = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                live._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing of requests."""

        try:
            self._server = ThreadingHTTPServer((HERE, port), Handler)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"--port {port} cannot be used ({error}); 0 takes any that is free") from error
        self._server.daemon_threads = True
        self.url = f"http://{HERE}:{self._server.server_address[1]}/"

    def serve(self) -> None:
        """Answer until `close` is called, or Ctrl-C."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def page(self) -> tuple[str, bool]:
        """Return the page, and whether all runs have ended."""
        with self._lock:
            pages = [self._page(index, run) for index, run in enumerate(self.runs)]
        return render(pages), all(_has_ended(run) for run in self.runs)

    def _page(self, index: int, run: Path) -> RunPage:
        state = _state(run)
        known = self._pages.get(run)
        if known is None or known[0] != state:
            facts = read_facts(run)
            gallery, problem = reopened(facts, self.trust, self.registry) if _has_ended(run) else (None, LATER)
            known = self._pages[run] = (state, RunPage(index, facts, gallery, problem))
        return known[1]

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        # Another site's page could point a name of its own at this address, and read what is served.
        host = request.headers.get("Host", "").rpartition(":")[0]
        if request.path != "/" or host not in (HERE, "localhost"):
            request.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            page, ended = self.page()
            status = HTTPStatus.OK
        except (SSLRegistryError, OSError) as error:  # of a file that is being written: the next look finds it whole
            page, ended, status = str(error), False, HTTPStatus.SERVICE_UNAVAILABLE
        body = page.encode()
        request.send_response(status)
        kind = "text/html" if status is HTTPStatus.OK else "text/plain"
        request.send_header("Content-Type", f"{kind}; charset=utf-8")
        request.send_header("Content-Length", str(len(body)))
        request.send_header("Cache-Control", "no-store")
        if not ended:
            request.send_header("Refresh", str(EVERY))
        request.end_headers()
        request.wfile.write(body)


def _has_ended(run: Path) -> bool:
    return Run(run).results.is_file()


def _state(run: Path) -> tuple[tuple[str, int, int], ...]:
    """Return names, sizes and times of what a page is made of."""
    files = [Run(run).settings, Run(run).results, *sorted((run / "metrics").glob("*/metrics.csv"))]
    found = []
    for file in files:
        try:
            stat = file.stat()
        except FileNotFoundError:
            continue
        found.append((str(file), stat.st_size, stat.st_mtime_ns))
    return tuple(found)
