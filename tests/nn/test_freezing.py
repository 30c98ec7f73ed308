"""Freezing gives back exactly what it took, and a frozen list stays frozen."""

from __future__ import annotations

import copy
import pickle
from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ssl_registry.nn import FrozenModuleList, evaluating, freeze


def network() -> nn.Sequential:
    return nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), nn.BatchNorm1d(2), nn.Linear(2, 2, bias=False))


def flags(module: nn.Module) -> tuple[dict[str, bool], dict[str, bool]]:
    grads = {name: p.requires_grad for name, p in module.named_parameters(remove_duplicate=False)}
    return grads, {name: part.training for name, part in module.named_modules()}


def is_frozen(module: nn.Module) -> bool:
    return not any(value for found in flags(module) for value in found.values())


def test_freeze_turns_off_gradients_and_train_mode():
    """Every parameter and submodule is frozen, parameters and buffers keep their values."""
    model = network()
    before = copy.deepcopy(model.state_dict())
    freeze(model)
    assert is_frozen(model)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.data())
def test_any_overlap_in_any_order_comes_back(data):
    """Whatever the user's own flags, and however freezes nest, repeat and end, the flags return."""
    model = network()
    for parameter in model.parameters():
        parameter.requires_grad = data.draw(st.booleans())
    parts = list(model.modules())
    for part in parts:
        part.training = data.draw(st.booleans())
    found = flags(model)
    wholes = data.draw(st.lists(st.sampled_from(range(len(parts))), min_size=1, max_size=5))
    held = [(parts[index], freeze(parts[index])) for index in wholes]
    held = data.draw(st.permutations(held))
    while held:
        assert all(is_frozen(part) for part, _ in held)
        held.pop()[1].restore()
    assert flags(model) == found


def test_what_the_user_froze_stays_frozen():
    """Restoring does not turn on a gradient that was off before."""
    model = network()
    model[0][0].weight.requires_grad = False
    model[1].eval()
    freeze(model).restore()
    assert not model[0][0].weight.requires_grad
    assert not model[1].training
    assert model[0][0].bias.requires_grad
    assert model.training


def test_restore_twice_does_nothing_more():
    """A token gives back once; what the user changed since then stays."""
    model = network()
    token = freeze(model)
    token.restore()
    model.eval().requires_grad_(False)
    token.restore()
    assert is_frozen(model)


def test_flags_changed_while_frozen_are_undone():
    """`.train()` in between does not survive in what was found in eval mode."""
    model = network()
    model[1].eval()
    token = freeze(model)
    model.train().requires_grad_(True)
    token.restore()
    assert not model[1].training


def test_freeze_in_a_with_block():
    """The token restores when the block is left, also by an error."""
    model = network()
    found = flags(model)
    with suppress(ZeroDivisionError), freeze(model):
        assert is_frozen(model)
        raise ZeroDivisionError
    assert flags(model) == found


def test_shared_parameter_comes_back():
    """A weight of two submodules that are frozen one after the other is found twice and given back."""
    model = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    model[1].weight = model[0].weight
    for order in ((0, 1), (1, 0)):
        tokens = [freeze(model[0]), freeze(model[1])]
        for place in order:
            tokens[place].restore()
        assert all(p.requires_grad for p in model.parameters())


def test_replaced_parameters_come_back():
    """Loading with assign=True while frozen makes new parameters; they train again afterwards."""
    model = network()
    token = freeze(model)
    model.load_state_dict(network().state_dict(), assign=True)
    token.restore()
    assert all(p.requires_grad for p in model.parameters())


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = network()
        self.part[1].eval()
        self.token = freeze(self.part)


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_token_is_copied_with_its_module(remake):
    """The copy's token restores the copy, and the original's the original."""
    model = Model()
    twin = remake(model)
    twin.token.restore()
    assert all(p.requires_grad for p in twin.part.parameters())
    assert twin.part.training
    assert not twin.part[1].training
    assert is_frozen(model.part)
    model.token.restore()
    assert all(p.requires_grad for p in model.part.parameters())


def test_copy_of_a_frozen_module_is_its_own():
    """Without its token a copy is a module whose gradients are off, for the user to turn on."""
    model = network()
    freeze(model)
    twin = copy.deepcopy(model)
    freeze(twin).restore()
    assert is_frozen(twin)


def test_evaluating_restores_each_mode():
    """Modes come back one by one, and gradients are not touched."""
    model = network()
    model[1].eval()
    model[0][0].weight.requires_grad = False
    found = flags(model)
    with suppress(ZeroDivisionError), evaluating(model):
        assert not any(flags(model)[1].values())
        assert flags(model)[0] == found[0]
        raise ZeroDivisionError
    assert flags(model) == found


def frozen_list() -> FrozenModuleList:
    return FrozenModuleList(network() for _ in range(3))


def test_frozen_list_is_frozen_from_the_start():
    """Construction turns gradients and train mode off, from a list as from a generator."""
    assert is_frozen(frozen_list())
    assert is_frozen(FrozenModuleList([network()]))
    assert is_frozen(FrozenModuleList())


def test_frozen_list_stays_in_eval_mode():
    """Neither its own nor its parent's `.train()` reaches the modules."""
    parent = nn.ModuleDict({"projectors": frozen_list(), "predictor": nn.Linear(2, 2)})
    parent.train()
    assert is_frozen(parent["projectors"])
    parent["projectors"].train(True)
    assert is_frozen(parent["projectors"])
    assert parent["predictor"].training


def test_frozen_list_restores_to_frozen():
    """Freezing the parent and giving back does not thaw what was never trainable."""
    parent = nn.ModuleDict({"projectors": frozen_list(), "predictor": nn.Linear(2, 2)})
    freeze(parent).restore()
    assert is_frozen(parent["projectors"])
    assert parent["predictor"].weight.requires_grad


def test_frozen_list_freezes_what_is_added():
    """Every way into the list goes through the ice."""
    modules = frozen_list()
    modules.append(network())
    modules.extend([network()])
    modules.insert(0, network())
    modules[1] = network()
    modules += [network()]
    assert len(modules) == 7
    assert is_frozen(modules)
    assert is_frozen(modules[2:4])


def test_frozen_list_has_the_keys_of_a_module_list():
    """Its checkpoint is interchangeable with a plain list's."""
    modules, plain = frozen_list(), nn.ModuleList(network() for _ in range(3))
    assert list(modules.state_dict()) == list(plain.state_dict())
    modules.load_state_dict(plain.state_dict())
    assert is_frozen(modules)
    assert torch.equal(modules[2][2].weight, plain[2][2].weight)


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copy_of_a_frozen_list_is_frozen(remake):
    """A copy has the weights and never trains either."""
    modules = frozen_list()
    twin = remake(modules)
    assert is_frozen(twin.train())
    assert type(twin) is FrozenModuleList
    torch.testing.assert_close(twin.state_dict(), modules.state_dict(), rtol=0, atol=0)
