"""`Source`: what a data set is to the rest of the project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ssl_registry.data.options import DataOptions, Modality
from ssl_registry.data.sample_set import SampleSet, as_sample_set
from ssl_registry.errors import ConfigError, DataError, did_you_mean
from ssl_registry.views.columns import TableColumns
from ssl_registry.views.specs import ImageView, SignalView, TableView

__all__ = ["Modality", "Source", "Task"]

Task = Literal["classification", "multilabel", "regression"]
VIEWS: dict[str, type[ImageView | SignalView | TableView]] = {
    "image": ImageView,
    "signal": SignalView,
    "table": TableView,
}


@dataclass(frozen=True)
class Source:
    """A data set: its samples, and what one must know to train on them.

    Args:
        name: for reports and run folders.
        kind: ``image``, ``signal`` or ``table``.
        input_shape: of one sample: (channels, height, width), (channels, time) or (features,).
        train: items are ``(x, label)`` when labelled, ``x`` alone otherwise. An image is uint8, or float32 in
            [0, 1]; a signal or a table is float32, standardised. Labels are int64, 0 to ``len(classes) - 1``, and -1
            for a sample that has none among others that have: it is trained on, and measured by nothing. Any
            map-style data set will do: one that is no `SampleSet` is wrapped in one, by `as_sample_set`.
        test: the held-out part, or None.
        classes: the classes' names by label; None when there are no labels, or the task is another.
        mean, std: per channel or feature, of the train part. Of images in [0, 1] and not yet applied;
            of signals and tables as stored and already applied. None when not known.
        forbids: steps of a view that must not be done to the samples, such as ``flip`` for digits or ``hue`` where
            color is the class; fields of `ssl_registry.views.ImageView` and its like. They are left out of the method's
            views, whose copies, sizes and crops stay. A user can ask for them again by name (``--views.flip 0.5``).
        notes: what was decided while opening it, in words.
        task: what the labels ask for: ``classification``; ``multilabel``, 0 or 1 for each of several labels (int64); or
            ``regression``, numbers (float64, NaN for a sample that has none). The other two are for
            `ssl_registry.evaluate`, training passes over them.
        columns: how the columns of a table became its features, where they were columns; a run records it.
        decided: what is a part, a label and a feature, and what was left out: one line, logged when it is opened.
        value_range: of images of 16 bits and floats, the stored values that became 0 and 1; a run records it.
        rate: moments of a signal in a second, where its recordings tell it.
        likely_sample: of a table a row a sample, the column that would make recordings of its rows, where one repeats
            as the names of recordings do.
    """

    name: str
    modality: Modality
    input_shape: tuple[int, ...]
    train: SampleSet
    test: SampleSet | None = None
    classes: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    forbids: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    task: Task = "classification"
    decided: str = ""
    columns: TableColumns | None = None
    value_range: tuple[float, float] | None = None
    rate: float | None = None
    likely_sample: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", as_sample_set(self.train))
        object.__setattr__(self, "test", None if self.test is None else as_sample_set(self.test))
        known = VIEWS[self.modality].steps
        for step in self.forbids:
            if step not in known:
                raise DataError(
                    f"{self.name} forbids {step!r}, which is no step of a view of {self.modality}s."
                    f"{did_you_mean(step, known)} Steps: {', '.join(known)}"
                )

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Refuse options for opening a source: this one is open already.

        Args:
            options: fields of `DataOptions` by name; None, and what is the default anyway, count as not given.

        Raises:
            ConfigError: naming the first of them.
        """
        for name, field in DataOptions.model_fields.items():
            value = options.get(name)
            value = tuple(value) if isinstance(value, list) else value  # as a file of options has it
            if name != "seed" and value is not None and value != field.default:
                raise ConfigError(
                    f"{name}={value!r} says how a source is opened, and {self.name} is a Source that is open already; "
                    f"leave {name} out, or give the name of the data instead"
                )

    @property
    def labeled(self) -> bool:
        """Whether items carry a class."""
        return self.classes is not None
