"""The quick kit on mutants that were written without knowledge of its checks: what it catches, by which check."""

from __future__ import annotations

import pytest
from blind import MUTANTS, OPTIONS

from ssl_registry import Registry, registry
from ssl_registry.testing.runner import run_checks

# By mutant, the check that fails on it, and what its reason must say.
CAUGHT = {
    "PredictorInOneDirection": ("views", "with the two views exchanged"),
    "PredictsItsOwnView": ("views", "belong to other samples"),
    "TargetInEvalMode": ("modes", "heads.target.0.1 runs on running statistics"),
    "MomentumWithTheLoss": ("step_end", "moves during a micro-batch"),
    "ProjectionNotAveraged": ("following", "a part of it is left out"),
    "TargetCopiedEachEpoch": ("epochs", "depends on how the same batches are divided into epochs"),
    "TemperatureMultiplies": ("reference", "the loss of views is"),
    "SummedOverTheBatch": ("scale", "take the mean over samples"),
    "SigmaIgnored": ("options", "sigma changes nothing"),
    "PositiveInTheDenominator": ("options", "loss=ntxent and loss=dcl train alike"),
    "NormalizedOverTheBatch": ("reference", "the loss of views is"),
    "DiagonalCountedTwice": ("reference", "the loss of views is"),
    "ProjectorsDrawnAgain": ("same_seed", "draw random numbers from ctx.generator"),
    "PredictorsNeverRest": ("options", "training changes nothing"),
    "UnbiasedVariance": ("reference", "the loss of views is"),
    "ScaleOfOneTerm": ("reference", "the loss of views is"),
    "DividesByNothing": ("constant_batch", "the loss is nan"),
    "RateByEpochs": ("epochs", "depends on how the same batches are divided into epochs"),
    "VarianceNotDeviation": ("reference", "the loss of views is"),
    "FirstViewCountedTwice": ("views", "with the two views exchanged"),
    "DecayOnEverything": ("parameter_groups", "is a bias or a norm and decays"),
    "NoiseOfTheProcess": ("same_seed", "draw random numbers from ctx.generator"),
    "PredictorNotRegistered": ("ownership", "is none of the model's"),
    "PredictionDetached": ("gradients", "gets no gradient"),
    "MomentumReversed": ("following", "a momentum that falls"),
    "MomentumOneStepAhead": ("following", "of the way in the first step"),
    "NegativesOfOneRank": ("two_ranks", "the mean loss of two processes"),
    "StatisticsOfOneRank": ("two_ranks", "the mean loss of two processes"),
    "StepsCountedInPython": ("construction", "holds 'done' besides config"),
    "LossInHalfPrecision": ("bfloat16", "the loss itself is bfloat16"),
    "PredictorFollowsTheSchedule": ("options", "fix_predictor_lr changes nothing"),
    "ViewsInOneBatch": ("modes", "takes its statistics over 2 views at once"),
}


def fails(name, cls, parent, check):
    """Run one check of the quick kit; return why it fails, or an empty string."""
    own = Registry(entry_points=False)
    own.register(name, cls)
    (result,) = run_checks(name, only=(check,), options=OPTIONS[parent], registry=own)
    assert result.status in ("passed", "failed"), f"{check} is {result.status}: {result.reason}"
    return result.reason if result.status == "failed" else ""


def test_each_mutant_is_caught():
    """None is left out of the list."""
    assert CAUGHT.keys() == MUTANTS.keys()


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
