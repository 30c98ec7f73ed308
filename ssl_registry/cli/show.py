"""``ssl-registry show METHOD``: its paper, options and hooks."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict
from typing import Any

from ssl_registry._registry import registry
from ssl_registry._system.options import allowed_values
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.cli.tables import table_console
from ssl_registry.contract.config import MethodConfig
from ssl_registry.contract.needs import needs_of
from ssl_registry.contract.validation import implemented_hooks
from ssl_registry.recipes.finding import find_recipes

__all__ = ["describe_options", "needs_in_words", "run"]


def run(argv: list[str]) -> int:
    """Print what a method is and what it can be told."""
    parser = QuickParser("show", "Show one method: its paper, options and hooks.")
    parser.add_argument("method", help="its name, as `ssl-registry list` gives it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    info, cls = registry.info(options.method), registry.method_class(options.method)
    facts = {
        "method": info.name,
        "distribution": info.distribution,
        "version": info.version,
        "class": f"{cls.__module__}.{cls.__qualname__}",
        "documentation": inspect.getdoc(cls) or "",
        "needs": asdict(needs_of(cls)),
        "hooks": sorted(implemented_hooks(cls)),
        "options": describe_options(cls.Config),
        "recipes": {name: recipe.summary for name, recipe in find_recipes(info).items()},
    }
    if options.json:
        print(json.dumps(facts, indent=2, default=str))
    else:
        _print(facts)
    return 0


def describe_options(config: type[MethodConfig]) -> list[dict[str, Any]]:
    """Return name, type with range, default and description of each option, the method's own ones first."""
    own = [name for name in config.model_fields if name not in MethodConfig.model_fields]
    return [
        {
            "name": name,
            "allowed": allowed_values(config, name),
            "default": config.model_fields[name].get_default(call_default_factory=True),
            "description": config.model_fields[name].description or "",
        }
        for name in [*own, *MethodConfig.model_fields]
    ]


def needs_in_words(needs: dict[str, Any]) -> str:
    """Say what samples and what backbone a method needs.

    >>> from ssl_registry.contract.needs import Needs
    >>> needs_in_words(asdict(Needs(modalities=("image",), tokens=True, batch="any")))
    'images; a backbone with tokens; batch: any'
    """
    words = [" or ".join(f"{modality}s" for modality in needs["modalities"])]
    hiding = {"keep": " that can be dropped", "mask": " that can be masked"}.get(needs["tokens"], "")
    words += [f"a backbone with tokens{hiding}"] if needs["tokens"] else []
    if needs["backbone"]:
        listed = ", ".join(f"{key}={value!r}" for key, value in needs["backbone_kwargs"].items())
        words.append(f"default backbone {needs['backbone']}" + (f" ({listed})" if listed else ""))
    words += [f"{name}: {needs[name]}" for name in ("batch", "memory") if needs[name]]
    return "; ".join(words)


def _flowing(text: str) -> str:
    """Let each paragraph be one line, for a terminal of any width; lists and formulas stay as they are.

    >>> _flowing("A sentence\\nover lines.\\n\\n    x = 1\\n    y = 2")
    'A sentence over lines.\\n\\n    x = 1\\n    y = 2'
    """
    parts = text.split("\n\n")
    return "\n\n".join(part if part.startswith((" ", "-")) else " ".join(part.split()) for part in parts)


def _print(facts: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = table_console()
    origin = f"{facts['distribution']} {facts['version']}" if facts["distribution"] else "registered in this process"
    console.print(f"[bold]{escape(facts['method'])}[/]  {escape(origin)}  {escape(facts['class'])}\n")
    console.print(escape(_flowing(facts["documentation"])), highlight=False)
    console.print(f"\n[bold]needs[/]  {escape(needs_in_words(facts['needs']))}", highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("option", "allowed", "default", "description"):
        table.add_column(column, overflow="fold")
    for option in facts["options"]:
        table.add_row(*(escape(str(option[key])) for key in ("name", "allowed", "default", "description")))
    console.print()
    console.print(table)
    console.print(f"\n[bold]hooks[/]  {', '.join(facts['hooks'])}")
    for name, summary in facts["recipes"].items():
        console.print(f"[bold]--recipe {escape(name)}[/]  {escape(summary)}", highlight=False)
