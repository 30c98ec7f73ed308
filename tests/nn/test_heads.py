"""Heads have the layers that they promise, at every width."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from ssl_registry.nn import MLP, bottleneck_mlp


def kinds(head: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in head]


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({"num_layers": 1}, ["Linear"]),
        ({"num_layers": 3}, ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]),
        ({"batch_norm": False}, ["Linear", "ReLU", "Linear"]),
        ({"final_batch_norm": True, "final_affine": False}, ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]),
        ({"final_batch_norm": True}, ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]),
    ],
)
def test_layers(options, layers):
    """Depth and normalisation are as asked, and the output has its width."""
    head = MLP(5, 7, 3, **options)
    assert kinds(head) == layers
    assert head(torch.randn(4, 5)).shape == (4, 3)


@pytest.mark.parametrize(
    ("options", "last"),
    [
        ({}, True),
        ({"final_batch_norm": True}, False),
        ({"final_bias": False}, False),
        ({"final_batch_norm": True, "final_bias": True}, True),
    ],
)
def test_final_bias(options, last):
    """The last bias is left out in front of a BatchNorm, unless the caller says otherwise."""
    linears = [layer for layer in MLP(5, 7, 3, **options) if isinstance(layer, nn.Linear)]
    assert (linears[-1].bias is not None) == last


def test_hidden_bias_without_batch_norm():
    """Without normalisation every layer has a bias; in front of one it would be subtracted again."""
    assert MLP(5, 7, 3)[0].bias is None
    assert all(layer.bias is not None for layer in MLP(5, 7, 3, batch_norm=False) if isinstance(layer, nn.Linear))


@pytest.mark.parametrize("name", ["in_dim", "hidden_dim", "out_dim", "num_layers"])
def test_empty_sizes_are_refused(name):
    """A size of zero is named."""
    with pytest.raises(ValueError, match=f"{name}=0"):
        MLP(**{"in_dim": 5, "hidden_dim": 7, "out_dim": 3, name: 0})


def test_slices_are_sequential():
    """A part of a head is a plain nn.Sequential with the same layers, and an index is a layer."""
    head = MLP(5, 7, 3)
    part = head[:-1]
    assert type(part) is nn.Sequential
    assert list(part) == [head[0], head[1], head[2]]
    assert list(part.state_dict()) == [key for key in head.state_dict() if not key.startswith("3.")]


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_compute_the_same(remake):
    """A head survives copying and pickling."""
    head = MLP(5, 7, 3).eval()
    x = torch.randn(4, 5)
    assert torch.equal(remake(head)(x), head(x))


@pytest.mark.parametrize("affine", [True, False])
def test_norm_of_the_output_may_learn_nothing(affine):
    """Its own scale and shift are an option; those of hidden layers stay."""
    head = MLP(4, 8, 2, final_batch_norm=True, final_affine=affine)
    assert [layer.affine for layer in head if isinstance(layer, nn.BatchNorm1d)] == [True, affine]


@pytest.mark.parametrize(("batch_norm", "between"), [(False, ["GELU"]), (True, ["BatchNorm1d", "GELU"])])
def test_bottleneck_mlp_is_dinos(batch_norm, between):
    """Linear layers with GELU between, drawn from a normal distribution of 0.02, biases at 0."""
    torch.manual_seed(0)
    head = bottleneck_mlp(64, 256, 32, batch_norm=batch_norm)
    assert [type(part).__name__ for part in head] == ["Linear", *between, "Linear", *between, "Linear"]
    assert head[0].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert head[0].bias.count_nonzero() == 0
    assert head(torch.zeros(2, 64)).shape == (2, 32)


@pytest.mark.parametrize("wrong", [{"out_dim": 0}, {"num_layers": 0}])
def test_bottleneck_mlp_of_no_width_is_refused(wrong):
    """In words that name the argument."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=0"):
        bottleneck_mlp(**{"in_dim": 4, "hidden_dim": 4, "out_dim": 4} | wrong)
