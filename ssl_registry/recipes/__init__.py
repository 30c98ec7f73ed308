"""Training recipes: options of ``train`` with the source of each value, as YAML that plugins ship and users write.

Not to be confused with `ssl_registry.views.Recipe`, which describes how views are drawn. What lives where:

- `reading`: a file becomes a `TrainingRecipe`; the form of the file is documented there
- `finding`: recipes of an installed method, found without importing its plugin
- `scaling`: the rules that carry a value over to another batch size
- `adapting`: a recipe meets the batch and the processes of a run
"""

from __future__ import annotations

from ssl_registry.recipes.adapting import adapt
from ssl_registry.recipes.finding import find_recipes, load_recipe
from ssl_registry.recipes.reading import TrainingRecipe, read_recipe
from ssl_registry.recipes.scaling import RULES, rescale

__all__ = ["RULES", "TrainingRecipe", "adapt", "find_recipes", "load_recipe", "read_recipe", "rescale"]
