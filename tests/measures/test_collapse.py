"""Effective rank and spread, against their definitions and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_registry.measures.collapse import effective_rank, feature_spread


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_rank_is_rankme(rows, columns, seed):
    """Equation 1 of the paper, in float64."""
    x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    values = np.linalg.svd(x.double().numpy(), compute_uv=False)
    share = values / values.sum()
    share = share[share > 0]
    assert float(effective_rank(x)) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-3)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rank_of_even_directions_is_their_number(rank):
    """Orthogonal rows of one length count one each."""
    assert float(effective_rank(torch.eye(16)[:rank])) == pytest.approx(rank, rel=1e-4)


def test_rank_of_zeros_is_zero():
    """A dead network is no NaN."""
    assert float(effective_rank(torch.zeros(4, 3))) == 0


def test_spread_of_directions_drawn_evenly_is_one():
    """Whatever their lengths."""
    x = torch.randn(4096, 64, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 4097)[:, None]
    assert float(feature_spread(x)) == pytest.approx(1, abs=0.01)


@given(st.floats(0.01, 100), st.integers(0, 99))
def test_spread_is_the_papers_standard_deviation(scale, seed):
    """The std of each dimension of z / |z|, root mean square over dimensions, times sqrt(D)."""
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(seed)) * scale + 1
    z = x / x.norm(dim=1, keepdim=True)
    expected = (z.std(dim=0, correction=0) ** 2).mean().sqrt() * 6**0.5
    assert float(feature_spread(x)) == pytest.approx(float(expected), rel=1e-3)


def test_spread_of_one_direction_is_zero():
    """Other lengths, the same direction."""
    assert float(feature_spread(torch.arange(1.0, 9.0)[:, None] * torch.ones(8, 5))) < 1e-3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rank_of_what_is_not_finite_is_nan(value):
    """The decomposition itself would not converge."""
    x = torch.eye(8)
    x[3, 2] = value
    assert effective_rank(x).isnan()
