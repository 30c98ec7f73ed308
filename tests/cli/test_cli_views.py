"""``views`` draws what a training would see, and says what it cannot draw."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ssl_registry.cli import main
from ssl_registry.views.traces import INKS, WIDTH


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_images(capsys, folder):
    """A row for each sample: itself and two views, told with the engine; a change shows."""
    command = ["views", "simclr", "--rows", "3", "--out"]
    assert main([*command, "a.png"]) == 0
    out = capsys.readouterr().out
    assert "3 samples of digits and 2 view(s) of each: a.png" in out
    assert "views: host engine" in out
    assert "the source of the samples forbids flip: left out of the views" in out
    assert main([*command, "b.png", "--views.1.blur", "0", "--views.1.brightness=0", "--views.1.contrast", "0"]) == 0
    first, second = (np.asarray(Image.open(folder / name)) for name in ("a.png", "b.png"))
    assert first.shape == second.shape
    assert (first[:20] < 200).any(), "columns have titles"
    third = first.shape[1] * 2 // 3
    assert np.array_equal(first[:, :third], second[:, :third])
    assert not np.array_equal(first[:, third:], second[:, third:])


def test_photographs_by_the_host(capsys, folder):
    """A folder's photographs are drawn as its workers draw them."""
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")
    assert main(["views", "byol", "--data", ".", "--image-size", "32", "--rows", "2"]) == 0
    assert "views: host engine" in capsys.readouterr().out
    assert (folder / "views.png").exists()


def test_an_earlier_picture_stays(capsys, folder):
    """Without a name the next number is taken and told; a name that is given is written over."""
    for name in ("views.png", "views-2.png", "views-3.png"):
        assert main(["views", "simclr", "--data", "digits", "--rows", "1"]) == 0
        assert capsys.readouterr().out.rstrip().endswith(f" of each: {name}")
    before = (folder / "views-2.png").read_bytes()
    (folder / "views.png").write_bytes(b"")
    assert main(["views", "simclr", "--data", "digits", "--rows", "1", "--out", "views.png"]) == 0
    assert (folder / "views.png").read_bytes() == before
    assert len(list(folder.glob("views*.png"))) == 3


def test_signals(folder):
    """Traces, a band for each channel, on axes; two views beside each sample."""
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(6, 3, 40)).astype(np.float32))
    assert main(["views", "simclr", "--data", "x.npy", "--modality", "signal", "--out", "s.png"]) == 0
    pixels = np.asarray(Image.open(folder / "s.png"))
    assert all((pixels == ink).all(-1).any() for ink in INKS[:3])
    assert pixels.shape[1] > 3 * WIDTH


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "nothing"),
        (["simclr", "--rows", "0"], "--rows 0 must be at least 1"),
        (["simclr", "--out", "views.txt"], "must be a picture"),
        (["simclr", "--views.blurr", "1"], "Did you mean 'blur'"),
        (["simclr", "--views.first.blur", "1"], "fields of one view are --views.NUMBER.FIELD"),
        (["simclr", "--data", "t.npy"], "is a table: there is nothing to look at"),
    ],
)
def test_mistakes(words, message, folder, capsys):
    """One line, exit code 2."""
    np.save(folder / "t.npy", np.zeros((6, 4), np.float32) + np.arange(4, dtype=np.float32))
    assert main(["views", *words]) == 2
    assert message in capsys.readouterr().err
