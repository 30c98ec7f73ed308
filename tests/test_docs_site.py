"""The documentation: the site builds without a warning, and what it shows is what comes out."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_registry.cli import main

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
WIDTH = "100"


def test_site_builds_strictly(tmp_path):
    """Every link leads somewhere, every name in the reference exists."""
    # Not --quiet, which hides warnings from --strict too.
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an advertisement, not a warning about these pages
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TrainingRecipe" in (tmp_path / "reference/recipes.html").read_text()


def test_every_page_is_in_the_menu():
    """A page that nothing leads to is not read."""
    menu = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert sorted(menu) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES)


def console_blocks():
    for page in PAGES:
        text = page.read_text()
        for number, block in enumerate(re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)):
            yield pytest.param(text, block, id=f"{page.stem}-{number}")


@pytest.mark.parametrize(("page", "block"), list(console_blocks()))
def test_command_output_is_what_the_command_prints(page, block, tmp_path, monkeypatch, capsys):
    """The command of a console block, run beside the files that its page names, prints the block.

    Rows that `explain` says are defaults are left out on the pages.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", WIDTH)
    for name, content in re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', page, flags=re.DOTALL):
        Path(name).write_text(content)
    command, _, shown = block.partition("\n")
    assert main(shlex.split(command.removeprefix("$ ssl-registry "))) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in printed if not line.endswith(" default")] == shown.splitlines()


def test_each_method_has_its_place_in_the_chart():
    """Each folder under plugins/ is named where a user chooses, and where its options are described."""
    root = Path(__file__).parents[1]
    chart, reference = (root / "docs/methods.md").read_text(), (root / "docs/reference/methods.md").read_text()
    for folder in (root / "plugins").glob("*/pyproject.toml"):
        name = folder.parent.name
        assert f"`{name}`" in chart or name.upper() in chart.upper(), name
        assert f"ssl_registry_{name.replace('-', '_')}\n" in reference, name
