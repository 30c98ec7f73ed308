"""Tar files of images: streamed, split without repeating or losing, refused when they are not whole."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_registry.data import SSLDataModule, open_source
from ssl_registry.data.loading.loader import training_loader
from ssl_registry.data.sources.shards import images as shard_images
from ssl_registry.data.sources.shards.index import index_shard
from ssl_registry.data.sources.shards.order import lanes_for
from ssl_registry.errors import DataError, MissingExtraError

# Python 3.12 warns of every fork of a process with threads, and torch has threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

Write = Callable[..., Path]


def png(number: int) -> bytes:
    stream = BytesIO()
    Image.new("L", (4, 4), number).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, BytesIO(data))


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write shards of grey images whose every pixel is their number; the account of them goes to tmp_path."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def written(*counts: int, labeled: bool = False) -> Path:
        number = 0
        for shard, count in enumerate(counts):
            members = []
            for _ in range(count):
                members.append((f"{number:05d}.png", png(number)))
                if labeled:
                    members.append((f"{number:05d}.cls", str(number % 2).encode()))
                number += 1
            write_tar(tmp_path / f"{shard:03d}.tar", members)
        return tmp_path

    return written


def numbers(batches: Any) -> list[list[int]]:
    return [batch[:, 0, 0, 0].tolist() for batch in batches]


def flat(batches: Any) -> list[int]:
    return [number for batch in numbers(batches) for number in batch]


def opened(folder: Path, **options: Any) -> Any:
    return open_source(str(folder / "*.tar"), image_size=4, **options)


def test_samples_in_order(write: Write) -> None:
    """Shards are one data set of all their samples, in the order of their names; unlabelled ones hold nothing out."""
    source = opened(write(3, 5))
    assert (source.input_shape, source.classes, source.test) == ((1, 4, 4), None, None)
    assert [int(source.train[index].max()) for index in range(8)] == list(range(8))
    assert int(source.train[2].max()) == 2  # backwards too
    assert source.notes[0] == "2 shards, read by up to 2 workers on one device"


def test_labels_and_a_part_held_out(write: Write) -> None:
    """Texts in .cls are classes, and a share of each is held out as elsewhere."""
    source = opened(write(10, 10, labeled=True))
    assert source.classes == ("0", "1")
    assert (len(source.train), len(source.test)) == (16, 4)
    for part in (source.train, source.test):
        assert all(int(image.max()) % 2 == int(label) for image, label in part)


def test_parts_by_their_names(write: Write) -> None:
    """Shards called train... and val... are the parts, with one account of classes; training reads no other."""
    folder = write(4, 6, 4, labeled=True)
    for shard, name in enumerate(("train-0", "train-1", "val-0")):
        (folder / f"{shard:03d}.tar").rename(folder / f"{name}.tar")
    source = opened(folder)
    assert source.classes == ("0", "1")
    assert [int(image.max()) for image, _ in source.test] == [10, 11, 12, 13]
    loader = training_loader(source.train, batch_size=5)
    assert sorted(n for images, _ in loader for n in images[:, 0, 0, 0].tolist()) == list(range(10))


@pytest.mark.parametrize("block", [2, 1024])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2])
def test_every_sample_once_an_epoch(
    write: Write, block: int, workers: int, world_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over all ranks, whatever workers and blocks are; another epoch has another order."""
    monkeypatch.setattr(shard_images, "BLOCK", block)
    source = opened(write(7, 4, 9, 12))
    epochs = []
    for epoch in range(2):
        seen: list[int] = []
        for rank in range(world_size):
            loader = training_loader(
                source.train, batch_size=4, seed=1, rank=rank, world_size=world_size, num_workers=workers
            )
            loader.sampler.set_epoch(epoch)
            seen += flat(loader)
        assert sorted(seen) == list(range(32))
        epochs.append(seen)
    assert epochs[0] != epochs[1]


def test_remainder_waits_for_another_epoch(write: Write) -> None:
    """Batches are full on every rank; what is left over differs from epoch to epoch."""
    loader = training_loader(opened(write(9, 9)).train, batch_size=4)
    left = []
    for epoch in range(8):
        loader.sampler.set_epoch(epoch)
        seen = flat(loader)
        assert len(seen) == len(set(seen)) == 16
        left.append(frozenset(range(18)) - set(seen))
    assert len(set(left)) > 1


