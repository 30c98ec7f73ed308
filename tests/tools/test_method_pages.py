"""The page of each method is current, complete, and its picture right about the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from idea_drawing import CHARACTER, Idea, draw, flows, frozen, loss, sample, trained
from ideas import IDEAS
from method_pages import FOLDER, files, measured, read_readme

from ssl_registry import registry
from ssl_registry.contract.needs import needs_of
from ssl_registry.testing.subject import Subject

ROOT = Path(__file__).parents[2]
METHODS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))


def test_pages_are_current():
    """Otherwise: python tools/method_pages.py, as `make docs` does."""
    made = dict(files())
    assert {path.name for path in made} == {path.name for path in FOLDER.iterdir()}
    assert [path.name for path, content in made.items() if path.read_text(encoding="utf-8") != content] == []


def test_every_page_is_reached():
    """From the site's menu, and from the page where a method is chosen."""
    menu, chart = (ROOT / "mkdocs.yml").read_text(), (ROOT / "docs/methods.md").read_text()
    for method in METHODS:
        assert f": methods/{method}.md\n" in menu
        assert f"](methods/{method}.md)" in chart


@pytest.mark.parametrize("method", METHODS)
def test_picture_is_right_about_the_networks(method):
    """Every head is in the picture; what learns there has gradients here, and the star is at the product."""
    idea = IDEAS[method]
    subject = Subject(method, registry)
    model = subject.model(needs_of(subject.method_class).modalities[0])
    drawn = {part: box for box in idea.boxes.values() for part in box.parts}
    assert {*drawn, *idea.left_out} == {*model.heads}
    for name, head in model.heads.items():
        learns = {parameter.requires_grad for parameter in head.parameters()}
        if learns:
            assert learns == {drawn[name].kind == "trained"}, name
            assert drawn[name].kind in ("trained", "average", "frozen"), name
        else:
            assert name in idea.left_out or drawn[name].kind in ("memory", "step"), name
    (kept,) = (box for box in idea.boxes.values() if box.kept)
    assert (kept.kind == "average") == (model.product is not model.backbone)


@pytest.mark.parametrize("method", METHODS)
def test_each_trained_network_gets_a_gradient_and_no_other(method):
    """As the arrows say: from each trained box one leads towards a loss, and none into what rests."""
    idea = IDEAS[method]
    told = flows(idea)
    learning = {arrow.start for arrow, flow in told.items() if flow == "gradient"}
    assert {name for name, box in idea.boxes.items() if box.kind == "trained"} <= learning
    assert not any(idea.boxes[name].kind in ("average", "frozen", "memory") for name in learning)
    averages = {name for name, box in idea.boxes.items() if box.kind == "average"}
    assert averages == {arrow.end for arrow, flow in told.items() if flow == "average"}


@pytest.mark.parametrize("method", METHODS)
def test_texts_fit_their_boxes(method):
    """No line is longer than its box, and what stands in a column does not meet."""
    for box in IDEAS[method].boxes.values():
        width = max(len(line) for line in box.text.split("/")) * CHARACTER
        assert width <= box.size[0] + 1
        assert width < 135, box.text
    assert "<title>" in draw(method, IDEAS[method])


def test_flow_follows_from_stops():
    """The gradient goes back from the loss to what is trained, and not through a stop or a frozen network."""
    boxes = {
        "x": sample("image", 0, 0, "image"),
        "f": trained("backbone", 1, 0),
        "t": frozen("teacher", 1, 1),
        "loss": loss("distance", 2, 0),
    }
    told = {(a.start, a.end): flow for a, flow in flows(Idea("", boxes, "x > f > loss; x > t | loss")).items()}
    assert told == {("x", "f"): "data", ("f", "loss"): "gradient", ("x", "t"): "data", ("t", "loss"): "none"}
    stopped = flows(Idea("", boxes, "f | loss"))
    assert list(stopped.values()) == ["none"]


def test_arrow_to_nowhere_is_an_error():
    """A misspelt box is told."""
    with pytest.raises(ValueError, match="f > los"):
        flows(Idea("", {"f": trained("backbone", 0, 0)}, "f > los"))


def test_figures_of_the_catalogue_are_shown():
    """A method's rows alone, in per cent, beside the raw input and labels; a method without rows has no section."""
    row = {"suite": "digits", "method": "byol", "protocol": "knn", "seeds": [0, 1, 2]}
    row |= {"untrained": {"mean": 0.762, "std": 0.013}, "last": {"mean": 0.879, "std": None}}
    raw = {**row, "method": "raw input", "untrained": None, "last": {"mean": 0.964, "std": None}}
    table = measured("byol", {"rows": [raw, row, {**row, "method": "mae"}, {**raw, "suite": "har"}]})
    assert table.splitlines()[-1] == "| digits | knn | 3 | 96.4 | 76.2 ± 1.3 | 87.9 |  |"
    assert table.count("digits") == 1
    assert measured("dino", {"rows": [row]}) == ""


def test_links_of_a_readme_lead_from_the_page():
    """They are relative to the plugin's folder there, and to docs/methods/ here."""
    text = (
        "# x\n\nX, [a](../ibot), [b](../../docs/data.md#a).\n\n    pip\n\n| option | |\n|---|---|\n| `a` | |\n\nMore.\n"
    )
    readme = read_readme(text)
    assert readme.title == "X"
    assert readme.idea == "X, [a](ibot.md), [b](../data.md#a)."
    assert (readme.start, readme.details, readme.sections) == ("    pip", "More.", "")


def test_pages_have_all_parts():
    """Idea, picture, start, options, recipes, details."""
    for method in METHODS:
        text = (FOLDER / f"{method}.md").read_text()
        for part in (f"]({method}.svg)", "**It needs** ", "## Start", "## Options", "## Recipes", "### `small`"):
            assert part in text, (method, part)
        assert not re.search(r"\]\(\.\./\.\.", text), method
