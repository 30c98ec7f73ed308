"""From a photograph to two views: both engines beside lightly, torchvision v2, kornia and albumentations.

Photographs are scikit-learn's two sample images, cut up and stored as JPEG of 500 x 375, unless --data names a folder.
A call makes the two views of 24 photographs, or of 256 images of 32 pixels, in one thread; with --workers 2, through a
DataLoader of two processes. albumentations turns hues in steps of two degrees, and does not antialias.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from harness import Work, arguments, run
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn
from torch.utils.data import DataLoader, Dataset
from views_peers import peers

from ssl_registry import registry
from ssl_registry.data.images.encoded_photo import EncodedPhoto
from ssl_registry.data.images.pixels import Pixels
from ssl_registry.views import ViewPolicy, sample_keys
from ssl_registry.views.host.draw import HostViews

PHOTOS, SMALL_IMAGES, RGB = 24, 256, Pixels(3)
# Times lightly, without workers and with two: in full on the CPU, the host's share, that share from the cache.
GOALS = {0: (3.0, 5.5, 10.0), 2: (2.8, 5.0, 8.0)}
IN_MEMORY = 10.0


def view_policy(method: str, size: int) -> ViewPolicy:
    backbone = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())  # of no matter here
    return registry.create(method, backbone=backbone, input_shape=(3, size, size)).view_policy


def host(drawn: ViewPolicy, *, finish: bool) -> Callable[[list[Any]], Any]:
    engine = HostViews(drawn, finish=finish)

    def work(samples: list[Any]) -> Any:
        keys = sample_keys(0, 0, range(len(samples)))
        if isinstance(samples[0], bytes):
            planner = engine.planner(keys)  # as a batch is loaded
            photos = ((row, EncodedPhoto(data, RGB)) for row, data in enumerate(samples))
            plans = ((photo, planner.plan(row, photo.height, photo.width)) for row, photo in photos)
            return [engine.draw_planned(plan, *photo.decode(plan.shrink)) for photo, plan in plans]
        return list(zip(*engine.draw(np.stack(samples), keys), strict=True))

    return work


def device(drawn: ViewPolicy) -> Callable[[list[Any]], Any]:
    def work(samples: list[Any]) -> Any:
        images = torch.from_numpy(np.stack(samples)).permute(0, 3, 1, 2)
        return drawn.draw(images, keys=sample_keys(0, 0, range(len(samples))))

    return work


def photographs(folder: str) -> list[bytes]:
    if folder:
        return [path.read_bytes() for path in sorted(Path(folder).rglob("*.jp*g"))[:PHOTOS]]
    files = []
    for number in range(PHOTOS):
        image, file = load_sample_images().images[number % 2], io.BytesIO()
        top, left = 2 * number, 5 * number
        Image.fromarray(image[top : top + 375, left : left + 500]).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def arrays(files: list[bytes], side: int, count: int) -> list[Any]:
    """Squares of the photographs: whole ones, as a cache holds them, or small ones from all over."""
    whole = [EncodedPhoto(data, RGB).decode(1)[0] for data in files]
    if side > 64:
        return [cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in whole[:count]]
    places = ((number, whole[number % len(whole)]) for number in range(count))
    starts = ((image, number * 37 % (image.shape[0] - side), number * 53 % (image.shape[1] - side))
              for number, image in places)  # fmt: skip
    return [np.ascontiguousarray(image[top : top + side, left : left + side]) for image, top, left in starts]


class _Batches(Dataset[Any]):
    """Batches of samples, for a loader whose workers make the views."""

    def __init__(self, samples: list[Any], work: Callable[[list[Any]], Any], size: int) -> None:
        self.parts = [samples[start : start + size] for start in range(0, len(samples), size)]
        self.work = work

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        views = zip(*self.work(self.parts[index]), strict=True)  # by view, then by sample
        return [torch.stack([torch.as_tensor(np.ascontiguousarray(view)) for view in each]) for each in views]


def call(samples: list[Any], work: Callable[[list[Any]], Any], workers: int) -> Callable[[], object]:
    """Return what makes all views once: here, or in processes that are there already."""
    if not workers:
        return lambda: work(samples)
    many = samples * (8 if len(samples) <= PHOTOS else 4)
    loader = DataLoader(
        _Batches(many, work, 8 if len(samples) <= PHOTOS else 64),
        batch_size=None,
        num_workers=workers,
        persistent_workers=True,
    )
    return lambda: [len(batch) for batch in loader]


def works(options: Any) -> Iterator[Work]:
    files = photographs(options.data)
    cached, small = arrays(files, 256, PHOTOS), arrays(files, 32, SMALL_IMAGES)
    workers = options.workers
    where = f"{workers} workers" if workers else "one core"
    section = f"Views, {where}"
    in_full, share, from_cache = GOALS[min(workers, 2)]
    for method in options.methods.split(","):
        theirs = {name: call(files, work, workers) for name, work in peers(method, 224).items()}
        lightly = {"lightly, all of it": theirs["lightly"]}
        drawn = view_policy(method, 224)
        name = f"{method}: JPEG to two views at 224, {where}"
        ours = {"ours, in full": call(files, host(drawn, finish=True), workers)}
        yield Work(name, ours | theirs, section, goal={"lightly": in_full, "albumentations": 1.0})
        cuts = host(drawn, finish=False)
        ours = {"ours, the host's share; a device finishes": call(files, cuts, workers)}
        yield Work(f"{name}, the host's share", ours | lightly, section, goal={"lightly, all of it": share})
        ours = {"ours, that share from the cache": call(cached, cuts, workers)}
        yield Work(f"{name}, from the cache", ours | lightly, section, goal={"lightly, all of it": from_cache})
        if not workers:
            drawn = view_policy(method, 32)
            ours = {
                "ours": call(small, host(drawn, finish=True), 0),
                "ours, the device engine on a CPU": call(small, device(drawn), 0),
            }
            theirs = {name: call(small, work, 0) for name, work in peers(method, 32).items()}
            yield Work(f"{method}: two views at 32, in memory", ours | theirs, section, goal={"lightly": IN_MEMORY})


def tell_entropy(files: list[bytes]) -> None:
    """Say what of the host's share is JPEG's entropy decoding: what a decoding at an eighth of the size still costs."""
    works = {"share": host(view_policy("simclr", 224), finish=False)}
    works |= {str(shrink): _decoding(shrink) for shrink in (1, 8)}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(9):
        for name, work in works.items():
            started = time.perf_counter()
            work(files)
            seconds[name].append((time.perf_counter() - started) / len(files))
    share, whole, entropy = (statistics.median(each) for each in seconds.values())
    print(
        f"of the host's share of {1e3 * share:.2f} ms a photograph, decoding is {whole / share:.0%}, and JPEG's "
        f"entropy decoding, which nothing here can avoid, {entropy / share:.0%}"
    )


def _decoding(shrink: int) -> Callable[[list[Any]], Any]:
    return lambda samples: [EncodedPhoto(data, RGB).decode(shrink) for data in samples]


if __name__ == "__main__":
    options = arguments(__doc__, data="", workers=0, methods="simclr,byol")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    tell_entropy(photographs(options.data))
    run(works(options), options)
