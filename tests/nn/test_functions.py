"""A function can serve as a module."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ssl_registry.nn import FunctionModule, as_module


def test_a_module_stays_itself():
    """Nothing is wrapped around a module, not even around an empty one."""
    module = nn.Sequential()
    assert as_module(module) is module


def test_a_function_is_called():
    """The wrapped function gets every argument, and has no parameters to train."""
    module = as_module(F.mse_loss)
    assert module(torch.ones(2), torch.zeros(2), reduction="sum") == 2
    assert list(module.parameters()) == []


@pytest.mark.parametrize("value", [nn.Linear, 3, "relu", None])
def test_what_cannot_be_called_is_refused(value):
    """A class is no instance, and a name is no function."""
    with pytest.raises(TypeError, match="cannot serve as a module"):
        as_module(value)


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_call_the_same_function(remake):
    """Functions are copied by reference."""
    assert remake(as_module(F.mse_loss)).function is F.mse_loss


def test_repr_names_the_function():
    """A callable without a name shows itself."""
    assert repr(FunctionModule(F.mse_loss)) == "FunctionModule(mse_loss)"

    class Loss:
        __call__ = staticmethod(F.mse_loss)

        def __repr__(self):
            return "Loss()"

    assert repr(as_module(Loss())) == "FunctionModule(Loss())"
