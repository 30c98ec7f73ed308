"""Mean, std and standardising, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssl_registry.data import statistics
from ssl_registry.data.statistics import channel_statistics, standardized
from ssl_registry.errors import DataError

ARRAYS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=6),
    elements=st.floats(-1e4, 1e4, width=32),
)


@settings(deadline=None)
@given(ARRAYS)
def test_against_numpy(array: np.ndarray) -> None:
    """The same as NumPy's float64 mean and std over all axes but the second."""
    axes = tuple(axis for axis in range(array.ndim) if axis != 1)
    wide = array.astype(np.float64)
    mean, std = channel_statistics(torch.from_numpy(array))
    constant = wide.max(axes) == wide.min(axes)
    np.testing.assert_allclose(mean, wide.mean(axes), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(std, np.where(constant, 1.0, wide.std(axes)), rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(ARRAYS)
def test_standardised(array: np.ndarray) -> None:
    """Float32 numbers, each what float64 gives for it."""
    x = torch.from_numpy(array)
    mean, std = channel_statistics(x)
    shape = [1, -1] + [1] * (array.ndim - 2)
    expected = (array.astype(np.float64) - np.reshape(mean, shape)) / np.reshape(std, shape)
    out = standardized(x, mean, std)
    assert out.dtype == torch.float32
    np.testing.assert_array_equal(out.numpy(), expected.astype(np.float32))


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """An array larger than a chunk is measured whole."""
    x = torch.randint(0, 255, (50, 3, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = channel_statistics(x, scale=255.0)
    standard = standardized(x, *whole)
    monkeypatch.setattr(statistics, "CHUNK", 30)
    parts = channel_statistics(x, scale=255.0)
    np.testing.assert_allclose(np.array(parts), np.array(whole), rtol=1e-12)
    assert torch.equal(standardized(x, *whole), standard)


def test_constant_column_becomes_zeros() -> None:
    """0.1 has no exact mean; its rounding must not be blown up to a signal."""
    x = torch.full((1000, 1), 0.1, dtype=torch.float64)
    mean, std = channel_statistics(x)
    assert std == (1.0,)
    assert standardized(x, mean, std).abs().max() == 0


def test_overflow_is_told() -> None:
    """A variance beyond float64 is an error, not a column of zeros."""
    with pytest.raises(DataError, match="channel 1 reaches 1e\\+200"):
        channel_statistics(torch.tensor([[0.0, 1e200], [1.0, -1e200]], dtype=torch.float64))
