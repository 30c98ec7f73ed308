"""Networks computed together give the values and gradients that they give one by one."""

from __future__ import annotations

import copy

import pytest
import torch
from ssl_registry_lfr.stacked import apply_each
from torch import Tensor, nn

from ssl_registry.nn import MLP


class Odd(nn.Sequential):
    """A sequence that does more than its layers."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


MAKERS = {
    "linear": lambda: nn.Linear(5, 3),
    "no bias": lambda: nn.Linear(5, 3, bias=False),
    "two layers": lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)),
    "nested": lambda: nn.Sequential(nn.GELU(), nn.Sequential(nn.Linear(5, 4, bias=False), nn.Tanh()), nn.Linear(4, 3)),
    "in place": lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Linear(4, 3), nn.SiLU(inplace=True)),
}
OTHERS = {
    "norm": lambda: MLP(5, 4, 3),
    "dropout": lambda: nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.0)),
    "own forward": lambda: Odd(nn.Linear(5, 3)),
    "softmax": lambda: nn.Sequential(nn.Linear(5, 3), nn.Softmax(dim=0)),
}


def both(make, count=4):
    """Return networks, twins of them, and an input for each; in float64."""
    torch.manual_seed(0)
    modules = nn.ModuleList(make() for _ in range(count)).double()
    x = torch.randn(6, 5, dtype=torch.float64)
    return modules, copy.deepcopy(modules), x.clone().requires_grad_(), x.clone().requires_grad_()


def check(modules, twins, x, y):
    found = apply_each(modules, x)
    wanted = [twin(y) for twin in twins]
    weights = torch.randn(len(twins), *wanted[0].shape, dtype=torch.float64)
    sum((out * weight).sum() for out, weight in zip(found, weights, strict=True)).backward()
    sum((out * weight).sum() for out, weight in zip(wanted, weights, strict=True)).backward()
    torch.testing.assert_close(list(found), wanted)
    torch.testing.assert_close(x.grad, y.grad)
    for ours, theirs in zip(modules.parameters(), twins.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    return found


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_together_is_one_by_one(make):
    """Value, gradient of the input and of every weight, in float64."""
    found = check(*both(make))
    assert isinstance(found, Tensor)
    assert found.shape == (4, 6, 3)


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_what_cannot_be_stacked_is_called(make):
    """Layers that look at the batch, at the mode, or do more than they seem to, run as they are."""
    assert isinstance(check(*both(make)), list)


def test_networks_that_differ_are_called():
    """Other widths, other activations and missing biases are no common architecture."""
    for other in (
        nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)),
        nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3, bias=False)),
    ):
        modules, _, x, y = both(MAKERS["two layers"])
        modules.append(other.double())
        assert isinstance(check(modules, copy.deepcopy(modules), x, y), list)


def test_activations_with_other_arguments_differ():
    """A slope of 0.1 is not one of 0.2."""
    modules = [nn.Sequential(nn.Linear(5, 3), nn.LeakyReLU(slope)) for slope in (0.1, 0.2)]
    x = torch.randn(6, 5)
    torch.testing.assert_close(apply_each(modules, x), [module(x) for module in modules])


def test_wide_layers_are_called_on_a_cpu():
    """Their weights are not copied into a stack."""
    layers = [nn.Linear(512, 512) for _ in range(2)]
    x = torch.randn(2, 512)
    found = apply_each(layers, x)
    assert isinstance(found, list)
    torch.testing.assert_close(found, [layer(x) for layer in layers])


def test_hooks_are_called():
    """A network with a forward hook is not passed over."""
    modules, _, x, _ = both(MAKERS["linear"])
    seen = []
    modules[2].register_forward_hook(lambda *_: seen.append(1))
    apply_each(modules, x)
    assert seen == [1]


def test_frozen_networks_get_no_gradient():
    """Stacking asks for none where none is wanted."""
    modules, _, x, _ = both(MAKERS["two layers"])
    modules.requires_grad_(False)
    apply_each(modules, x).sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in modules.parameters())


def test_other_inputs_and_a_single_network_are_called():
    """Signals go through linear layers too; one network has nothing to be stacked with."""
    layers = [nn.Linear(5, 3) for _ in range(2)]
    signals = torch.randn(2, 4, 5)
    torch.testing.assert_close(apply_each(layers, signals), [layer(signals) for layer in layers])
    torch.testing.assert_close(apply_each(layers[:1], signals[0]), [layers[0](signals[0])])


def test_under_autocast():
    """The products run in half precision, as they do one by one."""
    modules, _, x, _ = both(MAKERS["two layers"])
    modules, x = modules.float(), x.detach().float()
    with torch.autocast("cpu", torch.bfloat16):
        found = apply_each(modules, x)
        wanted = torch.stack([module(x) for module in modules])
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=0.02, atol=0.02)
