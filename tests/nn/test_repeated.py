"""A repeated list holds independent instances and behaves as a module list."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from ssl_registry.nn import RepeatedModuleList


class Scale(nn.Module):
    def __init__(self, size, *, start=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), start))


def test_instances_get_the_arguments():
    """Positional and keyword arguments reach every instance."""
    modules = RepeatedModuleList(3, Scale, 2, start=4.0)
    assert len(modules) == 3
    assert all(isinstance(module, Scale) and module.weight.tolist() == [4.0, 4.0] for module in modules)


def test_instances_are_independent():
    """No two share a parameter, and random initialisation differs."""
    modules = RepeatedModuleList(3, nn.Linear, 4, 4)
    assert len({id(p) for p in modules.parameters()}) == 6
    assert not torch.equal(modules[0].weight, modules[1].weight)


def test_is_a_module_list():
    """Its keys are those of an nn.ModuleList of the same modules."""
    plain = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
    modules = RepeatedModuleList(2, nn.Linear, 2, 2)
    assert isinstance(modules, nn.ModuleList)
    assert list(modules.state_dict()) == list(plain.state_dict())


def test_empty_list():
    """A size of zero is an empty list."""
    assert len(RepeatedModuleList(0, nn.Linear, 2, 2)) == 0


@pytest.mark.parametrize("cls", [int, "Linear", nn.Linear(2, 2), lambda: nn.Linear(2, 2)])
def test_only_module_classes(cls):
    """What is no subclass of nn.Module is refused, as documented with an AssertionError, also under -O."""
    with pytest.raises(AssertionError, match=r"torch\.nn\.Module"):
        RepeatedModuleList(2, cls)


def test_negative_size():
    """A negative size is no empty list."""
    with pytest.raises(ValueError, match="size=-1"):
        RepeatedModuleList(-1, nn.Linear, 2, 2)


def test_repr_shows_the_modules():
    """The representation names the list and what is in it."""
    text = repr(RepeatedModuleList(3, nn.Linear, 10, 5))
    assert text.startswith("RepeatedModuleList(")
    assert "Linear(in_features=10, out_features=5, bias=True)" in text


def test_slices_are_module_lists():
    """A slice is a plain list of the same modules; indices count from both ends."""
    modules = RepeatedModuleList(4, nn.Linear, 2, 2)
    part = modules[1:3]
    assert type(part) is nn.ModuleList
    assert [part[0], part[1]] == [modules[1], modules[2]]
    assert modules[-1] is modules[3]
    assert len(modules[::2] + modules[1:2]) == 3


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_keep_type_and_weights(remake):
    """The constructor's arguments are not needed to copy or unpickle."""
    modules = RepeatedModuleList(2, nn.Linear, 2, 2)
    twin = remake(modules)
    assert type(twin) is RepeatedModuleList
    torch.testing.assert_close(twin.state_dict(), modules.state_dict(), rtol=0, atol=0)