def test_batches_do_not_depend_on_workers(write: Write) -> None:
    """Same seed, same batches; more workers than lanes are not started."""
    source = opened(write(*[8] * 5))
    whole = [numbers(SSLDataModule(source, batch_size=4, num_workers=n).train_dataloader()) for n in (0, 2, 3)]
    assert whole[0] == whole[1] == whole[2]
    assert SSLDataModule(source, batch_size=4, num_workers=3).train_dataloader().num_workers == 2
    assert lanes_for(5, 1) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_inside_an_epoch(write: Write, workers: int) -> None:
    """A new loader that is told the position gives exactly the batches that were to come."""
    source = opened(write(8, 8, 8))
    data = SSLDataModule(source, batch_size=4, num_workers=workers, seed=5)
    whole = numbers(data.train_dataloader())
    first = data.train_dataloader()
    batches = iter(first)
    begun = numbers(next(batches) for _ in range(3))
    second = data.train_dataloader()
    second.load_state_dict(first.state_dict())
    assert begun + numbers(second) == whole


def test_broken_images_are_replaced(write: Write) -> None:
    """A broken image in a shard is one sample that its neighbour stands in for, and is named."""
    folder = write(4)
    members = [("a.png", png(1)), ("b.png", b"no image"), ("c.txt", b"no image at all"), ("d.png", png(4))]
    write_tar(folder / "001.tar", members)
    source = opened(folder)
    assert [int(source.train[index].max()) for index in range(4, 8)] == [1, 4, 4, 4]
    first, second = source.train.broken.items()
    assert first[0].endswith("001.tar, sample 1")
    assert "the sample holds no image" in second[1]


@pytest.mark.parametrize("name", ["../../etc/passwd.png", "/etc/passwd.png", "a/../../b.png", "..\\..\\b.png"])
def test_names_that_lead_out_are_refused(write: Write, name: str) -> None:
    """Nothing is unpacked here, but a shard that tries is none to trust."""
    folder = write(2)
    write_tar(folder / "001.tar", [("a.png", png(1)), (name, png(2))])
    with pytest.raises(DataError, match=r"001.tar holds .* a name that leads out of the archive"):
        opened(folder)


@pytest.mark.parametrize(
    ("length", "message"),
    [(100, "file could not be opened"), (3 * 1024, "no end mark"), (3 * 1024 + 5, "no end mark"), (3 * 1024 + 600, "")],
)
def test_shards_that_are_not_whole(write: Write, length: int, message: str) -> None:
    """What is no tar, or cut short anywhere, is told when the source is opened, not in the midst of an epoch."""
    folder = write(30)
    whole = (folder / "000.tar").read_bytes()
    (folder / "000.tar").write_bytes(whole[:length])
    with pytest.raises(DataError, match=f"cannot be read as a shard .*{message}"):
        opened(folder)


def test_a_shard_that_vanishes(write: Write) -> None:
    """When a shard cannot be had any more, that is an error: its samples are not thousands of broken images."""
    folder = write(4, 4)
    source = opened(folder)
    (folder / "001.tar").unlink()
    with pytest.raises(DataError, match=r"001.tar cannot be read any further .* had 4 samples"):
        source.train[7]


def test_a_shard_is_looked_through_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account of a shard is kept, until the file changes."""
    folder = write(4)
    url = str(folder / "000.tar")
    first = index_shard(url)
    monkeypatch.setattr("ssl_registry.data.sources.shards.index._headers", lambda url: iter(()))
    assert index_shard(url) == first
    os.utime(url, ns=(1, 1))
    assert index_shard(url).count == 0


def test_over_http(write: Write) -> None:
    """A web server's shards stream as a folder's do."""
    folder = write(4, 4)
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = server.stdout.readline().split("port ")[1].split()[0]
        source = open_source(f"http://127.0.0.1:{port}/{{000..001}}.tar", image_size=4)
        loader = training_loader(source.train, batch_size=4)
        assert sorted(flat(loader)) == list(range(8))
        with pytest.raises(DataError, match=r"none.tar cannot be read as a shard"):
            open_source(f"http://127.0.0.1:{port}/none.tar")
    finally:
        server.terminate()
        server.communicate()


def test_through_a_pipe(write: Write) -> None:
    """Any command that writes a shard to its output is one, such as `aws s3 cp`."""
    source = open_source(f"pipe:cat {write(4, 4)}/{{000..001}}.tar", image_size=4)
    assert [int(source.train[index].max()) for index in range(8)] == list(range(8))
    with pytest.raises(DataError, match=r"--data 'pipe:aws s3 cp s3://bucket/a.tar -'"):
        open_source("s3://bucket/a.tar")


def test_no_such_shard(tmp_path: Path) -> None:
    """A pattern that nothing fits says how shards are written."""
    with pytest.raises(DataError, match=r"there is no shard .*/none-000.tar'.*\{000..099\}"):
        open_source(str(tmp_path / "none-{000..001}.tar"))


def test_without_webdataset(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that installs it is told."""
    folder = write(2)
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ssl-registry\[webdataset\]'"):
        opened(folder)


