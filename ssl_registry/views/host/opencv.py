"""OpenCV, where it is installed (the extra ``fast``): the host engine's arithmetic."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch.utils.data import get_worker_info

__all__ = ["cv2", "one_thread_in_a_worker"]

cv2: ModuleType | Any
try:
    import cv2
except ModuleNotFoundError:  # torch's operations take its place
    cv2 = None


def one_thread_in_a_worker() -> None:
    """Keep OpenCV to one thread where a loader has many processes, as torch keeps itself."""
    if cv2 is not None and get_worker_info() is not None:
        cv2.setNumThreads(1)
