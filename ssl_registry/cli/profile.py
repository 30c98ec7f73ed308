"""``ssl-registry profile METHOD``: where the time of a training goes, and what would make it faster."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ssl_registry.cli.messages import show_messages
from ssl_registry.cli.parsing import QuickParser

if TYPE_CHECKING:
    from ssl_registry.workflows.profile import Profile

__all__ = ["run"]

STAGES = {
    "read": "read",
    "decode": "decode",
    "views": "views",
    "network": "forward, backward, optimizer",
}


def run(argv: list[str]) -> int:
    """Measure, and print a table and one line of advice."""
    parser = QuickParser("profile", "Tell where the time of a training goes. METHOD and options are those of `train`.")
    add = parser.add_argument
    add("method", metavar="METHOD")
    add("--data", default="digits", help="what to train on, as for train (default: digits)")
    add("--backbone", help="timm name, signal_encoder, table_encoder, or file.py:Name")
    add("--batch-size", type=int, default=256, help="samples a step (default: 256)")
    add("--image-size", type=int, help="side of the images in pixels")
    add("--data-root", help="where torchvision's data sets lie")
    add("--cache", help="folder for images decoded and resized once")
    add("--workers", type=int, help="processes that load samples (default: as train)")
    add("--steps", type=int, default=20, help="steps that are measured for each setting (default: 20)")
    add("--accelerator", default="auto", help="cpu, cuda, ... (default: the best there is)")
    add("--json", action="store_true", help="print JSON")
    options = vars(parser.parse_args(argv))
    as_json, accelerator = options.pop("json"), options.pop("accelerator")

    from ssl_registry._system.memory import keep_freed_memory
    from ssl_registry.cli.train import quieten
    from ssl_registry.workflows.profile import profile

    quieten()
    keep_freed_memory()
    # More workers than cores is one of the things that are tried.
    warnings.filterwarnings("ignore", message="This DataLoader will create .* worker processes")
    with show_messages(stream="stderr", prefix="... "):
        found = profile(**options, trainer={"accelerator": accelerator})
    if as_json:
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
    from rich.console import Console
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
    console = Console()
    console.print(table)
    console.print(
        f"{found.whole.data_wait:.0%} of a step waits for data; peak memory {found.whole.peak_memory / 2**30:.2f} GiB; "
        f"device: {found.device}; views: {found.engine} engine\n"
        f"Advice: {found.advice.line}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
