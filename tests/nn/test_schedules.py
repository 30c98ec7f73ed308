"""Schedules are their formulas, begin and end exactly, and never fall back."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_registry.nn import cosine_schedule, linear_schedule

properties = settings(deadline=None, derandomize=True, max_examples=60)
momenta = st.floats(0, 1)
values = st.floats(-10, 10)
schedules = pytest.mark.parametrize("schedule", [linear_schedule, cosine_schedule])


@properties
@given(st.integers(0, 3000), st.integers(1, 2000), values, values)
def test_line_is_the_formula(step, max_steps, start, end):
    """A straight line to max_steps, and the end value from there on."""
    wanted = start + (end - start) * min(step, max_steps) / max_steps
    assert linear_schedule(step, max_steps, start, end) == pytest.approx(wanted, abs=1e-9)


@properties
@given(st.integers(0, 3000), st.integers(1, 2000), values, values)
def test_cosine_is_the_formula(step, max_steps, start, end):
    """Half a cosine over max_steps, and the end value from there on."""
    k = min(step, max_steps)
    wanted = end - (end - start) * (math.cos(math.pi * k / max_steps) + 1) / 2
    assert cosine_schedule(step, max_steps, start, end) == pytest.approx(wanted, abs=1e-9)


@schedules
@properties
@given(st.integers(1, 10**6), momenta, momenta, st.integers(0, 10**6))
def test_begins_and_ends_exactly(schedule, max_steps, start, end, past):
    """The first value is the start; the last is the end, and it stays."""
    assert schedule(0, max_steps, start, end) == start
    assert schedule(max_steps + past, max_steps, start, end) == end


@schedules
@properties
@given(st.integers(1, 500), momenta)
def test_rises_without_a_dip(schedule, max_steps, start):
    """BYOL's momentum never decreases and stays below 1."""
    course = [schedule(step, max_steps, start, 1.0) for step in range(max_steps + 3)]
    assert all(b >= a - 1e-12 for a, b in pairwise(course))
    assert start - 1e-12 <= min(course)
    assert max(course) <= 1.0


@schedules
@properties
@given(st.integers(0, 100), momenta)
def test_equal_ends_are_constant(schedule, step, value):
    """To the last bit."""
    assert schedule(step, 100, value, value) == value


@schedules
def test_run_of_one_step(schedule):
    """It has a beginning and an end."""
    assert [schedule(step, 1, 0.9, 1.0) for step in (0, 1, 2)] == [0.9, 1.0, 1.0]


@schedules
def test_run_without_a_known_end(schedule):
    """The value stays at its start."""
    assert [schedule(step, None, 0.9, 1.0) for step in (0, 1, 10**6)] == [0.9, 0.9, 0.9]


def test_line_of_no_length():
    """A warm-up of zero steps is over at the start."""
    assert [linear_schedule(step, 0, 0.04, 0.07) for step in (0, 1)] == [0.07, 0.07]


@properties
@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 200))
def test_warmup_is_a_line_and_then_the_cosine(warmup, rest, step):
    """Both meet at the start value; the cosine spans what is left of the run."""
    found = cosine_schedule(step, warmup + rest, 0.8, 0.1, warmup_steps=warmup, warmup_value=0.2)
    if step <= warmup:
        assert found == pytest.approx(linear_schedule(step, warmup, 0.2, 0.8))
    if step >= warmup:
        assert found == pytest.approx(cosine_schedule(step - warmup, rest, 0.8, 0.1))


def test_warmup_longer_than_the_run():
    """The value stays as it is when the run ends; it neither jumps nor falls."""
    course = [cosine_schedule(step, 4, 1.0, 0.0, warmup_steps=8) for step in range(12)]
    assert course == [0.0, 0.125, 0.25, 0.375, *[0.5] * 8]
    assert [cosine_schedule(step, 4, 1.0, 0.0, warmup_steps=4) for step in (3, 4, 9)] == [0.75, 1.0, 1.0]


def test_warmup_of_a_run_without_a_known_end():
    """The value warms up and stays constant."""
    assert [cosine_schedule(step, None, 1.0, 0.0, warmup_steps=2) for step in (0, 1, 2, 99)] == [0.0, 0.5, 1.0, 1.0]


def test_period_begins_after_the_warmup():
    """The first cycle starts where the warm-up ends."""
    course = [cosine_schedule(step, None, 1.0, 0.0, period=4, warmup_steps=2) for step in (1, 2, 4, 6)]
    assert course == pytest.approx([0.5, 1.0, 0.0, 1.0])


@properties
@given(st.integers(0, 500), st.integers(1, 50), values, values)
def test_period_is_a_full_cycle(step, period, start, end):
    """With a period the value follows a whole cosine, again and again, past max_steps too."""
    wanted = end - (end - start) * (math.cos(2 * math.pi * step / period) + 1) / 2
    assert cosine_schedule(step, 100, start, end, period=period) == pytest.approx(wanted, abs=1e-9)


def test_period_returns_and_turns():
    """The end value is reached in the middle of the cycle, the start value at its end."""
    assert [cosine_schedule(step, 5, 0.0, 1.0, period=8) for step in (0, 4, 8, 12)] == [0.0, 1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("schedule", "arguments", "word"),
    [
        (cosine_schedule, {"step": -1}, "step=-1"),
        (cosine_schedule, {"max_steps": 0}, "max_steps=0"),
        (cosine_schedule, {"period": 0}, "period=0"),
        (cosine_schedule, {"warmup_steps": -1}, "warmup_steps=-1"),
        (linear_schedule, {"step": -1}, "step=-1"),
        (linear_schedule, {"max_steps": -1}, "max_steps=-1"),
    ],
)
def test_what_is_no_count_is_refused(schedule, arguments, word):
    """Negative steps and empty runs or periods are named."""
    with pytest.raises(ValueError, match=word):
        schedule(**{"step": 0, "max_steps": 10, "start_value": 0.9, "end_value": 1.0} | arguments)
