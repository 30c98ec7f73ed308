"""What is not finite is found exactly, whatever the type, and nothing else is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ssl_registry.training.callbacks.finite import find_not_finite, not_finite_buffers, sums_of_samples

VALUES = [math.nan, math.inf, -math.inf]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def network(dtype=torch.float32):
    return nn.Sequential(nn.Linear(3, 300), nn.BatchNorm1d(300), nn.Linear(300, 2)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", ["0.weight", "1.running_var", "2.bias"])
def test_one_value_is_found(name, value, dtype):
    """In a parameter or a buffer, at its end; infinities of both signs do not cancel."""
    model = network(dtype)
    tensor = model.state_dict()[name]
    tensor.flatten()[-1] = value
    tensor.flatten()[0] = -value
    assert find_not_finite(model, []) == [name]


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_values_whose_sum_overflows_are_finite(dtype):
    """Each is looked at before it is called infinite."""
    model = network(dtype)
    with torch.no_grad():
        model[0].weight.fill_(torch.finfo(dtype).max)
    assert find_not_finite(model, []) == []


def test_state_of_the_optimizer_counts():
    """A square that overflowed while the weight did not."""
    layer = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(layer.parameters())
    layer.weight.grad, layer.bias.grad = torch.full((1, 2), 1e25), torch.ones(1)
    optimizer.step()
    assert layer.weight.isfinite().all()
    assert find_not_finite(layer, [optimizer]) == ["exp_avg_sq of weight"]


def test_buffers_that_are_meant_are_left_out():
    """Such as a mask of minus infinity."""
    layer = nn.Linear(2, 1)
    layer.register_buffer("mask", torch.full((2,), -math.inf))
    assert not_finite_buffers(layer) == {"mask"}
    assert find_not_finite(layer, [], not_finite_buffers(layer)) == []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", VALUES)
def test_samples_are_told_apart(value, dtype):
    """In any view; the others have finite sums."""
    views = [torch.ones(4, 3, 5, 5, dtype=dtype), torch.ones(4, 3, 2, 2, dtype=dtype)]
    views[1][2, 1, 0, 1] = value
    assert sums_of_samples(views).isfinite().tolist() == [True, True, False, True]


def test_integers_are_finite():
    """Nothing is computed of them."""
    assert sums_of_samples([torch.zeros(4, 3, 2, 2, dtype=torch.uint8)]) is None
