"""`DataOptions`: what a source is opened with, apart from its name. Imports no torch: ``--help`` reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from ssl_registry._system.options import parse_options
from ssl_registry.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from ssl_registry.views.columns import TableColumns

__all__ = ["DataOptions", "Modality", "ReadOptions", "check_reading"]

Modality = Literal["image", "signal", "table"]

# Options that not every kind of source takes, and why one would be refused.
NOT_FOR_ALL = {
    "label_column": ("--data.label", "names a column of a table or an array; {what} has none"),
    "sample_column": ("--data.sample", "names a column of a table; {what} has none"),
    "drop_columns": ("--data.drop", "names columns of a table; {what} has none"),
    "test_data": ("--data.test", "names a test part of one's own; {what} has its own"),
    "value_range": ("--data.range", "scales images that lie in files; {what} has none"),
    "window_length": ("--data.window", "cuts signals; {what} has none"),
    "window_stride": ("--data.stride", "cuts signals; {what} has none"),
}


class ReadOptions(TypedDict, total=False):
    """What a command after training takes of `DataOptions`, in Python by these names and on the command line.

    What is left out, None or empty is as in training.
    """

    label_column: str | None
    test_data: str | None
    sample_column: str | None
    drop_columns: Sequence[str]
    window_length: int | None
    window_stride: int | None
    data_root: str | Path | None
    modality: str | None
    image_size: int | None


def check_reading(names: Iterable[str]) -> None:
    """Refuse a name that is none of `ReadOptions`, as Python refuses an argument.

    Raises:
        TypeError: with the nearest right name.
    """
    for name in names:
        if name not in ReadOptions.__annotations__:
            raise TypeError(f"unexpected keyword argument {name!r}.{did_you_mean(name, ReadOptions.__annotations__)}")


class DataOptions(BaseModel):
    """How samples are read: all that changes what a source holds, and nothing of how it is loaded or trained on.

    Each field is an argument of `open_source` and an option of every command that opens a source; its description is
    the help. Where the images are cached, how many processes load them and how large a batch is belong to the run.

    Example:
        >>> DataOptions(image_size=32).model_dump(exclude_defaults=True)
        {'image_size': 32}
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # Strict: pydantic takes True for 1 otherwise.
    image_size: int | None = Field(
        None,
        ge=1,
        le=2**14,
        strict=True,
        description="Side of the images in pixels (default: of files 224, in a training on a CPU 96; 16 for digits, "
        "else as stored).",
    )
    data_root: Path | None = Field(None, description="Folder of torchvision's data sets (default: data).")
    modality: Modality | None = Field(None, description="What samples are, where an array leaves it open.")
    standardize: bool | tuple[tuple[float, ...], tuple[float, ...]] = Field(
        True,
        description="Bring signals and tables to mean 0 and std 1, by channel or feature, as measured on the train "
        "part; or by the mean and std given here.",
    )
    holdout: float = Field(
        0.2, ge=0, lt=1, description="Share of each class held out as the test part, where the data have none."
    )
    label_column: str | None = Field(
        None,
        min_length=1,
        description="Column of a table, or key of an array file, that holds the labels (default: label, target, class, "
        "y and their like).",
        json_schema_extra={"flags": ["--data.label"]},
    )
    test_data: str | None = Field(
        None,
        min_length=1,
        description="The test part, where the data do not tell it: a path of the same kind as --data.",
        json_schema_extra={"flags": ["--data.test"]},
    )
    sample_column: str | None = Field(
        None,
        min_length=1,
        description="Column of a table whose rows are moments of signals: rows with one value in it are one signal "
        "(default: sample, and beside a column of time recording, trial and their like).",
        json_schema_extra={"flags": ["--data.sample"]},
    )
    drop_columns: tuple[str, ...] = Field(
        (),
        description="Columns of a table that are no features, with commas.",
        json_schema_extra={"flags": ["--data.drop"]},
    )
    window_length: int | None = Field(
        None,
        ge=2,
        le=2**24,
        strict=True,
        description="Cut signals into windows of so many moments (time steps); needed where recordings have several "
        "lengths.",
        json_schema_extra={"flags": ["--data.window"]},
    )
    window_stride: int | None = Field(
        None,
        ge=1,
        le=2**24,
        strict=True,
        description="Moments from the start of one window to that of the next (default: those of a window, which do "
        "not overlap then).",
        json_schema_extra={"flags": ["--data.stride"]},
    )
    value_range: tuple[float, float] | None = Field(
        None,
        description="Stored values of images of 16 bits and floats that become black and white, LOW,HIGH (default: of "
        "whole numbers the bits that are used, of floats 0,1).",
        json_schema_extra={"flags": ["--data.range"]},
    )
    max_samples: int | None = Field(
        None,
        ge=2,
        strict=True,
        description="Take at most so many samples of each part, evenly spaced: for a try, or a fixed budget.",
        json_schema_extra={"flags": ["--data.limit"]},
    )
    seed: int = Field(0, ge=0, strict=True, description="Which samples are held out; a run gives its own seed.")

    _columns: Any = PrivateAttr(None)  # of a run, see `with_columns`
    _file_size: int = PrivateAttr(224)  # see `with_file_size`

    @property
    def columns(self) -> TableColumns | None:
        """What a run made of a table's columns, which other tables are read by; None for a new one."""
        columns: TableColumns | None = self._columns
        return columns

    def with_columns(self, columns: TableColumns | None) -> Self:
        """Return the options with what a run made of a table's columns."""
        copy = self.model_copy()
        copy._columns = columns
        return copy

    @property
    def file_size(self) -> int:
        """Side in pixels of images that lie in files of any size."""
        return self.image_size or self._file_size

    def with_file_size(self, side: int) -> Self:
        """Return the options with another default for the side of images in files: what suits a device."""
        copy = self.model_copy()
        copy._file_size = side
        return copy

    @field_validator("drop_columns", mode="before")
    @classmethod
    def _separate(cls, names: object) -> object:
        return tuple(name.strip() for name in names.split(",") if name.strip()) if isinstance(names, str) else names

    @field_validator("value_range", mode="before")
    @classmethod
    def _two_numbers(cls, value: object) -> object:
        return value.split(",") if isinstance(value, str) else value

    @field_validator("value_range")
    @classmethod
    def _ascending(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError(f"{value[0]:g},{value[1]:g} is no range; give the lower value first, such as 0,4095")
        return value

    @classmethod
    def of(cls, base: DataOptions | None = None, /, **changes: Any) -> Self:
        """Return options with some fields changed.

        Args:
            base: what is changed; default: the defaults.
            **changes: fields by name.

        Raises:
            ConfigError: naming the field that is unknown or out of range, and what is allowed.

        Example:
            >>> DataOptions.of(DataOptions(image_size=32), holdout=0.5).holdout
            0.5
        """
        given = {} if base is None else base.model_dump(exclude_unset=True)
        options = parse_options(cls, {**given, **changes}, owner="data")
        return options if base is None else options.with_columns(base.columns).with_file_size(base._file_size)

    def require_images(self, what: str) -> None:
        """Refuse a modality that is not that of the images in ``what``.

        Raises:
            ConfigError: naming it.
        """
        if self.modality not in (None, "image"):
            raise ConfigError(
                f"modality={self.modality!r} is for array files and tables (.npz, .npy, .pt, .csv, .parquet, hf:NAME); "
                f"{what} holds images, leave modality out"
            )

    def check_taken(self, what: str, taken: Collection[str]) -> None:
        """Refuse options that mean nothing to a source: a user who gives one believes that it is done.

        Args:
            what: the user opens.
            taken: those of ``modality`` and of the options in `NOT_FOR_ALL` that mean something.

        Raises:
            ConfigError: naming the option.
        """
        if self.window_stride is not None and self.window_length is None:
            raise ConfigError("--data.stride goes with --data.window: how long is a window?")
        if "modality" not in taken:
            self.require_images(what)
        for name, (flag, reason) in NOT_FOR_ALL.items():
            if getattr(self, name) and name not in taken:
                raise ConfigError(f"{flag} {reason.format(what=what)}, leave it out")
