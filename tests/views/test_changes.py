"""Fields of views are changed by name, for all or for one."""

from __future__ import annotations

import pytest

from ssl_registry.errors import ConfigError
from ssl_registry.views import ImageView, SignalView, ViewPolicy
from ssl_registry.views.changes import changed

RECIPE = ViewPolicy(views=(ImageView(blur=0.5, copies=2), ImageView(solarize=0.2)), image_size=16)


def test_all_views():
    """One value for every view; copies stay copies."""
    after = changed(RECIPE, {"blur": 0, "crop_scale": [0.2, 1]})
    assert after.views == tuple(
        view.model_copy(update={"blur": 0.0, "crop_scale": (0.2, 1.0)}) for view in RECIPE.views
    )
    assert after.image_size == 16


def test_one_view():
    """Numbers count what is drawn, as numbers or as words; one view's value wins over all views'."""
    after = changed(RECIPE, {"flip": 0.5, 1: {"flip": 0.1}, "2": {"blur": 0.3}})
    assert [view.flip for view in after.views] == [0.5, 0.1, 0.5]
    assert [view.blur for view in after.views] == [0.5, 0.5, 0.3]
    assert after.num_views == RECIPE.num_views


def test_nothing_to_change():
    """The recipe itself."""
    assert changed(RECIPE, {}) == RECIPE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blurr": 0}, "a view of kind 'image' has no field 'blurr'. Did you mean 'blur'"),
        ({"blur": 2}, "views.blur=2: Input should be less than or equal to 1"),
        ({"crop_scale": [0.5, 0.2]}, "must be positive and rising"),
        ({"3": {"blur": 0}}, "there is no view 3; this method draws 3, counted from 0"),
        ({"0": 0.5}, "views.0=0.5 must be fields of that view"),
        ({"copies": 3}, "has no field 'copies'"),
    ],
)
def test_mistakes(changes, message):
    """Each says what is wrong and what is there."""
    with pytest.raises(ConfigError) as caught:
        changed(RECIPE, changes)
    assert message in str(caught.value)


def test_signals_have_their_own_fields():
    """An image's field is none of theirs."""
    view_policy = ViewPolicy(views=(SignalView(jitter=0.1),))
    assert changed(view_policy, {"scaling": 0.2}).views == (SignalView(jitter=0.1, scaling=0.2),)
    with pytest.raises(ConfigError, match="a view of kind 'signal' has no field 'blur'"):
        changed(view_policy, {"blur": 0})
