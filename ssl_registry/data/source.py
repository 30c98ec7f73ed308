"""`Source`: what a data set is to the rest of the project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ssl_registry.data.options import Modality
from ssl_registry.data.sample_set import SampleSet, sample_set

if TYPE_CHECKING:
    from ssl_registry.views import View

__all__ = ["Modality", "Source", "Task"]

Task = Literal["classification", "multilabel", "regression"]


@dataclass(frozen=True)
class Source:
    """A data set: its samples, and what one must know to train on them.

    Args:
        name: for reports and run folders.
        kind: ``image``, ``signal`` or ``table``.
        input_shape: of one sample: (channels, height, width), (channels, time) or (features,).
        train: items are ``(x, label)`` when labelled, ``x`` alone otherwise. An image is uint8, or float32 in
            [0, 1]; a signal or a table is float32, standardised. Labels are int64, 0 to ``len(classes) - 1``. Any
            map-style data set will do: one that is no `SampleSet` is wrapped in one (`sample_set` does that by hand).
        test: the held-out part, or None.
        classes: the classes' names by label; None when there are no labels, or the task is another.
        mean, std: per channel or feature, of the train part. Of images in [0, 1] and not yet applied;
            of signals and tables as stored and already applied. None when not known.
        view: augmentation suited to the samples, where the source knows one; otherwise the method's is used.
        notes: what was decided while opening it, in words.
        task: what the labels ask for: ``classification``; ``multilabel``, 0 or 1 for each of several labels (int64); or
            ``regression``, numbers (float64). The other two are for `ssl_registry.evaluate`, training passes over them.
    """

    name: str
    modality: Modality
    input_shape: tuple[int, ...]
    train: SampleSet
    test: SampleSet | None = None
    classes: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    view: View | None = None
    notes: tuple[str, ...] = ()
    task: Task = "classification"

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", sample_set(self.train))
        object.__setattr__(self, "test", None if self.test is None else sample_set(self.test))

    @property
    def labeled(self) -> bool:
        """Whether items carry a class."""
        return self.classes is not None
