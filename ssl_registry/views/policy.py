"""`ViewPolicy`: the description of how a method's views are drawn, and their drawing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ssl_registry.errors import ConfigError
from ssl_registry.views.columns import TableColumns
from ssl_registry.views.crops import Cut, Numbers, image_cut, signal_crops
from ssl_registry.views.device.geometry import resize
from ssl_registry.views.device.image import finish, place
from ssl_registry.views.device.numbers import constants
from ssl_registry.views.device.signal import draw_signal_view
from ssl_registry.views.device.table import RowsOf, draw_table_view
from ssl_registry.views.keys import Keys, sample_keys
from ssl_registry.views.parameters import draw_image_parameters
from ssl_registry.views.specs import ImageView, SignalView, TableView, View

__all__ = ["ViewPolicy"]

# The views of an image method when its samples are signals or tables (SCARF corrupts 60 %).
SIGNAL_VIEW = SignalView(jitter=0.1, scaling=0.1, permutation=5)
TABLE_VIEW = TableView(corruption=0.6)


class ViewPolicy(BaseModel):
    """The views of a method, in order. A plain value: frozen, checked, and the same after JSON or YAML.

    Args:
        views: descriptions; each is drawn ``copies`` times.
        image_size: side of images in pixels; None keeps their size.
        mean, std: for each channel of images in [0, 1]: the last step subtracts the one and divides by the other; None
            for neither.
        overlap: least share of the shorter of two crops in time that each crop of a signal has in common with the first
            one; None leaves them where they fall. Crops that are not stretched (`SignalView`) then lie alike to each
            other in all samples of a batch.
        standardized: mean and std by which the source of the training's signals or tables standardized them. Not
            applied here: it tells how samples of another source are brought to the same scale.
        columns: how the columns of the training's table became features. Not applied here either.
        left_out: steps that the method's views had and the source of the samples forbids.

    Example:
        >>> policy = ViewPolicy(views=(ImageView(crop_scale=(0.2, 1.0), flip=0.5, copies=2),), image_size=8)
        >>> [view.shape for view in policy.draw(torch.zeros(4, 3, 16, 16, dtype=torch.uint8))]
        [torch.Size([4, 3, 8, 8]), torch.Size([4, 3, 8, 8])]
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    views: tuple[View, ...] = Field(min_length=1)
    image_size: int | None = Field(None, ge=1)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    overlap: float | None = Field(None, ge=0, le=1)
    standardized: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    columns: TableColumns | None = None
    left_out: tuple[str, ...] = ()

    @classmethod
    def plain(cls, image_size: int | None = None) -> ViewPolicy:
        """Return the policy of one view that is the sample itself."""
        return cls(views=(ImageView(),), image_size=image_size)

    @property
    def num_views(self) -> int:
        """How many tensors `draw` returns."""
        return sum(view.copies for view in self.views)

    def own_shapes(self, input_shape: tuple[int, ...]) -> set[tuple[int, ...]]:
        """Return the shapes of views that have another than a sample: of images of their own size, of signals' crops.

        Of crops whose length is drawn it is that of the shortest.
        """
        channels, steps = input_shape[0], input_shape[-1]
        sides = {view.size for view in self.views if isinstance(view, ImageView) and view.size is not None}
        crops = [view.crop_scale for view in self.views if isinstance(view, SignalView) and not view.stretch]
        shortest = {max(1, round(crop[0] * steps)) for crop in crops if crop is not None}
        return {(channels, side, side) for side in sides - {self.image_size}} | {(channels, n) for n in shortest}

    @property
    def is_plain(self) -> bool:
        """Whether every view is the sample itself."""
        return all(view.is_plain for view in self.views)

    def prepare(self, x: Tensor) -> Tensor:
        """Bring samples to the network without a view: resized, scaled, normalized; for evaluation.

        Args:
            x: images [batch, channels, height, width] as uint8 or float in [0, 1], signals or tables.

        Returns:
            float32 on the same device.
        """
        x = _scaled(x)
        if x.ndim == 4 and self.image_size:
            x = resize(x, (self.image_size, self.image_size))
        return self._normalized(x)

    def draw(
        self,
        x: Tensor,
        generator: torch.Generator | None = None,
        *,
        keys: Keys | None = None,
        origin: RowsOf | None = None,
        batch_key: int = 0,
    ) -> list[Tensor]:
        """Draw all views of a batch, on its device.

        Args:
            x: as for `prepare`.
            generator: where the keys come from if none are given; None for torch's global one.
            keys: of the samples, from `sample_keys`: views depend on sample and key alone.
            origin: of tables, all rows and which of them these are: corruption takes features from the others. Without
                it those of the batch stand in.
            batch_key: decides what is alike for all signals of a batch: lengths of crops that are not stretched.

        Returns:
            ``num_views`` tensors in float32, [batch, channels, size, size] for images; in the order of ``views``.
        """
        if keys is None:
            keys = _drawn_keys(len(x), generator)
        if x.ndim == 4:
            return self._draw_images(x, keys)
        x = _scaled(x)
        crops = self._crops(keys, x.shape[-1], batch_key)
        return [
            self._normalized(self._draw(x, view, keys, number, origin, crops.get(number)))
            for number, view in self.numbered()
        ]

    def cut(self, number: int, keys: Keys, size: tuple[int, ...] | Numbers, *, batch_key: int = 0) -> Cut:
        """Return where a view was cut out of its samples, as it was drawn with the same keys.

        Args:
            number: of the view, copies counted.
            keys: of the samples, [B].
            size: (height, width) of images, (steps,) of signals; or int64 [B, 2], sides of each photograph, of which a
                view without a crop shows the centered square.
            batch_key: as in `draw`.

        Raises:
            ConfigError: if there is no such view, or it is one of a table.
        """
        if not 0 <= number < self.num_views:
            raise ConfigError(f"there is no view {number}; this method draws {self.num_views}, counted from 0")
        views = [view for _, view in self.numbered()]
        view = views[number]
        if isinstance(view, ImageView):
            return image_cut(view, keys, number, size)  # type: ignore[arg-type]  # two sides
        if isinstance(view, TableView):
            raise ConfigError("views of tables are not cut out of their rows: they have no boxes")
        steps = int(size[0])
        whole = np.tile(np.array([0, steps]), (len(keys), 1))
        return Cut(self._crops(keys, steps, batch_key).get(number, whole), None)

    def _crops(self, keys: Keys, length: int, batch_key: int) -> dict[int, Numbers]:
        if not any(isinstance(view, SignalView) and view.crop_scale for view in self.views):
            return {}
        views = [view for _, view in self.numbered()]
        return signal_crops(views, keys, length, overlap=self.overlap, batch_key=batch_key)

    def numbered(self) -> Iterator[tuple[int, View]]:
        """Every view that is drawn, with its number: copies one by one."""
        return enumerate(view for view in self.views for _ in range(view.copies))

    def image_views(self) -> list[ImageView]:
        """Return every view that is drawn, copies one by one; all must be views of images."""
        views = [view for _, view in self.numbered()]
        for view in views:
            if not isinstance(view, ImageView):
                raise ConfigError(f"a view of kind {view.modality!r} cannot be drawn from images")
        return views  # type: ignore[return-value]  # checked above

    def finish(self, views: Sequence[Tensor], keys: Keys) -> list[Tensor]:
        """Finish views whose crops were cut elsewhere, on their device: color, grayscale, blur, solarize, normalize.

        Args:
            views: as many as the policy has, uint8 or float in [0, 1], [batch, channels, size, size].
            keys: of the samples: those that the crops were drawn with.
        """
        finished = []
        for number, (x, view) in enumerate(zip(views, self.image_views(), strict=True)):
            drawn = draw_image_parameters(view, keys, number, x.shape[2], x.shape[3])
            finished.append(self._normalized(finish(_scaled(x), view, drawn)))
        return finished

    def views_of(self, batch: Mapping[str, Any]) -> list[Tensor]:
        """Bring a batch to the network, whatever is left to do: draw its views, finish them, or scale and normalize.

        Args:
            batch: with ``x``, the samples, or ``views``, what was drawn of them; with ``keys``, and with ``finished``
                where nothing is left to draw (see `ssl_registry.data.loading.drawn.DrawnViews`).
        """
        keys = batch.get("keys")
        if "views" not in batch:
            return self.draw(batch["x"], keys=keys, batch_key=batch.get("batch_key", 0))
        if keys is not None and not batch.get("finished"):
            return self.finish(batch["views"], keys)
        # Integers are scaled and normalized; floats were given as the network takes them.
        return [view if view.is_floating_point() else self._normalized(_scaled(view)) for view in batch["views"]]

    def _draw_images(self, x: Tensor, keys: Keys) -> list[Tensor]:
        x, drawn_views = _as_bytes(x), []
        for number, view in enumerate(self.image_views()):
            drawn = draw_image_parameters(view, keys, number, x.shape[2], x.shape[3])
            placed = place(x, view, drawn, view.size or self.image_size)
            drawn_views.append(self._normalized(finish(placed, view, drawn)))
        return drawn_views

    def _draw(
        self, x: Tensor, view: View, keys: Keys, number: int, origin: RowsOf | None, crop: Numbers | None
    ) -> Tensor:
        if view.is_plain:
            return x
        wanted = {3: SignalView, 2: TableView}.get(x.ndim)
        if isinstance(view, ImageView) or wanted is None or not isinstance(view, wanted):
            raise ConfigError(
                f"a view of kind {view.modality!r} cannot be drawn from samples of shape {list(x.shape[1:])}"
            )
        if isinstance(view, SignalView):
            return draw_signal_view(x, view, keys, number, crop)
        return draw_table_view(x, view, keys, number, origin)

    def _normalized(self, x: Tensor) -> Tensor:
        if self.mean is None and self.std is None:
            return x
        mean, std = self._constants(x)
        return (x - mean) / std

    def _constants(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and std as they are broadcast over [batch, channels, ...]."""
        shape = (-1,) + (1,) * (x.ndim - 2)
        mean = constants(self.mean or (0.0,), x.device).view(shape)
        return mean, constants(self.std or (1.0,), x.device).view(shape)

    def unnormalized(self, x: Tensor) -> Tensor:
        """Undo the last step of `prepare`: multiply by ``std`` and add ``mean``, for people to look at.

        Args:
            x: floats [batch, channels, ...].

        Returns:
            The same shape; images in [0, 1] where ``x`` was prepared.

        Example:
            >>> policy = ViewPolicy(views=(ImageView(),), mean=(0.5,), std=(0.25,))
            >>> policy.unnormalized(policy.prepare(torch.full((1, 1, 1, 2), 0.75))).tolist()
            [[[[0.75, 0.75]]]]
        """
        if self.mean is None and self.std is None:
            return x
        mean, std = self._constants(x)
        return x * std + mean

    def adapted(self, input_shape: tuple[int, ...]) -> ViewPolicy:
        """Return a policy of as many views for samples of this shape.

        Images keep it as it is. Signals and tables get the core's own augmentation in place of every view that is
        not plain.
        """
        modality = {3: "image", 2: "signal", 1: "table"}[len(input_shape)]
        if modality == "image":
            return self
        own: View = SIGNAL_VIEW if modality == "signal" else TABLE_VIEW
        views = tuple(self._adapted_view(view, own) for view in self.views)
        return self.model_copy(update={"views": views, "image_size": None})

    @staticmethod
    def _adapted_view(view: View, own: View) -> View:
        if view.modality == own.modality:
            return view
        return (type(own)() if view.is_plain else own).model_copy(update={"copies": view.copies})

    def without(self, steps: Collection[str]) -> ViewPolicy:
        """Return the policy with some steps of its views turned off; those that it had are kept in `left_out`."""
        had = tuple(step for step in steps if any(view.does(step) for view in self.views))
        views = tuple(view.without(had) for view in self.views)
        return self.model_copy(update={"views": views, "left_out": (*self.left_out, *had)})

    def notes(self, input_shape: tuple[int, ...], *, of_channels: bool = True) -> list[str]:
        """Return sentences about steps that are left out for samples of this shape and from this source.

        Args:
            input_shape: of a sample.
            of_channels: also about steps that mean nothing to images of so many channels.
        """
        # A step that was asked for by name is back.
        off = [step for step in self.left_out if not any(view.does(step) for view in self.views)]
        forbidden = [f"the source of the samples forbids {', '.join(off)}: left out of the views"] if off else []
        return [*forbidden, *(self._notes_of_channels(input_shape) if of_channels else ())]

    def _notes_of_channels(self, input_shape: tuple[int, ...]) -> list[str]:
        images = [view for view in self.views if isinstance(view, ImageView)]
        if len(input_shape) != 3 or input_shape[0] == 3 or not images:
            return []
        one = input_shape[0] == 1
        names = ("saturation", "hue") if one else ("brightness", "contrast", "saturation", "hue")
        skipped = [name for name in names if any(view.color_jitter and getattr(view, name) for view in images)]
        skipped += ["grayscale"] if any(view.grayscale for view in images) else []
        what = "grey images" if one else f"images of {input_shape[0]} channels"
        return [f"{what}: {', '.join(skipped)} left out of the views"] if skipped else []


def _drawn_keys(count: int, generator: torch.Generator | None) -> Keys:
    """Draw one number and make a key for each sample from it."""
    device = None if generator is None else generator.device
    seed = int(torch.randint(2**63 - 1, (1,), generator=generator, device=device))
    return sample_keys(seed, 0, range(count))


def _scaled(x: Tensor) -> Tensor:
    """Return floats; integers of images, whatever their type, are 8-bit values."""
    of_image = x.ndim == 4 and x.dtype != torch.bool and not x.is_floating_point()
    return x.float() / 255 if of_image or x.dtype == torch.uint8 else x.float()


def _as_bytes(x: Tensor) -> Tensor:
    """Return images of integers as uint8, from which views are cut exactly."""
    if x.dtype == torch.bool:
        return x.float()
    return x if x.is_floating_point() or x.dtype == torch.uint8 else x.clamp(0, 255).to(torch.uint8)
