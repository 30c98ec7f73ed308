"""``ssl-registry doctor``: versions, accelerator and plugins, for oneself or for a bug report."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import importlib_metadata
from packaging.requirements import Requirement

from ssl_registry.cli.entries import checked, list_entries
from ssl_registry.cli.listing import add_timeout
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.errors import ConfigError

__all__ = ["examine", "run"]

# Of the environment these alone are told: a bug report must not hold secrets.
VARIABLES = ("SSL_REGISTRY_PLUGINS", "SSL_REGISTRY_BLOCK", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")

TEXT = ("", ".md", ".txt", ".json", ".log")  # names of what `--out` writes


def run(argv: list[str]) -> int:
    """Print or write what `examine` finds; exit code 1 when a plugin cannot be used."""
    parser = QuickParser("doctor", "Tell versions, accelerator and the state of each plugin.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it to a file, fit for a bug report")
    add_timeout(parser)
    options = parser.parse_args(argv)
    if options.out is not None and options.out.suffix.lower() not in TEXT:
        what = "JSON" if options.json else "text"
        raise ConfigError(
            f"--out {options.out}: what is written is {what}; give a name such as report.md or report.json"
        )
    facts = examine(options.timeout)
    text = json.dumps(facts, indent=2) if options.json else _as_text(facts)
    if options.out is None:
        print(text)
    else:
        try:
            options.out.write_text(f"{text}\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {options.out}: {error.strerror}; give another --out") from error
        print(f"Wrote {options.out}. Look through it before you publish it.")
    return int(any(plugin["status"] not in ("ok", "local", "blocked") for plugin in facts["plugins"]))


def examine(timeout: float) -> dict[str, Any]:
    """Gather everything that matters to a bug report, in plain values without paths of the user's or secrets.

    Args:
        timeout: seconds that each plugin's import may take.
    """
    plugins = [asdict(info) for info in checked(list_entries(), timeout)]
    facts = {
        "system": {"platform": platform.platform(), "python": sys.version.split()[0], "cores": os.cpu_count()},
        "versions": _versions(),
        "accelerator": _accelerator(),
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "plugins": plugins,
    }
    without_paths: dict[str, Any] = _without_paths(facts)
    return without_paths


def _versions() -> dict[str, str]:
    """Return the versions of the core and of what it requires, from metadata."""
    core = importlib_metadata.distribution("ssl-registry")
    needed = [Requirement(text) for text in core.requires or []]
    names = [need.name for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})]
    return {"ssl-registry": core.version} | {name: _version(name) for name in sorted(names)}


def _version(name: str) -> str:
    try:
        return str(importlib_metadata.version(name))
    except importlib_metadata.PackageNotFoundError:
        return "missing"


def _accelerator() -> dict[str, Any]:
    try:
        import torch
    except Exception as error:  # a broken installation may raise anything, and is what this command is for
        return {"torch": f"fails to import ({type(error).__name__}: {error})"}
    facts: dict[str, Any] = {"cuda": torch.version.cuda or "not built in", "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        facts["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
        facts["devices"] = [
            f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, compute {gpu.major}.{gpu.minor}"
            for gpu in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        ]
    else:
        mps = torch.backends.mps.is_available()
        facts["devices"] = ["Apple GPU" if mps else "none: training runs on the CPU"]
    return facts


def _without_paths(value: Any) -> Any:
    """Replace whatever looks like an absolute path by its last part: folders tell names of people and projects."""
    if isinstance(value, dict):
        return {key: _without_paths(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_paths(entry) for entry in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"(?<![\w.:/])(?:~|[A-Za-z]:)?[\\/](?:[^\\/\s'\"]+[\\/])+", "<path>/", value)


def _as_text(facts: dict[str, Any]) -> str:
    lines = []
    for title in ("system", "versions", "accelerator", "environment"):
        lines.append(f"## {title}")
        for name, value in facts[title].items():
            lines.append(f"{name}: {'; '.join(value) if isinstance(value, list) else value}")
        lines.append("")
    lines.append("## plugins")
    for plugin in facts["plugins"]:
        origin = f"{plugin['distribution']} {plugin['version']}" if plugin["distribution"] else "this process"
        problem = f": {plugin['problem']}" if plugin["problem"] else ""
        lines.append(f"{plugin['kind']} {plugin['name']} ({origin}): {plugin['status']}{problem}")
    if not facts["plugins"]:
        lines.append("none installed")
    return "\n".join(lines)
