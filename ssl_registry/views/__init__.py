"""Views: how a method's augmented versions of a sample are described, and drawn for a whole batch at once.

- `specs`: `ImageView`, `SignalView`, `TableView`: what a view may do, as values
- `recipe`: `ViewPolicy`: the views of a method, `draw` and `prepare`
- `parameters`: what happens to each image, as a function of its key: the same for every engine
- the device engine, a batch at a time: `image` with `geometry`, `colour`, `blur`; `signal`, `table`
- the host engine, a photograph at a time: `host` with `host_image` and `fast`
- `random`: random numbers on the data's device; `device`: copies to it that nobody waits for
"""

from __future__ import annotations

from ssl_registry.views.parameters import sample_keys
from ssl_registry.views.policy import ViewPolicy
from ssl_registry.views.specs import ImageView, SignalView, TableView, View

__all__ = ["ImageView", "SignalView", "TableView", "View", "ViewPolicy", "sample_keys"]
