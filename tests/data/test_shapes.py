"""Which array is what, and the layout that it gets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_registry.data.arrays.shapes import arrange
from ssl_registry.errors import DataError


@pytest.mark.parametrize(
    ("shape", "dtype", "modality", "expected"),
    [
        ((4, 7), "float32", "table", (4, 7)),
        ((4, 7), "int64", "table", (4, 7)),
        ((4, 3, 9), "float32", "signal", (4, 3, 9)),
        ((4, 3, 9), "float64", "signal", (4, 3, 9)),
        ((4, 8, 9), "uint8", "image", (4, 1, 8, 9)),
        ((4, 8, 9), "bool", "image", (4, 1, 8, 9)),
        ((4, 3, 8, 9), "uint8", "image", (4, 3, 8, 9)),
        ((4, 8, 9, 3), "uint8", "image", (4, 3, 8, 9)),
        ((4, 8, 9, 1), "float32", "image", (4, 1, 8, 9)),
        ((4, 3, 3, 3), "uint8", "image", (4, 3, 3, 3)),
        ((4, 13, 64, 64), "float32", "image", (4, 13, 64, 64)),
        ((4, 64, 64, 13), "float32", "image", (4, 13, 64, 64)),
    ],
)
def test_shape_and_type_tell(shape: tuple[int, ...], dtype: str, modality: str, expected: tuple[int, ...]) -> None:
    """Tables, signals and images, in the one layout that the project uses."""
    found, x, _ = arrange(np.zeros(shape, dtype), modality=None, where="f: X")
    assert (found, tuple(x.shape)) == (modality, expected)


@pytest.mark.parametrize(
    ("shape", "dtype", "modality", "expected"),
    [
        ((4, 3, 9), "float32", "image", (4, 1, 3, 9)),
        ((4, 3, 9), "int16", "signal", (4, 3, 9)),
        ((4, 9), "float32", "signal", (4, 1, 9)),
        ((4, 3, 9), "float32", "table", (4, 27)),
    ],
)
def test_kind_overrides(shape: tuple[int, ...], dtype: str, modality: str, expected: tuple[int, ...]) -> None:
    """What the user says wins over what the shape suggests."""
    found, x, _ = arrange(np.zeros(shape, dtype), modality=modality, where="f: X")
    assert (found, tuple(x.shape)) == (modality, expected)


def test_pixels_stay_where_they_are() -> None:
    """Channels move to the front, pixels do not."""
    images = np.arange(2 * 6 * 5 * 3, dtype=np.uint8).reshape(2, 6, 5, 3)
    _, x, notes = arrange(images, modality=None, where="f: X")
    assert torch.equal(x, torch.from_numpy(images).permute(0, 3, 1, 2))
    assert notes == ["read as [N, height, width, channels]"]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((1, 2, 2, 1), 200, np.int64), torch.uint8),
        (np.full((1, 2, 2, 1), 0.5, np.float64), torch.float32),
        (np.full((1, 2, 2, 1), 0.5, np.float16), torch.float32),
        (np.full((1, 2, 2, 1), 200, np.uint8), torch.uint8),
    ],
)
def test_image_types(array: np.ndarray, expected: torch.dtype) -> None:
    """Images are uint8, or float32 in [0, 1]."""
    _, x, _ = arrange(array, modality=None, where="f: X")
    assert x.dtype == expected
    assert float(x.float().max()) == float(array.max())


def test_black_and_white_is_0_and_255() -> None:
    """A boolean image spans the whole range."""
    _, x, _ = arrange(np.array([[[True, False]]]), modality=None, where="f: X")
    assert x.flatten().tolist() == [255, 0]


def test_foreign_byte_order_is_read() -> None:
    """Arrays of another machine's byte order keep their values."""
    _, x, _ = arrange(np.array([[1.5, 2.5]], ">f4"), modality=None, where="f: X")
    assert x.tolist() == [[1.5, 2.5]]
    _, x, _ = arrange(np.array([[1, 2]], ">i4"), modality=None, where="f: X")
    assert x.tolist() == [[1, 2]]


def test_read_only_arrays_are_copied() -> None:
    """A tensor never shares memory that may not be written."""
    array = np.zeros((2, 3), np.float32)
    array.flags.writeable = False
    _, x, _ = arrange(array, modality=None, where="f: X")
    x += 1
    assert array.max() == 0


def nan() -> np.ndarray:
    array = np.zeros((5, 2))
    array[3, 1] = np.nan
    array[4, 0] = np.inf
    return array


@pytest.mark.parametrize(
    ("array", "modality", "message"),
    [
        (np.zeros(3), None, r"has shape \(3,\); expected \[N, D\]"),
        (np.zeros((2, 1, 1, 1, 1)), None, r"has shape \(2, 1, 1, 1, 1\); expected"),
        (np.zeros((0, 3)), None, "is empty"),
        (np.zeros((3, 0)), None, "is empty"),
        (np.array([["a"]]), None, "has dtype <U1; expected numbers"),
        (np.zeros((2, 2), complex), None, "has dtype complex128; expected numbers"),
        (np.zeros((2, 3, 4), np.int16), None, "can be signals or grey images"),
        (nan(), None, "holds 2 NaN or infinite values, the first in sample 3"),
        (np.full((1, 1, 2, 2), 2.0), None, r"float images from 2 to 2; expected \[0, 1\]"),
        (np.full((1, 1, 2, 2), -1), None, "int64 images from -1 to -1"),
        (np.full((1, 1, 2, 2), 300), None, "int64 images from 300 to 300; expected uint8"),
        (np.zeros((1, 8, 8, 8)), None, "no axis looks like channels"),
        (np.zeros((2, 3)), "image", r"images are \[N, H, W\]"),
        (np.zeros((2, 3, 4, 5)), "signal", r"signals are \[N, C, T\]"),
    ],
)
def test_what_fits_nothing_is_told(array: np.ndarray, modality: str | None, message: str) -> None:
    """The error names the place, what is there and what was expected."""
    with pytest.raises(DataError, match=f"f: X.*{message}"):
        arrange(array, modality=modality, where="f: X")


def test_large_finite_numbers_are_finite() -> None:
    """A sum that overflows is no infinity in the data."""
    _, x, _ = arrange(np.full((4, 2), 1e308), modality=None, where="f: X")
    assert x.shape == (4, 2)
