"""Which source a word opens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_registry.data import Source, open_source
from ssl_registry.data.samples import Samples
from ssl_registry.errors import DataError


def test_a_path_decides_by_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file holds arrays, a folder images, relative or below the home folder."""
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    (tmp_path / "CIFAR10").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "CIFAR10" / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_source("x.npy").modality == "table"
    assert open_source("~/x.npy").modality == "table"
    assert open_source("CIFAR10").name == "CIFAR10"  # the folder that is there, not the set of that name
    assert len(open_source("CIFAR10").train) == 1


def test_digits_are_the_built_in_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The word means the same everywhere; a folder of that name is written as a path."""
    (tmp_path / "digits").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "digits" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert len(open_source("digits").train) == 1300
    assert len(open_source("./digits").train) == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digit", "no data 'digit'.*Did you mean 'digits'"),
        ("cifar10", "no data 'cifar10'.*Did you mean 'CIFAR10'"),
        ("no/such/folder", "no file or folder 'no/such/folder' in /"),
        ("missing.npz", "no file or folder 'missing.npz'"),
        ("", "name is empty"),
        (" ", "name is empty"),
    ],
)
def test_unknown_words_are_answered_with_what_is_understood(spec: str, message: str) -> None:
    """The error says where all that can be opened is listed, and is short enough to be read."""
    with pytest.raises(DataError, match=message) as told:
        open_source(spec)
    assert "`ssl-registry train METHOD --help` lists all of it" in str(told.value)
    assert len(str(told.value)) < 320 + len(str(Path.cwd()))


def test_what_a_source_can_forbid() -> None:
    """Steps of a view of its modality; sizes and crops are the method's."""
    table = Samples(torch.zeros(2, 3))
    with pytest.raises(DataError, match=r"x forbids 'flip', which is no step of a view of tables. Steps: corruption"):
        Source("x", "table", (3,), table, forbids=("flip",))
    images = Samples(torch.zeros(2, 1, 4, 4))
    with pytest.raises(DataError, match=r"forbids 'flipp'.*Did you mean 'flip'"):
        Source("x", "image", (1, 4, 4), images, forbids=("flipp",))
    with pytest.raises(DataError, match="forbids 'crop_scale'"):
        Source("x", "image", (1, 4, 4), images, forbids=("crop_scale",))


def test_origins_are_imported_when_used() -> None:
    """Opening the package imports neither scikit-learn nor torchvision's sets."""
    code = (
        "import sys, ssl_registry.data.open, ssl_registry.data.sources.array_files; "
        "sys.exit('sklearn' in sys.modules or 'ssl_registry.data.sources.torchvision_sets' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
