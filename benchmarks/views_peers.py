"""The same two views by other libraries, as their documentation builds them; for `views.py`."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

Work = Callable[[list[Any]], Any]  # two views of each: of JPEG files as bytes, or of arrays [H, W, 3]

# Of each method: jitter's strengths; for each view the probabilities of blur and of solarisation.
SETTINGS: dict[str, Any] = {
    "simclr": ((0.8, 0.8, 0.8, 0.2), (0.5, 0.5), (0.0, 0.0)),
    "byol": ((0.4, 0.4, 0.2, 0.1), (1.0, 0.1), (0.0, 0.2)),
}


def peers(method: str, size: int) -> dict[str, Work]:
    """Build every peer that is installed."""
    jitter, blurs, suns = SETTINGS[method]
    blurs = blurs if size > 64 else (0.0, 0.0)
    kernel = size // 10 // 2 * 2 + 1
    found = {}
    makers = {"lightly": _lightly, "torchvision v2": _torchvision, "kornia": _kornia, "albumentations": _albumentations}
    for name, make in makers.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[name] = make(method, size, jitter, blurs, suns, kernel)
        except ImportError:
            print(f"{name} is not installed")
    return found


def _each(transform: Callable[[Any], Any]) -> Work:
    def work(samples: list[Any]) -> Any:
        return [transform(_image(sample)) for sample in samples]

    return work


def _image(sample: Any) -> Image.Image:
    return Image.open(io.BytesIO(sample)).convert("RGB") if isinstance(sample, bytes) else Image.fromarray(sample)


def _lightly(method: str, size: int, jitter: Any, blurs: Any, suns: Any, kernel: int) -> Work:
    from lightly.transforms import BYOLTransform, BYOLView1Transform, BYOLView2Transform, SimCLRTransform

    if method == "simclr":
        return _each(SimCLRTransform(input_size=size, gaussian_blur=blurs[0]))
    first = BYOLView1Transform(input_size=size, gaussian_blur=blurs[0])
    return _each(BYOLTransform(first, BYOLView2Transform(input_size=size, gaussian_blur=blurs[1])))


def _torchvision(method: str, size: int, jitter: Any, blurs: Any, suns: Any, kernel: int) -> Work:
    views = [
        v2.Compose(
            [
                v2.ToImage(),
                v2.RandomResizedCrop(size, (0.08, 1.0), antialias=True),
                v2.RandomHorizontalFlip(),
                v2.RandomApply([v2.ColorJitter(*jitter)], 0.8),
                v2.RandomGrayscale(0.2),
                v2.RandomApply([v2.GaussianBlur(max(3, kernel), (0.1, 2.0))], blur),
                v2.RandomSolarize(128, sun),
                v2.ToDtype(torch.float32, scale=True),
            ]
        )
        for blur, sun in zip(blurs, suns, strict=True)
    ]
    return _each(lambda image: [view(image) for view in views])


def _kornia(method: str, size: int, jitter: Any, blurs: Any, suns: Any, kernel: int) -> Work:
    import kornia.augmentation as ka

    kernel = max(3, kernel)
    views = [
        ka.AugmentationSequential(
            ka.RandomResizedCrop((size, size), (0.08, 1.0)),
            ka.RandomHorizontalFlip(),
            ka.ColorJitter(*jitter, p=0.8),
            ka.RandomGrayscale(p=0.2),
            ka.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=blur),
            ka.RandomSolarize(p=sun),
        )
        for blur, sun in zip(blurs, suns, strict=True)
    ]

    def work(samples: list[Any]) -> Any:
        if isinstance(samples[0], bytes):  # photographs are of many sizes: one by one
            images = [torch.from_numpy(np.array(_image(data))).permute(2, 0, 1)[None] / 255 for data in samples]
            return [[view(image)[0] for view in views] for image in images]
        batch = torch.from_numpy(np.stack(samples)).permute(0, 3, 1, 2) / 255
        return list(zip(*(view(batch) for view in views), strict=True))

    return work


def _albumentations(method: str, size: int, jitter: Any, blurs: Any, suns: Any, kernel: int) -> Work:
    import albumentations as al

    kernel = max(3, kernel)
    strengths = [(max(0.0, 1 - strength), 1 + strength) for strength in jitter[:3]]
    views = [
        al.Compose(
            [
                al.RandomResizedCrop((size, size), (0.08, 1.0)),
                al.HorizontalFlip(),
                al.ColorJitter(*strengths, (-jitter[3], jitter[3]), p=0.8),
                al.ToGray(p=0.2),
                al.GaussianBlur((kernel, kernel), (0.1, 2.0), p=blur),
                al.Solarize(p=sun),
            ]
        )
        for blur, sun in zip(blurs, suns, strict=True)
    ]

    def work(samples: list[Any]) -> Any:
        images = [_array(sample) if isinstance(sample, bytes) else sample for sample in samples]
        return [[view(image=image)["image"] for view in views] for image in images]

    return work


def _array(data: bytes) -> Any:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
