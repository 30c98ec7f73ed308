"""What a view may do, as values: frozen, checked, and the same after JSON or YAML."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["ImageView", "SignalView", "TableView", "View"]

Share = Annotated[float, Field(ge=0, le=1)]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # What a view does to a sample, each off by default. How many views there are, their sizes and their crops are no
    # steps: they are the method's.
    steps: ClassVar[tuple[str, ...]] = ()

    copies: int = Field(1, ge=1, description="Views drawn by this description, each anew.")

    @property
    def is_plain(self) -> bool:
        """Whether the view is the sample itself: nothing but the number of copies differs from the defaults."""
        return self.model_copy(update={"copies": 1}) == type(self)()

    def does(self, step: str) -> bool:
        """Whether the view has a step of this name, turned on."""
        return step in self.steps and getattr(self, step) != type(self).model_fields[step].default

    def without(self, steps: Collection[str]) -> Self:
        """Return the view with some steps turned off.

        >>> ImageView(flip=0.5, blur=0.1).without(["flip", "hue"]) == ImageView(blur=0.1)
        True
        """
        off = {step: type(self).model_fields[step].default for step in steps if self.does(step)}
        return self.model_copy(update=off)


class ImageView(_View):
    """How one view of an image is drawn, every parameter anew for each image. Does nothing by default."""

    steps = (
        *("flip", "rotation", "translation", "zoom", "color_jitter", "brightness", "contrast", "saturation", "hue"),
        *("grayscale", "blur", "solarize", "noise"),
    )

    modality: Literal["image"] = "image"
    size: int | None = Field(None, ge=1, description="Side in pixels; default: the policy's.")
    crop_scale: tuple[Share, Share] | None = Field(None, description="Share of the area that a crop keeps.")
    crop_ratio: tuple[float, float] = Field((3 / 4, 4 / 3), description="Width / height of a crop.")
    flip: Share = Field(0.0, description="Probability of a horizontal flip.")
    rotation: float = Field(0.0, ge=0, le=180, description="Greatest rotation, in degrees to either side.")
    translation: Share = Field(0.0, description="Greatest shift, as a share of the side.")
    zoom: tuple[float, float] | None = Field(None, description="Least and greatest magnification.")
    color_jitter: Share = Field(0.0, description="Probability of colour jitter.")
    brightness: float = Field(0.0, ge=0, description="Strength: factors within 1 +- this.")
    contrast: float = Field(0.0, ge=0, description="Strength: factors within 1 +- this.")
    saturation: float = Field(0.0, ge=0, description="Strength: factors within 1 +- this.")
    hue: float = Field(0.0, ge=0, le=0.5, description="Strength: shares of a turn within +- this.")
    grayscale: Share = Field(0.0, description="Probability of losing colour.")
    blur: Share = Field(0.0, description="Probability of a Gaussian blur.")
    blur_sigma: tuple[float, float] = Field((0.1, 2.0), description="Width of the blur, in pixels.")
    solarize: Share = Field(0.0, description="Probability of inverting what is bright.")
    solarize_threshold: Share = Field(0.5, description="From where on.")
    noise: float = Field(0.0, ge=0, description="Standard deviation of added noise, on [0, 1].")

    @property
    def moves(self) -> bool:
        """Whether the view rotates, shifts or zooms."""
        return bool(self.rotation or self.translation) or self.zoom is not None

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name in ("crop_scale", "crop_ratio", "zoom", "blur_sigma"):
            pair = getattr(self, name)
            if pair is not None and not 0 < pair[0] <= pair[1]:
                raise ValueError(f"{name}={pair} must be positive and rising, (least, greatest)")
        return self


class SignalView(_View):
    """How one view of a signal is drawn. Does nothing by default."""

    steps = (*("time_warp", "permutation", "scaling", "magnitude_warp", "frequency_mask", "channel_dropout", "jitter"),)

    modality: Literal["signal"] = "signal"
    crop_scale: tuple[Share, Share] | None = Field(None, description="Share of the time that a crop keeps.")
    stretch: bool = Field(
        True,
        description="Stretch a crop to the signal's length. If false, a view has as many steps as its crop: one number "
        "for all samples of a batch, on all ranks.",
    )
    time_warp: float = Field(0.0, ge=0, description="Deviation of the logarithm of the speed of time.")
    permutation: int = Field(0, ge=0, description="Pieces of time that change places; 0 or 1 for none.")
    scaling: float = Field(0.0, ge=0, description="Deviation of a factor around 1, one for each channel.")
    magnitude_warp: float = Field(
        0.0, ge=0, description="Deviation of a factor around 1 that changes smoothly over time, for each channel."
    )
    frequency_mask: Share = Field(0.0, description="Greatest share of the spectrum that is removed, one band of it.")
    channel_dropout: Share = Field(0.0, description="Probability that a channel falls silent.")
    jitter: float = Field(0.0, ge=0, description="Standard deviation of added noise.")

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if self.crop_scale is not None and not 0 < self.crop_scale[0] <= self.crop_scale[1]:
            raise ValueError(f"crop_scale={self.crop_scale} must be positive and rising, (least, greatest)")
        return self


class TableView(_View):
    """How one view of a table's row is drawn. Does nothing by default."""

    steps = ("corruption",)

    modality: Literal["table"] = "table"
    corruption: Share = Field(0.0, description="Probability that a feature is replaced by another row's.")


View = Annotated[ImageView | SignalView | TableView, Field(discriminator="modality")]
