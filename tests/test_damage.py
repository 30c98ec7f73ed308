"""Files that were damaged anywhere are read as they were written, or refused in one line; caches are made anew."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

from ssl_registry import registry
from ssl_registry.checkpoint.io import AtomicCheckpointIO
from ssl_registry.checkpoint.record import RECORD_KEY
from ssl_registry.checkpoint.weights import load_backbone_weights
from ssl_registry.data import open_source
from ssl_registry.data.images.cache import cache_source
from ssl_registry.data.options import DataOptions
from ssl_registry.errors import CheckpointError, SSLRegistryError
from ssl_registry.workflows.evaluate.features_cache import cached
from ssl_registry.workflows.report.facts import read_facts


def few_or_all(few: int, every: int) -> Any:
    """Seeds of a test: a few by default, all of them among the slow ones."""
    return pytest.mark.parametrize(
        "seed", [*range(few), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(few, every))]
    )


def flipped(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice([1, 1, 5, 50])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def zeroed(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    end = min(len(data), start + draw.choice([1, 16, 4096]))
    data[start:end] = bytes(end - start)


def cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def shifted(data: bytearray, draw: random.Random) -> None:
    data.insert(draw.randrange(len(data)), draw.randrange(256))


def swapped(data: bytearray, draw: random.Random) -> None:
    size = max(1, len(data) // 8)
    first, second = draw.randrange(len(data) - size), draw.randrange(len(data) - size)
    data[first : first + size] = data[second : second + size]


DAMAGES: list[Callable[[bytearray, random.Random], None]] = [flipped, flipped, zeroed, cut, shifted, swapped]


def damage(path: Path, seed: int) -> None:
    """Change a file in one of the ways that disks, transfers and people do."""
    draw = random.Random(seed)
    data = bytearray(path.read_bytes())
    # The ends are headers and directories: half of the damage goes there.
    if draw.random() < 0.5 and len(data) > 4096:
        edge = draw.choice([slice(0, 2048), slice(len(data) - 2048, len(data))])
        part = data[edge]
        draw.choice(DAMAGES)(part, draw)
        data[edge] = part
    else:
        draw.choice(DAMAGES)(data, draw)
    path.write_bytes(data)


def one_line(error: BaseException) -> None:
    assert len(str(error).splitlines()) == 1
    assert len(str(error)) < 2000


@pytest.fixture(scope="module")
def checkpoint(_trained: Path) -> tuple[Path, dict[str, Tensor]]:
    """A run's checkpoint, and the weights in it."""
    path = _trained / "checkpoints" / "last.ckpt"
    return path, torch.load(path, weights_only=True)["state_dict"]


@few_or_all(20, 300)
def test_damaged_checkpoints(checkpoint: tuple[Path, dict[str, Tensor]], tmp_path: Path, seed: int) -> None:
    """Three hundred kinds of damage: the weights that were written, or one line, whoever reads."""
    source, weights = checkpoint
    path = Path(shutil.copy(source, tmp_path / "x.ckpt"))
    damage(path, seed)
    try:
        found = AtomicCheckpointIO().load_checkpoint(path)["state_dict"]
    except CheckpointError as error:
        one_line(error)
        with pytest.raises(CheckpointError):
            load_backbone_weights(path)
        return
    assert found.keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in found.items())
    assert registry.load(path).info.name == "simclr"


VALUES: list[Any] = [
    None, True, -1, 0, 2**40, 2**63, 10**30, 1e300, float("nan"), "", "x" * 5000, "../x", "a\x1b[2J", b"bytes",
    [], [[[]]], {}, {"a": {"b": None}}, [None] * 100, {1: 2}, (1, "2"), torch.zeros(2),
]  # fmt: skip


def tamper(value: Any, draw: random.Random, depth: int = 0) -> Any:
    """Put something else into the place of one value anywhere in a tree."""
    if isinstance(value, dict) and value and (depth == 0 or draw.random() < 0.7):
        key = draw.choice(list(value))
        kind = draw.random()
        if kind < 0.1:
            return {name: entry for name, entry in value.items() if name != key}
        if kind < 0.2:
            return {**value, draw.choice(["extra", 3, ""]): draw.choice(VALUES)}
        return {**value, key: tamper(value[key], draw, depth + 1)}
    if isinstance(value, list) and value and draw.random() < 0.7:
        place = draw.randrange(len(value))
        return [*value[:place], tamper(value[place], draw, depth + 1), *value[place + 1 :]]
    return draw.choice(VALUES)


@few_or_all(10, 50)
def test_tampered_records(checkpoint: tuple[Path, dict[str, Tensor]], tmp_path: Path, seed: int) -> None:
    """Another value anywhere in the record, or beside it: a model, or one line."""
    draw = random.Random(seed)
    content = torch.load(checkpoint[0], weights_only=True)
    part = draw.choice([RECORD_KEY, RECORD_KEY, "state_dict"])
    content[part] = tamper(content[part], draw)
    torch.save(content, tmp_path / "x.ckpt")
    try:
        registry.load(tmp_path / "x.ckpt")
    except SSLRegistryError as error:
        one_line(error)


@few_or_all(6, 40)
def test_tampered_files_of_a_run(run: Path, seed: int) -> None:
    """Values of other types in the configuration, the results and what tells of their origin: a run, or one line."""
    draw = random.Random(seed)
    path = run / draw.choice(["config.yaml", "origins.json", "results.json"])
    content = tamper(yaml.safe_load(path.read_text()), draw)
    try:
        path.write_text(yaml.safe_dump(content) if path.suffix == ".yaml" else json.dumps(content))
    except (yaml.YAMLError, TypeError):  # bytes and tensors are in none of these files
        path.write_text("[[[[")
    try:
        facts = read_facts(run)
    except SSLRegistryError as error:
        one_line(error)
        return
    assert isinstance(facts.options, dict)


@few_or_all(5, 25)
def test_damaged_features(tmp_path: Path, seed: int) -> None:
    """Features that were damaged on the disk are computed again: what comes out is what was put in."""
    features = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40)
    for _ in range(2):
        cached(tmp_path, "key", lambda: (features, labels))
        damage(tmp_path / "key.safetensors", seed)
    found = cached(tmp_path, "key", lambda: (features, labels))
    assert torch.equal(found[0], features)
    assert torch.equal(found[1], labels)


@few_or_all(5, 25)
def test_damaged_images(tmp_path: Path, seed: int) -> None:
    """A cache of images with other bytes than were written, in whatever file, gives the source's own images."""
    draw = random.Random(seed)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(100):
            pixels = np.random.default_rng(number).integers(0, 255, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    plain = open_source(str(tmp_path / "photos"), DataOptions(image_size=6))
    place = cache_source(plain, tmp_path / "cache").train.place
    path = draw.choice(sorted(place.iterdir()))
    damage(path, seed)
    again = cache_source(open_source(str(tmp_path / "photos"), DataOptions(image_size=6)), tmp_path / "cache")
    assert again.train.place == place
    for (image, label), (same, its) in zip(plain.train, again.train, strict=True):
        assert torch.equal(image, same)
        assert label == its