def test_a_reader_in_another_process_opens_its_own(write: Write) -> None:
    """Streams are not shared over a fork or a pickle: two readers of one file offset would mix."""
    source = opened(write(8))
    assert int(source.train[0].max()) == 0
    batches = SSLDataModule(source, batch_size=2, num_workers=2).train_eval_dataloader()
    assert numbers(batches) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert np.array_equal(source.train[1], torch.full((1, 4, 4), 1))


def test_unlabelled_shards_are_trained_on(write: Write) -> None:
    """They have the label -1, and none of them is held out."""
    folder = write(6, 4, labeled=True)
    (folder / "000.tar").rename(folder / "train-0.tar")
    (folder / "001.tar").rename(folder / "unlabeled-0.tar")
    source = opened(folder)
    assert (len(source.train), len(source.test)) == (8, 2)
    assert sorted(source.train.labels.tolist()) == [-1, -1, -1, -1, 0, 0, 1, 1]
    assert "4 of them without a label" in source.decided


@pytest.mark.parametrize(("train", "test"), [("cifar_train", "cifar_val"), ("train/0", "test/0")])
def test_parts_by_folders_and_other_words(write: Write, tmp_path: Path, train: str, test: str) -> None:
    """As for every other kind of files."""
    folder = write(4, 3)
    for old, new in (("000", train), ("001", test)):
        (tmp_path / "in" / new).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{old}.tar").rename(tmp_path / "in" / f"{new}.tar")
    pattern = "*/*.tar" if "/" in train else "*.tar"
    source = open_source(str(tmp_path / "in" / pattern), image_size=4)
    assert (len(source.train), len(source.test)) == (4, 3)
    source = open_source(f"{tmp_path}/in/{train}.tar", image_size=4, test_data=f"{tmp_path}/in/{test}.tar")
    assert (len(source.train), len(source.test)) == (4, 3)


def test_several_images_of_one_name_are_told(write: Write) -> None:
    """By WebDataset's rule they are one sample; the line counts the images that vanish."""
    folder = write()
    members = [(f"photo{i}.v{j}.png", png(i)) for i in range(3) for j in range(4)]
    write_tar(folder / "000.tar", [*members, ("alone.txt", b"no image")])
    told = opened(folder).decided
    assert "'9 images beside the first of their sample' (names up to the first dot are one sample" in told
    assert "'1 samples' (without an image)" in told


def test_labels_in_capitals_and_gaps(write: Write) -> None:
    """`.CLS` is a label; one that is missing leaves the others."""
    folder = write()
    members = [("a.png", png(0)), ("a.CLS", b"cat"), ("b.png", png(1)), ("c.png", png(2)), ("c.cls", b"dog")]
    write_tar(folder / "000.tar", members)
    source = opened(folder, holdout=0)
    assert (source.classes, source.train.labels.tolist()) == (("cat", "dog"), [0, -1, 1])


def test_labels_of_an_address_are_not_remembered(write: Write) -> None:
    """Nothing would tell that they changed."""
    folder = write(2, labeled=True)
    url = f"pipe:cat {folder}/000.tar"
    assert index_shard(url).labels == ("0", "1")
    write_tar(folder / "000.tar", [("a.png", png(0)), ("a.cls", b"7")])
    assert index_shard(url).labels == ("7",)
