"""Which engine draws the views: the host, the device, or each its half."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ssl_registry.errors import ConfigError, did_you_mean
from ssl_registry.views.policy import ViewPolicy
from ssl_registry.views.specs import ImageView

__all__ = ["ENGINES", "Engine", "EngineName", "choose_engine"]

EngineName = Literal["host", "device", "split"]
ENGINES = ("auto", *get_args(EngineName))

# Up to this side, in pixels, images in memory are drawn faster in batches than one by one with torch's operations
# (benchmarks/views.py, without OpenCV).
SMALL_SIDE = 64
FAST = "pip install 'ssl-registry[fast]' draws them several times faster"


@dataclass(frozen=True)
class Engine:
    """Who draws the views of images, and why.

    Args:
        name: ``host``: a photograph at a time, where samples are loaded, from all of its pixels; ``device``: a batch
            at a time on the network's device, from samples of one size; ``split``: the host crops, the device finishes.
        reason: in words.
    """

    name: EngineName
    reason: str

    def __str__(self) -> str:
        return f"views: {self.name} engine ({self.reason})"


def choose_engine(
    policy: ViewPolicy,
    input_shape: tuple[int, ...],
    *,
    asked: str = "auto",
    in_memory: bool,
    whole: bool,
    accelerator: bool,
) -> Engine | None:
    """Choose an engine, or check the one that was asked for.

    Args:
        policy: what is drawn.
        input_shape: of a sample.
        asked: ``auto``, ``host``, ``device`` or ``split``.
        in_memory: whether samples lie in memory, in one size.
        whole: whether images are uint8.
        accelerator: whether the network is on one.

    Returns:
        The engine; None for signals and tables, whose views are always drawn in batches.

    Raises:
        ConfigError: if there is no such engine, or it cannot draw these samples.
    """
    if asked not in ENGINES:
        raise ConfigError(f"views.engine={asked!r} is not one of {', '.join(ENGINES)}.{did_you_mean(asked, ENGINES)}")
    if len(input_shape) != 3:
        if asked in ("host", "split"):
            raise ConfigError(f"views.engine={asked} draws images; leave it out for signals and tables")
        return None
    if asked != "auto":
        if asked != "device" and not whole:
            raise ConfigError(f"views.engine={asked} draws 8-bit images, these are floats; use views.engine=device")
        return Engine(asked, "as told")  # type: ignore[arg-type]  # checked above
    return _automatic(policy, input_shape, in_memory, whole, accelerator)


def _automatic(
    policy: ViewPolicy, input_shape: tuple[int, ...], in_memory: bool, whole: bool, accelerator: bool
) -> Engine:
    from ssl_registry.views.host.image import cv2  # 0.1 s

    if policy.is_plain:
        return Engine("device", "samples as they are")
    if not whole:
        return Engine("device", "images of more than 8 bits")
    if accelerator:
        if in_memory:
            return Engine("device", "images in memory, an accelerator")
        return Engine("split", "photographs are cropped where they are decoded, an accelerator does the rest")
    if in_memory and any(isinstance(view, ImageView) and (view.moves or view.noise) for view in policy.views):
        return Engine("device", "rotations and noise are fastest in batches")
    if cv2 is None:
        small = in_memory and input_shape[-1] <= SMALL_SIDE
        return Engine("device" if small else "host", f"no accelerator, no OpenCV: {FAST}")
    return Engine("host", "no accelerator: OpenCV")
