"""Options are checked where they are said, and every error names key, range and nearest right key."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ssl_registry import Field, MethodConfig
from ssl_registry._system.options import allowed_values, parse_options
from ssl_registry.errors import ConfigError


class Config(MethodConfig):
    """A method's options."""

    temperature: float = Field(0.5, gt=0, le=10, description="How soft.")
    layers: int | None = Field(None, ge=1)


def test_unknown_key_names_the_nearest():
    """A typing error in a key is answered with the right one and the whole list."""
    with pytest.raises(ConfigError, match=r"no option 'temprature'\. Did you mean 'temperature'\?.*learning_rate"):
        parse_options(Config, {"temprature": 1}, owner="tiny")


def test_out_of_range_names_key_value_and_range():
    """The message holds what was said and what is allowed."""
    with pytest.raises(ConfigError, match=r"tiny: temperature=-1.*allowed: float > 0 <= 10"):
        parse_options(Config, {"temperature": -1}, owner="tiny")


def test_wrong_type_names_key_and_type():
    """A word where a number belongs is refused."""
    with pytest.raises(ConfigError, match=r"layers='many'.*int >= 1 \| None"):
        parse_options(Config, {"layers": "many"}, owner="tiny")


def test_every_mistake_is_told_at_once():
    """Two mistakes, two findings."""
    with pytest.raises(ConfigError, match=r"temperature=0.*; .*no option 'x'"):
        parse_options(Config, {"temperature": 0, "x": 1}, owner="tiny")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value):
    """NaN compares false with every bound, so it needs a check of its own."""
    with pytest.raises(ConfigError, match="learning_rate"):
        parse_options(Config, {"learning_rate": value}, owner="tiny")


def test_config_is_immutable():
    """A method cannot change its options behind the record's back."""
    with pytest.raises(ValueError, match="frozen"):
        Config().temperature = 2.0


def test_optimizer_takes_a_class_of_torch():
    """The class's name is what a config holds, so it survives JSON."""
    assert Config(optimizer=torch.optim.AdamW).optimizer == "adamw"


def test_optimizer_refuses_a_foreign_class():
    """A class that no name stands for could not be reopened."""

    class Mine(torch.optim.SGD):
        pass

    with pytest.raises(ConfigError, match=r"not a class of torch\.optim"):
        parse_options(Config, {"optimizer": Mine}, owner="tiny")


@given(
    rate=st.floats(1e-9, 1e3),
    temperature=st.floats(0, 10, exclude_min=True),
    layers=st.none() | st.integers(1, 10**6),
    # `lr` and `weight_decay` among the arguments become options of their own.
    kwargs=st.dictionaries(
        st.text(min_size=1, max_size=5).filter(lambda name: name not in ("lr", "weight_decay")),
        st.booleans() | st.integers(-9, 9),
        max_size=3,
    ),
)
def test_round_trip_through_json_and_yaml(rate, temperature, layers, kwargs):
    """What is saved is what was said."""
    config = Config(learning_rate=rate, temperature=temperature, layers=layers, optimizer_kwargs=kwargs)
    dumped = config.model_dump(mode="json")
    assert Config(**json.loads(json.dumps(dumped))) == config
    assert Config(**yaml.safe_load(yaml.safe_dump(dumped))) == config


def test_allowed_values_reads_bounds_of_optional_fields():
    """The range is shown for every kind of annotation."""
    assert allowed_values(Config, "layers") == "int >= 1 | None"


def test_rates_among_the_arguments_are_the_options():
    """What torch calls lr and weight_decay is taken as what a config calls them."""
    config = parse_options(Config, {"optimizer_kwargs": {"lr": 0.3, "weight_decay": 1e-6, "eps": 1e-6}}, owner="tiny")
    assert (config.learning_rate, config.weight_decay, config.optimizer_kwargs) == (0.3, 1e-6, {"eps": 1e-6})


def test_a_rate_that_is_said_twice():
    """Both values are shown; the same one twice is no mistake."""
    said = {"weight_decay": 0.1, "optimizer_kwargs": {"weight_decay": 0.1}}
    assert parse_options(Config, said, owner="tiny").weight_decay == 0.1
    with pytest.raises(ConfigError, match=r"tiny: optimizer_kwargs says 0\.2 and weight_decay=0\.1; give it once"):
        parse_options(Config, {**said, "optimizer_kwargs": {"weight_decay": 0.2}}, owner="tiny")


def test_a_wrong_rate_among_the_arguments():
    """It is checked like the option."""
    with pytest.raises(ConfigError, match="learning_rate=-1"):
        parse_options(Config, {"optimizer_kwargs": {"lr": -1}}, owner="tiny")
