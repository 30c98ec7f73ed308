"""Images from the cache are the source's own, as long as that has not changed."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from logged import logged
from PIL import Image

from ssl_registry.data import SSLDataModule, broken_samples, open_source
from ssl_registry.data.images import cache
from ssl_registry.data.images.cache import CachedImages, cache_source
from ssl_registry.errors import DataError

# Python 3.12 warns of every fork of a process with threads, and torch has threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write two classes of five images, one of them broken."""
    root = tmp_path / "photos"
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(random.integers(0, 255, (9, 12, 3), dtype=np.uint8)).save(root / name / f"{number}.png")
    (root / "a" / "2.png").write_bytes(b"no image")
    return root


def opened(photos: Path, **options: Any) -> tuple[Any, list[str]]:
    source = open_source(str(photos), image_size=8)
    with logged() as lines:
        return cache_source(source, photos.parent / "cache", **options), lines


@pytest.mark.parametrize("workers", [0, 2])
def test_the_cache_gives_what_the_source_gives(photos: Path, workers: int) -> None:
    """Images, labels and the account of broken ones are the same, one by one and in batches."""
    plain, (cached, said) = open_source(str(photos), image_size=8), opened(photos, workers=workers)
    assert isinstance(cached.train, CachedImages)
    for one, other in ((plain.train, cached.train), (plain.test, cached.test)):
        assert len(one) == len(other)
        for (image, label), (same, its) in zip(one, other, strict=True):
            assert torch.equal(image, same)
            assert (label.dtype, int(label)) == (its.dtype, int(its))
    assert list(broken_samples(cached)) == list(broken_samples(plain)) == [str(photos / "a" / "2.png")]
    batches = [list(SSLDataModule(source, batch_size=4).train_dataloader()) for source in (plain, cached)]
    for (images, labels), (same, its) in zip(*batches, strict=True):
        assert torch.equal(images, same)
        assert torch.equal(labels, its)
    assert "8 images written to the cache" in said[0]


def test_it_is_made_once(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run decodes nothing."""
    opened(photos)
    monkeypatch.setattr(cache, "_build", None)
    _, said = opened(photos)
    assert "8 images from the cache" in said[0]


def test_another_size_is_another_cache(photos: Path) -> None:
    """A cache of one size never answers for another."""
    opened(photos)
    other = cache_source(open_source(str(photos), image_size=6), photos.parent / "cache")
    assert other.train[0][0].shape == (3, 6, 6)
    assert opened(photos)[0].train[0][0].shape == (3, 8, 8)


def test_contents_decide(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another time alone changes nothing; another picture of the same size in bytes makes the cache anew."""
    opened(photos)
    path = photos / "b" / "3.png"
    os.utime(path, ns=(1, 1))
    assert "from the cache" in opened(photos)[1][0]
    Image.new("RGB", (8, 8), (9, 9, 9)).save(path)
    source, said = opened(photos)
    assert any("written to" in line for line in said)
    assert any(int(image.max()) == 9 for part in (source.train, source.test) for image, _ in part)


@pytest.mark.parametrize("harm", ["flip", "cut", "facts", "gone"])
def test_a_damaged_cache_is_made_anew(photos: Path, harm: str) -> None:
    """Bytes that are others than those written are noticed."""
    first, _ = opened(photos)
    place = first.train.place
    data = bytearray((place / "images.u8").read_bytes())
    if harm == "flip":
        data[0] ^= 255
        (place / "images.u8").write_bytes(data)
    elif harm == "cut":
        (place / "images.u8").write_bytes(data[:-1])
    elif harm == "facts":
        (place / "facts.npz").write_text("{")
    else:
        (place / "facts.npz").unlink()
    again, said = opened(photos)
    assert any("written to" in line for line in said)
    plain = open_source(str(photos), image_size=8)
    assert all(torch.equal(image, same) for (image, _), (same, _) in zip(plain.train, again.train, strict=True))


def test_what_an_ended_process_left_is_in_nobodys_way(photos: Path) -> None:
    """Half a cache has another name, and goes when the next process writes its own."""
    place = opened(photos)[0].train.place
    place.rename(place.with_suffix(".part"))
    (place.with_suffix(".part") / "images.u8").write_bytes(b"half")
    assert "written to" in opened(photos)[1][0]
    assert sorted(path.suffix for path in (photos.parent / "cache").iterdir()) == ["", "", ".lock", ".lock"]


def build(photos: Path, results: Any) -> None:
    """Another process that wants the same cache."""
    source, said = opened(photos)
    results.put((said[0].split(" to ")[0], int(source.train[0][0].sum())))


def test_two_processes(photos: Path) -> None:
    """Of two that start together one writes and the other waits; both read the same."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    both = [context.Process(target=build, args=(photos, results)) for _ in range(2)]
    for process in both:
        process.start()
    found = [results.get() for _ in both]
    for process in both:
        process.join()
    assert found[0][1] == found[1][1]
    assert sum("written" in line for line, _ in found) == 1


def test_a_pickle_does_not_carry_the_images(photos: Path) -> None:
    """A worker that is spawned maps the file for itself."""
    source, _ = opened(photos)
    again = pickle.loads(pickle.dumps(source.train))
    assert torch.equal(again[1][0], source.train[1][0])
    assert "images" not in source.train.__getstate__()


def test_what_needs_none(photos: Path) -> None:
    """A source that lies in memory stays as it is, and says so."""
    source = cache_source(open_source("digits"), photos)
    assert "needs no cache" in source.notes[-1]


def test_a_place_that_cannot_be_written(photos: Path) -> None:
    """A file in its way, and a disk without room, are told in one line."""
    (photos.parent / "cache").write_text("")
    with pytest.raises(DataError, match=r"cannot be written .*; give another --cache"):
        opened(photos)


def test_no_room(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is asked for before anything is written."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(DataError, match=r"it needs .* GiB, and .* are free"):
        opened(photos)


def test_labels_are_those_of_today(tmp_path: Path) -> None:
    """A cache keeps images; changed labels are the source's, those of what replaces a broken image too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = []
    for number in range(4):
        stream = BytesIO()
        Image.new("L", (4, 4), number).save(stream, "PNG")
        cells.append(stream.getvalue())
    cells[1] = b"no image"
    for labels in (["a", "a", "b", "b"], ["x", "y", "z", "y"]):
        pq.write_table(pa.table({"image": cells, "label": labels}), tmp_path / "x.parquet")
        source = open_source(str(tmp_path / "x.parquet"), image_size=4, holdout=0)
        cached = cache_source(source, tmp_path / "cache")
        found = [cached.classes[int(label)] for _, label in (cached.train[index] for index in range(4))]
        assert found == [labels[0], labels[2], labels[2], labels[3]]
