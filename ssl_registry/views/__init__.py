"""Views: how a method's augmented versions of a sample are described, and drawn for a whole batch at once.

- `specs`: `ImageView`, `SignalView`, `TableView`: what a view may do, as values; `presets`: the image view that most
  methods vary
- `policy`: `ViewPolicy`: the views of a method, `draw` and `prepare`
- `columns`: `TableColumns`, how a table's columns became features; a run records it with the policy
- `keys`: random numbers as a function of (seed, epoch, sample); `parameters`: those of an image, for every engine
- `device/`, a batch at a time: `image` with `geometry`, `color`, `blur`; `signal`; `table`; `numbers`
- `host/`, a photograph at a time: `draw` with `image`
- `engine`: which of the two draws; `changes`: fields of a view policy by name; `picture`, `traces`: views to look at
"""

from __future__ import annotations

from ssl_registry.views.keys import sample_keys
from ssl_registry.views.policy import ViewPolicy
from ssl_registry.views.presets import augmented_view, multi_crop_views, small_view_size
from ssl_registry.views.specs import ImageView, SignalView, TableView, View

__all__ = [
    "ImageView",
    "SignalView",
    "TableView",
    "View",
    "ViewPolicy",
    "augmented_view",
    "multi_crop_views",
    "sample_keys",
    "small_view_size",
]
