"""`Decisions`: what was decided while a source was opened, as the one line that tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Decisions", "describe_channels"]

NAMED = 6  # channels; of more the first four are named, and the rest counted
LISTED = 8  # of what is left out; a table of a thousand text columns must not fill the screen


@dataclass
class Decisions:
    """What is a part, a label and a feature of a source, and what is left out.

    Args:
        label: the column, key or place of the labels; None where there are none.
        classes: their names; None where the labels are no classes.
        task: what the labels ask for.
        no_label: why there are no labels, where that needs a word.
        left_out: what is not used, and why.
        more: further facts, such as which column is time.

    Example:
        >>> told = Decisions(label="class", classes=("a", "b"), left_out=[("__index_level_0__", "an index")])
        >>> told.add_part("train", 20, files=2)
        >>> told.add_part("test", 5, files=1)
        >>> print(told.line())
        train: 2 files, 20 samples; test: 1 file, 5 samples; label: 'class' (2 classes); left out: \
'__index_level_0__' (an index)
    """

    label: str | None = None
    classes: Sequence[str] | None = None
    task: str = "classification"
    no_label: str = ""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    more: list[str] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)
    _held_out: int | None = None
    _whole: bool = False

    def add_part(self, name: str, samples: int, *, files: int = 0, unlabeled: int = 0) -> None:
        """Tell a part.

        Args:
            name: ``train`` or ``test``.
            samples: in it.
            files: that it was read from; 0 where that tells nothing.
            unlabeled: samples that have no label, where others have one.
        """
        drawn = name == "test" and self._held_out is not None
        words = [_counted(files, "file")] if files and not drawn else []
        words.append(_counted(samples, "sample"))
        if unlabeled:
            measured = "" if name == "train" else ", which nothing measures"
            words.append(f"{unlabeled} of them without a label{measured}")
        if drawn:
            whole = "whole recordings " if self._whole else ""
            words.append(f"{whole}held out of the train part with seed {self._held_out}")
        self._parts.append(f"{name}: {', '.join(words)}")

    def hold_out(self, seed: int, *, recordings: bool = False) -> None:
        """Tell that the test part was drawn from the train part, by samples or by whole recordings."""
        self._held_out, self._whole = seed, recordings

    def line(self) -> str:
        """Return all of it as one line."""
        words = [*self._parts]
        if not any(part.startswith("test:") for part in words):
            words.append("test: none")
        if self.label is None:
            words.append(f"label: none{f' ({self.no_label})' if self.no_label else ''}")
        elif self.classes is not None:
            words.append(f"label: {self.label!r} ({_counted(len(self.classes), 'class', 'es')})")
        else:
            words.append(f"label: {self.label!r} ({self.task})")
        words += self.more
        if self.left_out:
            shown = [f"{what!r} ({why})" for what, why in self.left_out[:LISTED]]
            rest = len(self.left_out) - LISTED
            words.append("left out: " + ", ".join(shown) + (f" and {rest} more" if rest > 0 else ""))
        return "; ".join(words)


def describe_channels(names: Sequence[str]) -> str:
    """Count and name channels, so that one that is none is seen.

    >>> describe_channels(["x", "y"]), describe_channels([f"c{number}" for number in range(32)])
    ('2 channels: x, y', '32 channels: c0, c1, c2, c3 and 28 more')
    """
    shown = list(names) if len(names) <= NAMED else list(names[: NAMED - 2])
    rest = len(names) - len(shown)
    return f"{_counted(len(names), 'channel')}: {', '.join(map(str, shown))}" + (f" and {rest} more" if rest else "")


def _counted(count: int, word: str, plural: str = "s") -> str:
    return f"{count:,} {word}{plural if count != 1 else ''}"
