"""``ssl-registry profile METHOD``: where the time of a training goes, and what would make it faster."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ssl_registry.cli.messages import show_messages
from ssl_registry.cli.methods import find_method
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.cli.tables import table_console

if TYPE_CHECKING:
    from ssl_registry.workflows.profile import Profile

__all__ = ["run"]

DESCRIPTION = """Tell where the time of a training goes. METHOD and options are those of `train`: write `profile` in its
place."""


STAGES = {
    "read": "read",
    "decode": "decode",
    "views": "views",
    "network": "forward, backward, optimizer",
}


def run(argv: list[str]) -> int:
    """Measure, and print a table and one line of advice."""
    parser = QuickParser("profile", DESCRIPTION)
    parser.add_argument("method", metavar="METHOD")
    parser.add_argument("--steps", type=int, default=20, help="steps measured for each setting (default: 20)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    own, words = parser.parse_known_args(argv)

    config_class = find_method("profile", own.method, words).Config
    from ssl_registry._system.memory import keep_freed_memory
    from ssl_registry.cli.messages import quieten
    from ssl_registry.cli.settings import resolve
    from ssl_registry.workflows.profile import profile

    arguments = resolve(own.method, config_class, words).as_arguments()
    quieten()
    keep_freed_memory()
    # More workers than cores is one of the things that are tried.
    warnings.filterwarnings("ignore", message="This DataLoader will create .* worker processes")
    del arguments["origins"]
    with show_messages(stream="stderr", prefix="... "):
        found = profile(own.method, steps=own.steps, **arguments)
    if own.json:
        print(json.dumps(_plain(found), indent=2))
    else:
        _print_table(found)
    return 0


def _plain(found: Profile) -> dict[str, Any]:
    tried = [asdict(setting) | {"rate": rate} for setting, rate in found.advice.tried.items()]
    return {
        "device": found.device,
        "engine": found.engine,
        "setting": asdict(found.setting),
        "samples_per_second": {**found.stages, "whole": found.whole.rate},
        "data_wait": found.whole.data_wait,
        "peak_memory": found.whole.peak_memory,
        "advice": found.advice.line,
        "tried": tried,
    }


def _print_table(found: Profile) -> None:
    from rich.table import Table

    setting = found.setting
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage", no_wrap=True)
    table.add_column("where")
    table.add_column("samples/s", justify="right")
    table.add_column(f"ms a batch of {setting.batch_size}", justify="right")
    drawn = {"host": "one process", "split": "one process, device", "device": "device"}[found.engine]
    places = {"read": "one process", "decode": "one process", "views": drawn}
    rows = [(STAGES[name], places.get(name, "device"), rate) for name, rate in found.stages.items()]
    rows.append(("the whole", f"{setting.workers} workers, device", found.whole.rate))
    for stage, place, rate in rows:
        table.add_row(stage, place, f"{rate:,.0f}", f"{1000 * setting.batch_size / rate:,.1f}")
    console = table_console()
    console.print(table)
    console.print(
        f"{found.whole.data_wait:.0%} of a step waits for data; peak memory {found.whole.peak_memory / 2**30:.2f} GiB; "
        f"device: {found.device}; views: {found.engine} engine\n"
        f"Advice: {found.advice.line}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
