"""The kit is tested as strictly as it tests: each mutant is caught by the check that is meant for it."""

from __future__ import annotations

from functools import cache

import pytest

from ssl_registry import Registry
from ssl_registry.testing import Subject, all_checks
from ssl_registry.testing.runner import run_check
from tests.testing.mutants import MUTANTS
from tests.testing.sound import BySteps, Referred, SharesNumbers, Sound
from tests.testing.sound_tokens import SoundTokens

CHECKS = all_checks()
# What takes hundredths of a second: every mutant must pass these in the default run, all of them in the slow one.
CHEAP = (
    "documentation",
    "config_round_trip",
    "construction",
    "overrides",
    "parameter_groups",
    "stopping",
    "odd_sizes",
    "targets",
)
# Checks of general properties. They know no fault by name, so they catch others' mutants too, which is as it should be.
GENERAL = {
    "options",
    "ownership",
    "following",
    "modes",
    "views",
    "labels",
    "scale",
    "stopped_gradients",
    "epochs",
    "reference",
    "watching",
    "elsewhere",
    "constant_batch",
    "two_ranks",
}
# Those that have theirs elsewhere.
WITHOUT_MUTANT = {
    "listing": "its mutants are distributions, in test_listing",
    "resuming_everywhere": "the thorough form of resuming, with resuming's mutants",
    "two_ranks": "the quick form of two_processes, with its mutants, and two in tests/testing/blind.py",
}

# What the sound method has nothing of: no distribution, no tokens, nothing for each sample, its backbone as product,
# a part that rests by epochs, no formula, no reconstruction.
NOT_OF_SOUND = ("listing", "tokens", "masking", "indices", "product", "epochs", "reference", "reconstructing")


@cache
def subject(cls):
    registry = Registry(entry_points=False)
    registry.register("mutant", cls)
    return Subject("mutant", registry)


def outcome(cls, name):
    return run_check(CHECKS[name], subject(cls))


def ids(cls):
    return cls.__name__


@pytest.mark.parametrize("name", [name for name, check in CHECKS.items() if not check.slow])
def test_sound_passes(name):
    """What the mutants are made of has no fault that could hide theirs."""
    result = outcome(Sound, name)
    assert result.status == ("skipped" if name in NOT_OF_SOUND else "passed"), result.reason


@pytest.mark.parametrize(
    ("cls", "name"), [(BySteps, "epochs"), (Referred, "reference"), (SharesNumbers, "cuda_placement")]
)
def test_sound_variants_pass(cls, name):
    """What `Sound` has not of its own."""
    result = outcome(cls, name)
    assert result.status == "passed", result.reason


@pytest.mark.parametrize(
    "name", ["tokens", "masking", "indices", "gradients", "targets", "odd_sizes", "cuda_placement", "reconstructing"]
)
def test_sound_method_on_tokens_passes(name):
    """The one that works on tokens and keeps something for each sample."""
    result = outcome(SoundTokens, name)
    assert result.status == "passed", result.reason


@pytest.mark.parametrize("cls", [cls for cls in MUTANTS if not CHECKS[cls.caught_by].slow], ids=ids)
def test_caught(cls):
    """By the check that is meant for it."""
    result = outcome(cls, cls.caught_by)
    assert result.status == "failed"
    assert result.reason
    assert not result.reason.startswith(("AttributeError", "ImportError", "KeyError", "NameError")), result.reason


@pytest.mark.slow  # every quick check on every mutant
@pytest.mark.parametrize("cls", MUTANTS, ids=ids)
def test_caught_by_no_other_of_the_quick_ones(cls):
    """A mutant's fault is one, and its check is the one to tell it."""
    results = [outcome(cls, name) for name in CHEAP if name not in (cls.caught_by, *cls.also)]
    assert not {result.check: result.reason for result in results if result.status == "failed"}


@pytest.mark.slow
@pytest.mark.parametrize("cls", [Sound, *MUTANTS], ids=ids)
def test_caught_by_exactly(cls):
    """The meant check fails, those fail whose reason is written down, and no other but general ones.

    All fast checks; the slow ones, of a quarter of a minute each, on the sound method and on what they are meant for.
    """
    at_length = cls is Sound or CHECKS[cls.caught_by].slow
    results = [outcome(cls, name) for name, check in CHECKS.items() if at_length or not check.slow]
    failed = {result.check: result.reason for result in results if result.status == "failed"}
    meant = set() if cls is Sound else {cls.caught_by, *cls.also}
    of_others = GENERAL - meant if meant else set()
    assert failed.keys() - of_others == meant & {result.check for result in results}, failed


def test_every_check_has_a_mutant():
    """Or says why it has none."""
    caught = {cls.caught_by for cls in MUTANTS}
    assert caught | WITHOUT_MUTANT.keys() == CHECKS.keys()
    assert not caught & WITHOUT_MUTANT.keys()


def test_other_failures_have_reasons():
    """In words."""
    assert all(reason.strip() for cls in MUTANTS for reason in cls.also.values())
