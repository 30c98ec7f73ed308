"""The engine that is chosen, by what is there; and what cannot be asked for."""

from __future__ import annotations

import pytest

from ssl_registry.errors import ConfigError
from ssl_registry.views import ImageView, ViewPolicy
from ssl_registry.views.engine import choose_engine
from ssl_registry.views.host import image as fast

RECIPE = ViewPolicy(views=(ImageView(crop_scale=(0.2, 1.0), copies=2),))
MOVING = ViewPolicy(views=(ImageView(rotation=5.0),))


def choose(view_policy=RECIPE, shape=(3, 224, 224), *, asked="auto", in_memory=False, whole=True, accelerator=False):
    return choose_engine(view_policy, shape, asked=asked, in_memory=in_memory, whole=whole, accelerator=accelerator)


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({}, "host"),
        ({"in_memory": True, "shape": (3, 32, 32)}, "host"),
        ({"accelerator": True}, "split"),
        ({"accelerator": True, "in_memory": True}, "device"),
        ({"view_policy": ViewPolicy.plain()}, "device"),
        ({"view_policy": MOVING, "in_memory": True}, "device"),
        ({"view_policy": MOVING}, "host"),
        ({"whole": False}, "device"),
        ({"asked": "split"}, "split"),
        ({"asked": "device", "accelerator": True}, "device"),
    ],
)
def test_chosen(facts, name):
    """By device and input; what is asked for is taken; the reason is told in words."""
    engine = choose(**facts)
    assert engine.name == name
    assert f"views: {name} engine (" in str(engine)


@pytest.mark.parametrize(
    ("in_memory", "side", "name"), [(True, 32, "device"), (True, 224, "host"), (False, 32, "host")]
)
def test_without_opencv(in_memory, side, name, monkeypatch):
    """Small images in batches, photographs one by one, and the line that installs what is faster."""
    monkeypatch.setattr(fast, "cv2", None)
    engine = choose(shape=(3, side, side), in_memory=in_memory)
    assert engine.name == name
    assert "pip install 'ssl-registry[fast]'" in engine.reason


def test_signals_and_tables_have_none():
    """Nothing is chosen, and asking for the host is an error."""
    assert choose(shape=(3, 100)) is None
    assert choose(shape=(9,), asked="device") is None
    with pytest.raises(ConfigError, match=r"views\.engine=host draws images"):
        choose(shape=(9,), asked="host")


def test_mistakes():
    """A wrong name gets the right one; floats cannot go through the host."""
    with pytest.raises(ConfigError, match="Did you mean 'host'"):
        choose(asked="hots")
    with pytest.raises(ConfigError, match=r"these are floats; use views\.engine=device"):
        choose(asked="host", whole=False)
