"""Write docs/reference/options.md from the models that declare the options: ``python tools/option_table.py``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from ssl_registry import MethodConfig
from ssl_registry._system.options import allowed_values
from ssl_registry.cli.words import dashed
from ssl_registry.data.options import DataOptions
from ssl_registry.run_options import RunOptions

PAGE = Path(__file__).parent.parent / "docs/reference/options.md"
HEAD = """# Options of a run

Every option of `ssl-registry train METHOD`, and of `profile`, `views`, `explain` and `bench`, which take the same ones.
In a `--config` file and in Python an option has underscores: `--batch-size 64` is `batch_size: 64` and
`ssl_registry.train("byol", batch_size=64)`. Underscores work on the command line too. A switch alone means true:
`--compile` is `--compile true`.

A method adds its own options: `ssl-registry show METHOD`. Arguments of Lightning's Trainer are written
`--trainer.NAME VALUE`: `ssl-registry train METHOD --trainer.help`.

<!-- Written by tools/option_table.py. -->
"""


def table(title: str, model: type[BaseModel], names: Iterable[str]) -> str:
    """Return a heading and a row for each field of a model."""
    rows = ["| option | takes | default | |", "|---|---|---|---|"]
    for name in names:
        field = model.model_fields[name]
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        flags = [dashed(name), *map(str, extra.get("flags", ()))]  # type: ignore[arg-type]  # a list of names
        default = field.get_default(call_default_factory=True)
        cells = [
            ", ".join(f"`{flag}`" for flag in flags),
            allowed_values(model, name),
            "" if default in (None, {}) else f"`{default}`",
            field.description or "",
        ]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return f"\n## {title}\n\n" + "\n".join(rows) + "\n"


def page() -> str:
    """Return the page."""
    of_data = ["data", *(name for name in DataOptions.model_fields if name != "seed")]
    of_run = [name for name in RunOptions.model_fields if name not in of_data]
    return (
        HEAD
        + table("Data", RunOptions, of_data)
        + table("Training", RunOptions, of_run)
        + table("Options of every method", MethodConfig, MethodConfig.model_fields)
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
