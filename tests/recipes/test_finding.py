"""Recipes of installed plugins: found without importing them, named when asked for wrongly; those we ship hold."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ssl_registry import registry
from ssl_registry.cli.settings import resolve
from ssl_registry.errors import ConfigError
from ssl_registry.recipes import find_recipes, load_recipe

SHIPPED = {
    "barlow-twins": {"imagenet", "cifar10", "imagenette", "small"},
    "byol": {"imagenet", "cifar10", "imagenette", "small"},
    "simclr": {"imagenet", "cifar10", "imagenette", "imagenette-dcl", "small", "har"},
    "simsiam": {"imagenet", "cifar10", "imagenette", "small"},
    "vicreg": {"imagenet", "cifar10", "imagenette", "small"},
    "diet": {"small"},
    "distill": {"small"},
    "lejepa": {"imagenette", "small"},
    "dino": {"imagenet", "cifar10", "imagenette", "small"},
    "lfr": {"har", "income", "small"},
    "moco": {"imagenet", "imagenet-v3", "imagenet-v3-vit", "cifar10", "imagenette", "small"},
    "nnclr": {"imagenet", "cifar10", "imagenette", "small"},
    "scarf": {"income", "small"},
    "vime": {"income", "small"},
    "swav": {"imagenet", "imagenet-256", "cifar10", "imagenette", "small"},
    "cpc": {"har", "small"},
    "tfc": {"har", "small"},
    "tnc": {"har", "small"},
    "ts2vec": {"har", "small"},
    "mae": {"imagenet", "cifar10", "har", "small"},
    "data2vec": {"har", "imagenet", "small"},
    "dinov2": {"imagenet", "imagenet22k", "small"},
    "ibot": {"imagenet", "small"},
    "ijepa": {"har", "imagenet", "small"},
    "simmim": {"imagenet", "small"},
}


@pytest.mark.parametrize("method", SHIPPED)
def test_shipped_recipes_hold(method):
    """Every value names its source, and every option is one that the method's command takes."""
    recipes = find_recipes(registry.info(method))
    assert set(recipes) == SHIPPED[method]
    for name, recipe in recipes.items():
        assert recipe.summary
        assert "no source given" not in {*recipe.sources.values(), *recipe.scaling_sources.values()}
        settings = resolve(method, registry.method_class(method).Config, ["--recipe", name])
        assert settings.run.batch_size == recipe.settings["batch_size"]
        assert settings.origins["learning_rate"].startswith(f"recipe {name}: ")


def test_finding_imports_no_plugin():
    """Neither the plugin nor torch."""
    code = (
        "import sys; from ssl_registry import registry; from ssl_registry.recipes import find_recipes;"
        "print(sorted(find_recipes(registry.info('byol'))));"
        "sys.exit(repr([m for m in sys.modules if m in ('torch', 'ssl_registry_byol')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "cifar10" in done.stdout
    assert done.stderr.strip() == "[]"


def test_a_plugin_of_several_methods_keeps_them_apart(make_plugin):
    """A file belongs to the method that it names, wherever under recipes/ it lies."""
    site = make_plugin("two-methods", {"one": "twomethods:One", "two": "twomethods:Two"})
    for method in ("one", "two"):
        folder = site / "twomethods" / "recipes" / method
        folder.mkdir(parents=True)
        (folder / "fast.yaml").write_text(f"method: {method}\nsettings: {{epochs: 1}}")
    (site / "twomethods" / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    assert find_recipes(registry.info("two"))["fast"].path.parent.name == "two"


def test_unknown_recipe_answers_with_the_list():
    """And the nearest name."""
    with pytest.raises(ConfigError, match=r"Did you mean 'cifar10'\? It has: cifar10, imagenet, imagenette, small"):
        load_recipe("byol", "cifar-10")


def test_another_methods_recipe_is_refused(tmp_path):
    """A path names a file of any method; a wrong one is told."""
    path = tmp_path / "r.yaml"
    path.write_text("method: simclr\nsettings: {batch_size: 8}")
    with pytest.raises(ConfigError, match="a recipe of simclr, not of byol"):
        load_recipe("byol", str(path))
