"""Values of a table's features: what is kept of them, and what takes the place of chosen ones."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from ssl_registry.nn import Marginals


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def table(rows: int = 50) -> Tensor:
    """Each value tells its column and its row: 1.07 is column 1 of row 7."""
    return torch.arange(4.0) + torch.arange(rows).unsqueeze(1) / 100


def filled(rows: int = 50, size: int = 50) -> Marginals:
    marginals = Marginals(4, size)
    marginals.fill(table(rows)[torch.randperm(rows, generator=generator())])
    return marginals


def everything(x: Tensor) -> Tensor:
    return torch.ones_like(x, dtype=torch.bool)


def test_what_is_not_chosen_stays():
    """Bit for bit; and what is chosen is another value."""
    x = torch.randn(20, 4, generator=generator())
    chosen = torch.rand(20, 4, generator=generator(1)) < 0.5
    found = filled().corrupt(x, chosen, generator=generator())
    assert torch.equal(found != x, chosen)


def test_a_value_stays_in_its_column():
    """And each column has rows of its own: a corrupted row is no row of the table."""
    found = filled().corrupt(torch.zeros(200, 4), everything(torch.zeros(200, 4)), generator=generator())
    assert torch.equal(found.floor(), torch.arange(4.0).expand(200, 4))
    rows = (found - found.floor()).mul(100).round()
    assert (rows[:, 0] != rows[:, 1]).float().mean() > 0.9


def test_draws_are_those_of_the_marginal_distribution():
    """A value that nine of ten rows have is drawn nine times of ten; all values are drawn."""
    marginals = Marginals(1, 100)
    marginals.fill(torch.cat([torch.zeros(90, 1), torch.arange(1.0, 11).unsqueeze(1)]))
    x = torch.full((20_000, 1), -1.0)
    found = marginals.corrupt(x, everything(x), generator=generator())
    assert (found == 0).double().mean() == pytest.approx(0.9, abs=0.01)
    assert found.unique().tolist() == [*range(11)]


@pytest.mark.parametrize("size", [7, 50, 51, 1000])
def test_any_number_of_rows(size):
    """Fewer rows than values or more: the distribution is that of the rows, as near as so many values can be."""
    values = filled(50, size).values[:, 0].double()
    assert values.shape == (size,)
    assert torch.equal(values, values.sort().values)
    assert values.mean() == pytest.approx(0.245, abs=0.005)
    counts = values.unique(return_counts=True)[1]
    assert counts.max() - counts.min() <= 1
    assert len(counts) == min(size, 50)


def test_order_of_rows_is_not_kept():
    """Columns are sorted each for itself: which values made up a row is gone."""
    rows = torch.randn(30, 4, generator=generator())
    marginals = Marginals(4, 30)
    marginals.fill(rows)
    assert torch.equal(marginals.values, rows.sort(0).values)


def test_without_rows_features_are_standard_normal():
    """Quantiles of one and the same distribution, which 4096 values give to a few thousandths."""
    values = Marginals(4).values.double()
    assert values.mean().abs() < 1e-6
    assert values.std() == pytest.approx(1, abs=2e-3)
    assert (values < 1).double().mean() == pytest.approx(0.8413, abs=1e-3)
    assert torch.equal(values, values[:, :1].expand(-1, 4))


def test_checkpoint_holds_the_values():
    """A model that is read again draws the same."""
    marginals, again = filled(), Marginals(4, 50)
    again.load_state_dict(copy.deepcopy(marginals.state_dict()))
    x = torch.zeros(8, 4)
    found = [each.corrupt(x, everything(x), generator=generator()) for each in (marginals, again)]
    assert torch.equal(*found)


def test_filling_again_replaces():
    """Nothing of the former values is left."""
    marginals = filled()
    marginals.fill(torch.full((3, 4), 9.0))
    assert (marginals.values == 9).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtype_is_the_rows(dtype):
    """A batch in half precision stays in half precision, and double in double."""
    x = torch.zeros(3, 4, dtype=dtype)
    assert filled().corrupt(x, everything(x), generator=generator()).dtype == dtype


def test_wrong_shapes_are_refused():
    """In words that name the shapes."""
    with pytest.raises(ValueError, match="size=0"):
        Marginals(4, 0)
    with pytest.raises(ValueError, match=r"\[number, 4\] with at least one, not \[2, 3\]"):
        Marginals(4).fill(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"not \[0, 4\]"):
        Marginals(4).fill(torch.zeros(0, 4))
    with pytest.raises(ValueError, match=r"x \[2, 3\]"):
        Marginals(4).corrupt(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"chosen \[1, 4\]"):
        Marginals(4).corrupt(torch.zeros(2, 4), torch.ones(1, 4, dtype=torch.bool))
