"""The quick kit on mutants that were written without knowledge of its checks: what it catches, by which check."""

from __future__ import annotations

import pytest
from blind import MUTANTS, OPTIONS

from ssl_registry import Registry, registry
from ssl_registry.testing.runner import run_checks

# By mutant, the check that fails on it, and what its reason must say.
CAUGHT = {
    "PredictorInOneDirection": ("views", "with the two views exchanged"),
    "PredictsItsOwnView": ("reference", "the loss of views is"),
    "TargetInEvalMode": ("modes", "heads.target.0.1 runs on running statistics"),
    "MomentumWithTheLoss": ("step_end", "moves during a micro-batch"),
    "ProjectionNotAveraged": ("following", "a part of it is left out"),
    "TargetCopiedEachEpoch": ("epochs", "depends on how the same batches are divided into epochs"),
    "TemperatureMultiplies": ("reference", "the loss of views is"),
    "SummedOverTheBatch": ("scale", "take the mean over samples"),
    "SigmaIgnored": ("options", "sigma changes nothing"),
    "PositiveInTheDenominator": ("reference", "with loss=dcl is"),
    "NormalizedOverTheBatch": ("reference", "the loss of views is"),
    "DiagonalCountedTwice": ("reference", "the loss of views is"),
    "ProjectorsDrawnAgain": ("same_seed", "draw random numbers from ctx.generator"),
    "PredictorsNeverRest": ("options", "training changes nothing"),
    "UnbiasedVariance": ("reference", "the loss of views is"),
    "ScaleOfOneTerm": ("reference", "the loss of views is"),
    "DividesByNothing": ("reference", "the loss of views is"),
    "RateByEpochs": ("epochs", "depends on how the same batches are divided into epochs"),
    "VarianceNotDeviation": ("reference", "the loss of views is"),
    "FirstViewCountedTwice": ("views", "with the two views exchanged"),
    "DecayOnEverything": ("parameter_groups", "is a bias or a norm and decays"),
    "NoiseOfTheProcess": ("same_seed", "draw random numbers from ctx.generator"),
    "PredictorNotRegistered": ("ownership", "is none of the model's"),
    "PredictionDetached": ("gradients", "gets no gradient"),
    "ViewsInOneBatch": ("modes", "takes its statistics over 2 views at once"),
}

# By mutant, why the quick kit does not know.
MISSED = {
    "MomentumReversed": "any number from 0 to 1 is a momentum; no reference is of a schedule",
    "MomentumOneStepAhead": "another step's momentum is a momentum too; no reference is of a schedule",
    "NegativesOfOneRank": "one process has all samples; two_processes, a slow check, fails on it",
    "StatisticsOfOneRank": "one process has all samples; two_processes, a slow check, fails on it",
    "StepsCountedInPython": "only max_backbone_training_steps reads the count, and resuming leaves that off",
    "LossInHalfPrecision": "the gradient's direction hardly changes, and nothing asks for the loss's dtype",
    "PredictorFollowsTheSchedule": "fix_predictor_lr acts with a schedule, and is not tried together with one",
}


def fails(name, cls, parent, check):
    """Run one check of the quick kit; return why it fails, or an empty string."""
    own = Registry(entry_points=False)
    own.register(name, cls)
    (result,) = run_checks(name, only=(check,), options=OPTIONS[parent], registry=own)
    assert result.status in ("passed", "failed"), f"{check} is {result.status}: {result.reason}"
    return result.reason if result.status == "failed" else ""


def test_each_mutant_is_caught_or_has_a_reason():
    assert CAUGHT.keys() | MISSED.keys() == MUTANTS.keys()
    assert not CAUGHT.keys() & MISSED.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", CAUGHT)
def test_the_quick_kit_fails_on_it(name):
    mutant, (check, words) = MUTANTS[name], CAUGHT[name]
    assert words in fails(name, mutant.cls, mutant.parent, check), mutant.fault


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parent", "check"), sorted({(MUTANTS[name].parent, check) for name, (check, _) in CAUGHT.items()})
)
def test_the_same_check_passes_without_the_fault(parent, check):
    assert fails(parent, registry.method_class(parent), parent, check) == ""
