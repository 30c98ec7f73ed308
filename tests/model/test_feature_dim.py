"""The width of a backbone: found from shapes alone where that can be, the same as with numbers, and without a trace."""

from __future__ import annotations

from functools import partial

import pytest
import timm
import torch
from torch import nn

from ssl_registry.errors import BackboneError
from ssl_registry.model import feature_dim
from ssl_registry.model.feature_dim import measure


class Remembers(nn.Module):
    """Keeps what its first forward computed, as position codes and masks are kept."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.codes = None

    def forward(self, x):
        if self.codes is None:
            self.codes = torch.arange(4.0, device=x.device)
        return x * self.scale + self.codes


class Branches(nn.Module):
    """Is of different width for different numbers."""

    def forward(self, x):
        return x[:, :2] if x.abs().max() > 1e6 else x[:, :3]


class Grows(nn.Module):
    """Makes its layer when it sees the first input."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList()

    def forward(self, x):
        if not self.layers:
            self.layers.append(nn.Linear(x.shape[1], 5).to(x.device))
        return self.layers[0](x)


@pytest.fixture
def with_numbers(monkeypatch):
    """Record which modules were run with numbers."""
    seen = []
    real = feature_dim._with_numbers
    monkeypatch.setattr(feature_dim, "_with_numbers", lambda module, *rest: seen.append(module) or real(module, *rest))
    return seen


@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", 64), ("vit_tiny_patch16_224", 224), ("convnext_atto", 64), ("efficientnet_b0", 64)]
)
def test_networks_of_timm_are_measured_without_numbers(name, size, with_numbers):
    """And what is found is what a forward gives."""
    module = timm.create_model(name, num_classes=0)
    _, width = measure(module, (3, size, size), "avg")
    assert with_numbers == []
    features = partial(feature_dim._features, pooling="avg")
    assert feature_dim._with_numbers(module, (3, size, size), features) == (False, (2, width))


def test_dense_networks_are_measured_without_numbers(with_numbers):
    """The wrapper holds the module itself, not the copy that was measured."""
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6))
    wrapped, width = measure(module, (3, 8, 8), "flatten")
    assert with_numbers == []
    assert wrapped.module is module
    assert wrapped(torch.zeros(2, 3, 8, 8)).shape == (2, width) == (2, 6 * 36)


def test_memory_of_a_forward_stays_out_of_the_module():
    """What a network keeps from measuring must not be a tensor without numbers."""
    module = Remembers()
    assert measure(module, (4,), "avg")[1] == 4
    torch.testing.assert_close(module(torch.zeros(1, 4)), torch.arange(4.0)[None])


@pytest.mark.parametrize(("module", "width"), [(Branches(), 3), (nn.LazyLinear(5), 5), (Grows(), 5)])
def test_what_needs_numbers_gets_them(module, width, with_numbers):
    """A branch on a value, and parameters that the first forward makes: those of the module itself, ready to train."""
    assert measure(module, (4,), "avg")[1] == width
    assert with_numbers == [module]
    assert all(p.device.type == "cpu" for p in module.parameters())
    assert module(torch.ones(1, 4)).shape == (1, width)


def test_norms_of_wrong_width_are_told():
    """Taking a norm for the identity does not hide that it does not fit."""
    with pytest.raises(BackboneError, match="does not take samples"):
        measure(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(7)), (3, 8, 8), "avg")


def test_no_trace_is_left():
    """Parameters, modes, statistics and random numbers are as before."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten())
    module[2].eval()
    before, state = {key: value.clone() for key, value in module.state_dict().items()}, torch.get_rng_state()
    parameters = list(module.parameters())
    measure(module, (3, 8, 8), "avg")
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in module] == [True, True, False, True]
    assert all(a is b for a, b in zip(parameters, module.parameters(), strict=True))
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
