"""`HostViews`: every view of a photograph, drawn on the host; in a loader's worker or in the process that trains."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ssl_registry.views.host.image import Photo, cut, finish_on_host, finish_one, move, one_thread_in_a_worker
from ssl_registry.views.host.plan import Plan, Planner
from ssl_registry.views.keys import Keys
from ssl_registry.views.parameters import ImageParameters, Ranges, draw_image_parameters
from ssl_registry.views.policy import ViewPolicy

__all__ = ["Encoded", "HostViews"]


class Encoded(Protocol):
    """A photograph that can be decoded at its size, or at a half, a quarter or an eighth of it."""

    height: int
    width: int

    def decode(self, shrink: int) -> tuple[Photo, int]:
        """Return uint8 [height, width, channels], and by what its sides were divided: at most 1, 2, 4 or 8."""


class HostViews:
    """Draws a policy's views on the host. A plain value that can be sent to other processes.

    Args:
        policy: of views of images.
        finish: whether colors are changed here too; otherwise the views are only cut, and `ViewPolicy.finish` does
            the rest on a device with the same keys.

    Example:
        >>> from ssl_registry.views import ImageView, sample_keys
        >>> host = HostViews(ViewPolicy(views=(ImageView(crop_scale=(0.2, 1.0), copies=2),), image_size=8))
        >>> [view.shape for view in host.draw(np.zeros((1, 16, 16, 3), np.uint8), sample_keys(0, 0, [0]))]
        [(1, 8, 8, 3), (1, 8, 8, 3)]
    """

    def __init__(self, policy: ViewPolicy, *, finish: bool = True) -> None:
        self.policy = policy
        self.finish = finish
        self.views = policy.image_views()
        self.ranges = Ranges(self.views)

    def draw(self, photos: NDArray[np.uint8], keys: Keys) -> list[Photo]:
        """Draw all views of photographs of one size.

        Args:
            photos: uint8 [B, H, W, C].
            keys: of the samples, [B].

        Returns:
            As many arrays as the policy has views, uint8 [B, h, w, C].
        """
        one_thread_in_a_worker()
        count, height, width, channels = photos.shape
        views = []
        for number, view in enumerate(self.views):
            drawn = draw_image_parameters(view, keys, number, height, width)
            size = self._size(number, height, width)
            boxes = [None] * count if drawn.boxes is None else drawn.boxes.tolist()
            placed = np.empty((count, *size, channels), np.uint8)
            for row, (photo, box, flip) in enumerate(zip(photos, boxes, drawn.flip.tolist(), strict=True)):
                placed[row] = move(cut(photo, size, box, flip), drawn, row)
            views.append(self._finish(placed, number, drawn))
        return views

    def draw_encoded(self, encoded: Encoded, key: Keys) -> list[Photo]:
        """Decode a photograph once and draw all of its views, each out of all of its pixels.

        Args:
            encoded: of any size. A view without a crop shows its centred square.
            key: of the sample, [1].

        Returns:
            As many arrays as the policy has views, uint8 [h, w, C].
        """
        plan = self.planner(key).plan(0, encoded.height, encoded.width)
        return self.draw_planned(plan, *encoded.decode(plan.shrink))

    def planner(self, keys: Keys) -> Planner:
        """Draw the parameters of a batch of photographs whose sizes are not known yet; keys [B]."""
        return Planner(self.ranges, [view.size or self.policy.image_size for view in self.views], keys)

    def draw_planned(self, plan: Plan, photo: Photo, shrink: int) -> list[Photo]:
        """Draw all views of a photograph, uint8 [H, W, C], whose sides were divided by ``shrink``."""
        one_thread_in_a_worker()
        views = []
        for number, (view, size, box) in enumerate(zip(self.views, plan.sizes, plan.boxes, strict=True)):
            # Corners of the reduced photograph lie within a pixel of the view's.
            row, column, high, wide = box
            top, left = row // shrink, column // shrink
            bottom = min(-(-(row + high) // shrink), photo.shape[0])
            right = min(-(-(column + wide) // shrink), photo.shape[1])
            reduced = (top, left, bottom - top, right - left)
            placed = cut(photo, size, reduced, bool(plan.drawn.flip[number]))
            placed = move(placed, plan.drawn, number) if view.moves else placed
            views.append(finish_one(placed, view, plan.drawn, number) if self.finish else placed)
        return views

    def _finish(self, placed: Photo, number: int, drawn: ImageParameters) -> Photo:
        return finish_on_host(placed, self.views[number], drawn) if self.finish else placed

    def _size(self, number: int, height: int, width: int) -> tuple[int, int]:
        side = self.views[number].size or self.policy.image_size
        return (side, side) if side else (height, width)
