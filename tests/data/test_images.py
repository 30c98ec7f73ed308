"""Image files and images in memory become uint8 squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_registry.data.images import decode as decoding
from ssl_registry.data.images.decode import decode, resize, to_tensor
from ssl_registry.data.images.pixels import Pixels, pixels_of

PIXELS = np.random.default_rng(0).integers(0, 255, (6, 6, 3), dtype=np.uint8)


def test_pixels_of_the_wanted_size_are_untouched(tmp_path: Path) -> None:
    """A lossless file of the right size comes out as it went in."""
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    found = decode((tmp_path / "a.png").read_bytes(), size=6, pixels=Pixels(3))
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    assert np.array_equal(found.permute(1, 2, 0).numpy(), PIXELS)


def test_centred_square_is_kept() -> None:
    """Of a wide image the sides are cut off, alike left and right."""
    wide = np.zeros((4, 10, 3), np.uint8)
    wide[:, 2:8] = 200  # the square, and what an antialiased resize sees around it
    assert to_tensor(Image.fromarray(wide), size=2, channels=3).unique().tolist() == [200]
    batch = torch.from_numpy(wide).permute(2, 0, 1)[None]
    assert resize(batch, 2).unique().tolist() == [200]


def test_memory_and_files_agree() -> None:
    """Both resizes are the same antialiased one, to a rounding."""
    smooth = np.linspace(0, 255, 40 * 40 * 3).reshape(40, 40, 3).astype(np.uint8)
    from_file = to_tensor(Image.fromarray(smooth), size=9, channels=3)
    in_memory = resize(torch.from_numpy(smooth).permute(2, 0, 1)[None], 9)[0]
    assert (from_file.int() - in_memory.int()).abs().max() <= 1


def test_large_jpeg_is_decoded_small_and_right(tmp_path: Path) -> None:
    """The decoder's own shrinking changes speed, not the picture."""
    smooth = np.linspace(0, 255, 400 * 400 * 3).reshape(400, 400, 3).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as whole:
        expected = to_tensor(whole, size=20, channels=3)
    assert (
        decode((tmp_path / "a.jpg").read_bytes(), size=20, pixels=Pixels(3)).int() - expected.int()
    ).abs().max() <= 3


def test_camera_turn_is_undone(tmp_path: Path) -> None:
    """A photo that says it lies on its side is put upright."""
    image = Image.fromarray(PIXELS)
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    image.save(tmp_path / "a.png", exif=exif)
    found = decode((tmp_path / "a.png").read_bytes(), size=6, pixels=Pixels(3))
    assert np.array_equal(found.permute(1, 2, 0).numpy(), np.rot90(PIXELS, -1))


def test_16_bit_grey_is_scaled(tmp_path: Path) -> None:
    """Depths beyond 8 bits are scaled, not cut off."""
    deep = np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert pixels_of((tmp_path / "a.png").read_bytes()) == Pixels(1, 16)
    assert decode((tmp_path / "a.png").read_bytes(), size=2, pixels=Pixels(1)).flatten().tolist() == [0, 100, 200, 255]


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)])
def test_modes(mode: str, channels: int, tmp_path: Path) -> None:
    """Every mode is read as grey or as RGB."""
    Image.fromarray(PIXELS).convert(mode).save(tmp_path / "a.png")
    assert pixels_of((tmp_path / "a.png").read_bytes()) == Pixels(channels)
    for wanted in (1, 3):
        assert decode((tmp_path / "a.png").read_bytes(), size=6, pixels=Pixels(wanted)).shape == (wanted, 6, 6)


def test_transparent_palette_is_read_without_a_warning(tmp_path: Path) -> None:
    """Pillow warns of palettes with transparency in bytes unless they are widened first."""
    image = Image.fromarray(PIXELS).convert("P")
    image.save(tmp_path / "a.png", transparency=bytes(range(256)))
    assert decode((tmp_path / "a.png").read_bytes(), size=6, pixels=Pixels(3)).shape == (3, 6, 6)


@pytest.mark.parametrize("antialias", [True, False])
def test_chunks_make_no_difference(antialias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """More images than a chunk holds are resized alike."""
    batch = torch.randint(0, 255, (7, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = resize(batch, 5, antialias=antialias)
    monkeypatch.setattr(decoding, "CHUNK", 3)
    assert torch.equal(resize(batch, 5, antialias=antialias), whole)


def test_float_images_stay_in_range() -> None:
    """A resize of [0, 1] stays in [0, 1] and float32."""
    batch = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)).round()
    for size in (5, 13):
        out = resize(batch, size)
        assert out.dtype == torch.float32
        assert 0 <= float(out.min()) <= float(out.max()) <= 1
