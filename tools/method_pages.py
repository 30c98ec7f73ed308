"""Write docs/methods/NAME.md and NAME.svg, a page for each method: ``python tools/method_pages.py``.

A page is made of what is written down once elsewhere: the plugin's README, the class's options and needs, its recipes
with their sources, the picture in `ideas`, and figures of docs/catalogue.json, where that file exists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from idea_drawing import draw
from ideas import IDEAS

from ssl_registry import registry
from ssl_registry._system.yaml_files import flatten
from ssl_registry.cli.show import describe_options, needs_in_words
from ssl_registry.contract.needs import needs_of
from ssl_registry.recipes import TrainingRecipe, find_recipes

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs/methods"
CATALOGUE = ROOT / "docs/catalogue.json"
NOTE = "<!-- Written by tools/method_pages.py from the plugin's README, options and recipes. -->"


@dataclass(frozen=True)
class Readme:
    """The parts of a plugin's README.

    Args:
        title: the method's name as it is written.
        idea: what is in front of the first code block.
        start: from there to the table of options.
        details: from there to the first heading.
        sections: the rest, with its headings.
    """

    title: str
    idea: str
    start: str
    details: str
    sections: str


def read_readme(text: str) -> Readme:
    """Take a README apart; its table of options is left out, as the page has a complete one.

    Raises:
        ValueError: if it has no table that begins with "| option".
    """
    text = _links(text.split("\n", 1)[1])
    head, _, sections = text.partition("\n## ")
    found = re.search(r"^\| option .*\n(?:\|.*\n)+", head, flags=re.MULTILINE)
    code = re.search(r"^(?:```|    \S)", head, flags=re.MULTILINE)
    if found is None or code is None:
        raise ValueError("a plugin's README has code that begins with it, and a table of options")
    idea = head[: code.start()].strip()
    parts = (idea, head[code.start() : found.start()].strip("\n"), head[found.end() :].strip())
    title = re.split(r"[,(]", idea)[0].strip()
    return Readme(title, *parts, f"## {sections.strip()}" if sections else "")


def _links(text: str) -> str:
    """Let links of a file in plugins/NAME/ lead to the same places from docs/methods/."""
    text = re.sub(r"\]\(\.\./\.\./docs/", "](../", text)
    return re.sub(r"\]\(\.\./([a-z0-9-]+)/?\)", r"](\1.md)", text)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _value(value: object) -> str:
    return "" if value in (None, {}) else f"`{_cell(value)}`"


def options(cls: Any) -> str:
    """Return the table of the options that the method's class declares."""
    own = {name for name in cls.Config.model_fields if name in cls.Config.__annotations__}
    rows = ["| option | takes | default | |", "|---|---|---|---|"]
    for option in describe_options(cls.Config):
        if option["name"] in own:
            flag = "--" + option["name"].replace("_", "-")
            cells = (f"`{flag}`", _cell(option["allowed"]), _value(option["default"]), _cell(option["description"]))
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def recipe(method: str, found: TrainingRecipe) -> str:
    """Return a recipe: what it is, the command, and each source with the values that it stands for."""
    by_source: dict[str, list[str]] = {}
    for option, value in flatten(found.settings):
        by_source.setdefault(found.sources[option], []).append(f"`{option}: {_cell(value)}`")
    for option, rule in found.scaling.items():
        by_source.setdefault(found.scaling_sources[option], []).append(f"`{option}` with the batch size: {rule}")
    rows = [f"| {_cell(source)} | {', '.join(values)} |" for source, values in by_source.items()]
    data = "" if found.name == "small" else " --data DATA"
    return (
        f"### `{found.name}`\n\n{found.summary}\n\n    ssl-registry train {method}{data} --recipe {found.name}\n\n"
        "| where it is from | values |\n|---|---|\n" + "\n".join(rows)
    )


def measured(method: str, catalogue: Mapping[str, Any]) -> str:
    """Return the method's rows of the catalogue as a table, beside what they are compared with; "" where it has none.

    Args:
        method: its name.
        catalogue: with ``rows`` as `ssl-registry bench` writes them: one a suite, method and protocol; the raw input
            and the network trained on labels have rows of their own.
    """
    rows = [row for row in catalogue.get("rows", ()) if row["method"] == method]
    if not rows:
        return ""
    beside = {(row["method"], *_place(row)): row["last"] for row in catalogue["rows"]}
    lines = [
        "| data | measured by | seeds | raw input | untrained | trained | supervised |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        scores = [
            beside.get(("raw input", *_place(row))),
            row.get("untrained"),
            row.get("last"),
            beside.get(("supervised", *_place(row))),
        ]
        cells = [row["suite"], row["protocol"], len(row["seeds"]), *map(_score, scores)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return (
        "## Measured\n\nAccuracy in per cent on the test part, mean ± deviation over seeds, all methods by one "
        "protocol. [How, and every method beside each other](../results.md).\n\n" + "\n".join(lines)
    )


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what rows that can be compared have in common."""
    return row["suite"], row.get("data"), row["protocol"]


def _score(score: Mapping[str, float | None] | None) -> str:
    if not score or score.get("mean") is None:
        return ""
    std = score.get("std")
    return f"{100 * score['mean']:.1f}" + ("" if std is None else f" ± {100 * std:.1f}")  # type: ignore[operator]


def page(method: str, catalogue: Mapping[str, Any]) -> str:
    """Return a method's page."""
    info, cls, idea = registry.info(method), registry.method_class(method), IDEAS[method]
    package = cls.__module__.partition(".")[0]
    readme = read_readme((ROOT / "plugins" / method / "README.md").read_text(encoding="utf-8"))
    # The one that needs nothing comes first.
    found = sorted(find_recipes(info).values(), key=lambda one: (one.name != "small", one.name))
    recipes = [recipe(method, one) for one in found]
    # Some READMEs show Python alone.
    command = "" if "ssl-registry train" in readme.start else f"\n\n    ssl-registry train {method} --data DATA"
    parts = [
        f"# {readme.title}\n\n{NOTE}",
        readme.idea,
        "## The idea",
        f"![{readme.title}: views, networks, loss, and where the gradient flows]({method}.svg)",
        idea.caption,
        f"**It needs** {needs_in_words(asdict(needs_of(cls)))}.",
        f"## Start\n\n{readme.start}{command}",
        f"## Options\n\n{options(cls)}",
        "All methods have [these options](../reference/options.md#options-of-every-method) too, and those of "
        "[a run](../reference/options.md).",
        readme.details,
        "## Recipes\n\nSettings for which someone stands; what you give yourself wins. "
        "[How recipes work](../recipes.md).",
        *recipes,
        measured(method, catalogue),
        readme.sections,
        f"## In Python\n\n[Classes and functions](../reference/methods.md#{package}) of `{package}`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def files() -> Iterator[tuple[Path, str]]:
    """Make each file and its content."""
    catalogue = json.loads(CATALOGUE.read_text(encoding="utf-8")) if CATALOGUE.exists() else {}
    for folder in sorted((ROOT / "plugins").glob("*/pyproject.toml")):
        method = folder.parent.name
        yield FOLDER / f"{method}.md", page(method, catalogue)
        yield FOLDER / f"{method}.svg", draw(method, IDEAS[method])


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, content in files():
        path.write_text(content, encoding="utf-8")
