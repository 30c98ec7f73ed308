"""`DataOptions`: what a source is opened with, apart from its name. Imports no torch: ``--help`` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from ssl_registry._system.options import parse_options
from ssl_registry.errors import ConfigError

__all__ = ["DataOptions", "Modality"]

Modality = Literal["image", "signal", "table"]


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
        description="Side of the images in pixels (default: 224 for files, 16 for digits, else as stored).",
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
    seed: int = Field(0, ge=0, strict=True, description="Which samples are held out; a run gives its own seed.")

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
        return parse_options(cls, {**given, **changes}, owner="data")

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
