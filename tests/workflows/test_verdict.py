"""The verdict's words: each branch, and which of them wins."""

from __future__ import annotations

import math

import pytest

from ssl_registry.workflows.verdict import Evidence, still_falls, verdict, verdict_of_finetuning

LINEAR = {"raw": 0.70, "untrained": 0.60, "trained": 0.84}


def said(held_out: int = 10_000, **changes: object) -> str:
    figures = {name: {"linear": value} for name, value in LINEAR.items()}
    figures |= changes.pop("figures", {})  # type: ignore[arg-type]
    return verdict(Evidence(figures, held_out=held_out, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("figures", "changes", "words"),
    [
        ({}, {}, "84.0 % (a linear probe), +24.0 points over the untrained backbone, +14.0 over logistic regression"),
        ({"raw": {"linear": 0.82}}, {"loss_falls": True}, "raw input. The loss still falls: train longer."),
        ({"raw": {"knn": 0.86, "linear": 0.80}}, {}, "They are worse than the raw input: do not use it as it is"),
        ({"raw": {"linear": 0.84}}, {"loss_falls": False}, "raw input: do not use it as it is; train longer, or try"),
        ({"raw": {"linear": 0.84}}, {"loss_falls": True}, "no better than the raw input: do not use it as it is;"),
        ({"start": {"linear": 0.90}}, {}, "made the weights that it started from worse: keep those"),
        ({"start": {"linear": 0.841}}, {}, "no better than the weights that training started from"),
        ({"untrained": {"linear": 0.84}}, {}, "no better than random weights: do not use it as it is"),
        ({}, {"diverged": True}, "Diverged: the weights were not finite"),
        ({}, {"warning": "all features are alike."}, "Do not use it: all features are alike."),
    ],
)  # fmt: skip
def test_with_labels(figures: dict[str, dict[str, float]], changes: dict[str, object], words: str) -> None:
    """The worst that is true is said, with the figures."""
    assert words in said(figures=figures, **changes)


def test_few_samples_tell_less() -> None:
    """Three points are chance on five hundred samples and a fact on ten thousand; of a hundred nothing is said."""
    figures = {"raw": {"linear": 0.82}}
    assert "no better" in said(500, figures=figures)
    assert "no better" not in said(10_000, figures=figures)
    near = {"raw": {"linear": 0.82}, "untrained": {"linear": 0.83}}
    assert "100 held-out samples tell differences of 5 points and more, so these are none yet" in said(
        100, figures=near
    )
    assert "so that from logistic regression on the raw input is none yet: label more" in said(100, figures=figures)
    assert "worse than the raw input" in said(100, figures={"raw": {"linear": 0.95}})
    assert "started from worse: keep those" in said(100, figures={"raw": {"linear": 0.82}, "start": {"linear": 0.95}})
    perfect = {name: {"linear": 1.0} for name in ("raw", "untrained", "trained")}
    assert "19 held-out samples tell differences of" in said(19, figures=perfect)


def test_draws_of_few_labels_tell_less() -> None:
    """Of five labels a class the draw decides, on however many samples; each comparison by its own errors."""
    given = {"labels": "5 labels a class", "figures": {"raw": {"linear": 0.82}}}
    assert said(**given).startswith(
        "Trained features with 5 labels a class: 84.0 % (a linear probe), +24.0 points over"
    )
    assert "no better" not in said(**given)
    near = {"trained": {"linear": 0.02}, "raw": {"linear": 0.01}, "untrained": {"linear": 0.2}}
    assert "no better than the raw input" in said(errors=near, **given)
    far = {"trained": {"linear": 0.03}, "raw": {"linear": 0.04}}
    coarse = said(errors=far, **given)
    assert "These draws of the labels tell differences of 5 points and more, so that from logistic regression" in coarse


def test_the_better_protocol_counts() -> None:
    """Of each set of features, and its name is told."""
    text = said(figures={"trained": {"linear": 0.84, "knn": 0.9}, "raw": {"linear": 0.70, "knn": 0.88}})
    assert text.startswith(
        "Trained features: 90.0 % (k-NN), +30.0 points over the untrained backbone, +2.0 over k-NN on"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"neighbours": (0.2, 0.9)}, "for 20 % before and 90 % after training."),
        ({"neighbours": (0.9, 0.9)}, "which is no gain: train longer, or with other views."),
        ({"rank": (90.0, 256.0)}, "use 90 directions of at most 256: a healthy number."),
        ({"rank": (6.0, 8.0)}, "use 6 directions of at most 8. Without labels"),
        ({"rank": (2.0, 256.0)}, "2 directions of at most 256: few for"),
        ({"loss_falls": True}, "The loss still falls: train longer."),
        ({}, "Without labels nothing is certain; 20 labelled samples a class would do: ssl-registry evaluate"),
    ],
)
def test_without_labels(changes: dict[str, object], words: str) -> None:
    """What can be measured, a yardstick for it, and what would give certainty."""
    assert words in verdict(Evidence(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("losses", "falls"),
    [
        ([1.0] * 5, None),
        ([1 - n / 100 for n in range(100)], True),
        ([1 / (1 + n) for n in range(100)], False),
        ([1.0 + n for n in range(100)], False),
        ([5.0, math.nan] * 50, False),
        ([0.5 + (n % 2) - n / 1e4 for n in range(100)], False),
    ],
)
def test_whether_the_loss_falls(losses: list[float], falls: bool | None) -> None:
    """Too few values, a straight fall, a plateau, a rise, what is not finite, and noise."""
    assert still_falls(losses) is falls


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ((0.90, 0.85, 0.60), "+5.0 points over a linear probe with the same labels, +30.0 over the same network from"),
        ((0.80, 0.85, 0.60), "It is worse than the probe: fine-tune fewer layers"),
        ((0.85, 0.85, 0.60), "as good as the probe, which is cheaper"),
        ((0.90, 0.85, 0.91), "Pretraining did not help"),
        ((0.80, 0.85, 0.90), "5.0 points under a linear probe with the same labels, 10.0 under the same network from"),
        (
            (0.80, 0.85, 0.90),
            "lower --learning-rate, or use the probe. Pretraining did not help: it is worse than from",
        ),
        ((0.848, 0.85, 0.60), "0.2 points under a linear probe with the same labels, +24.8 over the same network from"),
        ((0.848, 0.85, 0.60), "no better than the probe, which is cheaper"),
        ((0.90, 0.85, None), "+5.0 points over a linear probe with the same labels."),
    ],
)
def test_of_finetuning(figures: tuple[float, float, float | None], words: str) -> None:
    """Beside the probe and the network from scratch."""
    assert words in verdict_of_finetuning(*figures, held_out=10_000)


def test_of_finetuning_on_few_held_out_samples() -> None:
    """Ten points of twenty samples are chance: nothing is called as good, and nothing is said of pretraining."""
    words = verdict_of_finetuning(0.70, 0.80, 0.75, held_out=20)
    assert "10.0 points under a linear probe with the same labels, 5.0 under the same network from scratch." in words
    assert "20 held-out samples tell differences of 15 points and more, so this is none yet: use the probe" in words
    assert "Whether pretraining helped, 20 held-out samples do not tell." in words
    assert "as good as" not in words
    assert "It is worse than the probe" in verdict_of_finetuning(0.40, 0.80, None, held_out=20)


def test_losses_are_under_and_gains_over() -> None:
    """Each difference says its direction by a word; none is told as none."""
    text = said(figures={"raw": {"linear": 0.90}, "untrained": {"linear": 0.84}})
    assert ", as many points as the untrained backbone, 6.0 under logistic regression on the raw input." in text
