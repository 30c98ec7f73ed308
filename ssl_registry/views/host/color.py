"""`Colors`: one photograph whose colors change on the host, by OpenCV, with as few passes over it as that takes.

Brightness and contrast multiply every value by one number and add another. A hue's turn, a luma and a blur commute with
that, so the two numbers are kept beside the values, and meet them in a saturation's matrix or in the last rounding.
What has to stop at 0 and 255 in between stops where the two numbers say that these lie.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_registry.views.device.blur import kernel_size
from ssl_registry.views.device.color import LUMA

__all__ = ["ADJUST", "Colors", "blur_kernel", "cv2"]

cv2: ModuleType | Any  # OpenCV, from the extra "fast"
try:
    import cv2
except ModuleNotFoundError:  # torch's operations take its place
    cv2 = None

Photo = NDArray[np.uint8]
Values = NDArray[np.float32]

WHITE = 255.0
LUMA_SUM = sum(LUMA)  # 0.9999: torchvision's weights
LUMA_ROW = np.array([LUMA], np.float32)
# For red, green, blue and the shift, which is the same for all three.
LUMA_ROWS = np.array([[*LUMA, LUMA_SUM]] * 3)
IDENTITY = np.array([[1.0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]])
# A scale below this leaves 255 levels within 0.0003 of each other: one level for all.
FLAT = 1e-6
# A Gaussian's weights further than this many deviations from its center add up to less than 0.01 grey levels.
REACH = 4.0


class Colors:
    """A photograph of grey levels ``scale * values + shift``, all within 0 and 255. Nothing is rounded but in `done`.

    Args:
        photo: uint8 [h, w, C] of at most four channels; not changed.
    """

    def __init__(self, photo: Photo) -> None:
        self.photo = photo
        self.values: Values | None = None  # float32 [h, w, C], once something else than the two numbers changes
        self.scale, self.shift = 1.0, 0.0

    def brightness(self, factor: float) -> None:
        """Multiply."""
        self.scale, self.shift = factor * self.scale, factor * self.shift
        if factor > 1:
            self._clamp()

    def contrast(self, factor: float) -> None:
        """Blend with the mean luma."""
        means = cv2.mean(self.photo if self.values is None else self.values)
        grey = self.photo.shape[2] == 1
        mean = means[0] if grey else sum(weight * each for weight, each in zip(LUMA, means, strict=False))
        shift = self.shift if grey else LUMA_SUM * self.shift
        rest = (1 - factor) * (self.scale * mean + shift)
        self.scale, self.shift = factor * self.scale, factor * self.shift + rest
        if factor > 1:
            self._clamp()

    def saturation(self, factor: float) -> None:
        """Blend each pixel with its luma."""
        matrix = factor * IDENTITY + (1 - factor) * LUMA_ROWS
        matrix[:, :3] *= self.scale
        matrix[:, 3] *= self.shift
        self.values = cv2.transform(self._floats(), matrix)  # in place it would make a copy first
        self.scale, self.shift = 1.0, 0.0
        if factor > 1:
            self._clamp()

    def hue(self, factor: float) -> None:
        """Turn the hue by a share of a full turn."""
        values = self._floats()
        place = values.view()  # pixel by pixel in place, which OpenCV makes a copy for if it is told so
        cv2.cvtColor(values, cv2.COLOR_RGB2HSV, dst=place)  # of floats: hue in degrees
        values[:, :, 0] += 360 * (factor % 1)
        cv2.cvtColor(values, cv2.COLOR_HSV2RGB, dst=place)  # accepts hues above 360 degrees, not below 0

    def grayscale(self) -> None:
        """Leave the luma alone, as one channel."""
        self.values = cv2.transform(self._floats(), LUMA_ROW)[:, :, None]
        self.shift *= LUMA_SUM

    def blur(self, sigma: float) -> None:
        """Blur separably, borders reflected; weights too small to see are left out."""
        values = self._floats()
        kernel = blur_kernel(sigma, *values.shape[:2])
        cv2.sepFilter2D(values, -1, kernel, kernel, dst=values, borderType=cv2.BORDER_REFLECT_101)

    def solarize(self, threshold: float) -> None:
        """Invert what is at or above the threshold, a share of white."""
        if self.scale < FLAT:
            self.shift = WHITE - self.shift if self.shift >= threshold * WHITE else self.shift
            return
        values = torch.from_numpy(self._floats())
        bright = values >= (threshold * WHITE - self.shift) / self.scale
        inverted = (WHITE - 2 * self.shift) / self.scale - values
        self.values = torch.where(bright, inverted, values).numpy()

    def done(self) -> Photo:
        """Return uint8 [h, w, C], rounded; the photograph itself where nothing was changed."""
        values = self.photo if self.values is None else self.values
        if values is self.photo and (self.scale, self.shift) == (1.0, 0.0):
            return self.photo
        photo: Photo = cv2.convertScaleAbs(values, alpha=self.scale, beta=self.shift)  # stops at 255
        if values.shape != self.photo.shape:
            photo = cv2.cvtColor(photo, cv2.COLOR_GRAY2RGB)
        return photo.reshape(self.photo.shape)

    def _floats(self) -> Values:
        if self.values is None:
            self.values = self.photo.astype(np.float32)
        return self.values

    def _clamp(self) -> None:
        if self.scale < FLAT:
            self.shift = min(max(self.shift, 0.0), WHITE)
            return
        low, high = -self.shift / self.scale, (WHITE - self.shift) / self.scale
        torch.from_numpy(self._floats()).clamp_(low, high)  # in half of numpy's time


ADJUST: tuple[Callable[[Colors, float], None], ...] = (
    *(Colors.brightness, Colors.contrast, Colors.saturation, Colors.hue),
)


def blur_kernel(sigma: float, height: int, width: int) -> Values:
    """Return the weights of a Gaussian blur, float32 [odd], as the device has them, but for those too small to see."""
    half = min(kernel_size(width) // 2, height - 1, width - 1)
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    reach = min(half, int(np.ceil(REACH * sigma)))
    weights: Values = (kernel / kernel.sum()).astype(np.float32)[half - reach : half + reach + 1]
    return weights
