"""What a method declares for the conformance kit: checked when it is registered."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ssl_registry import Declares, Field, MethodConfig, Registry, hookimpl
from ssl_registry.contract.declares import declares_of
from ssl_registry.errors import ContractError


class Method:
    """A method that does as little as it may."""

    class Config(MethodConfig):
        """One option."""

        start: int = Field(15, description="First epoch of a term.")

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self):
        return {}

    @hookimpl
    def compute_loss(self, model, views):
        return model(views[0]).square().mean()


def register(declares):
    registry = Registry(entry_points=False)
    registry.register("declaring", type("Declaring", (Method,), {"declares": declares}))
    return registry.method_class("declaring")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"options": ["start"]}, "must be a dict of reasons"),
        ({"options": {"start": " "}}, "has no reason"),
        ({"options": {"begin": "in epoch 15"}}, "'begin', which is no option"),
        ({"targets": {1: "drawn anew"}}, "must be a dict"),
        ({"by_epochs": True}, "must be a sentence"),
        ({"symmetric": "yes"}, "must be True or False"),
        ({"reference": "package.module"}, "'package.module:function'"),
    ],
)
def test_wrong_values_are_told_at_registration(values, match):
    """Each by its name."""
    with pytest.raises(ContractError, match=match):
        register(Declares(**values))


def test_another_type_is_refused():
    """A dict is no declaration."""
    with pytest.raises(ContractError, match="write declares = Declares"):
        register({"symmetric": True})


def test_declarations_are_read_from_class_and_instance():
    """And a method without any has none."""
    declares = Declares(symmetric=True, options={"start": "in epoch 15"})
    cls = register(declares)
    assert declares_of(cls) is declares_of(cls(cls.Config())) is declares
    assert declares_of(Method) == Declares()


def test_declaring_imports_no_torch():
    """Help and lists are shown without it."""
    code = "import sys; from ssl_registry import Declares; Declares(symmetric=True); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
