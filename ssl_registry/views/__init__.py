"""Views: how a method's augmented versions of a sample are described, and drawn for a whole batch at once.

- `specs`: `ImageView`, `SignalView`, `TableView`: what a view may do, as values
- `recipe`: `Recipe`: the views of a method, `draw` and `prepare`
- `image`, `signal`, `table`: drawing each kind; `geometry`, `colour`, `blur`: the operations on images
- `random`: random parameters from one generator
"""

from __future__ import annotations

from ssl_registry.views.recipe import Recipe
from ssl_registry.views.specs import ImageView, SignalView, TableView, View

__all__ = ["ImageView", "Recipe", "SignalView", "TableView", "View"]
