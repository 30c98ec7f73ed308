"""`verdict`: what the figures of a run say about it, in a sentence or two. Nothing is measured here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Evidence", "still_falls", "verdict", "verdict_of_finetuning"]

# What is measured beside the trained features, from the strictest comparison to the weakest.
RAW, START, UNTRAINED = "raw", "start", "untrained"
PROTOCOLS = {"linear": "a linear probe", "knn": "k-NN"}
ON_RAW = {
    "linear": "logistic regression on the raw input",
    "knn": "k-NN on the raw input",
    "boosting": "gradient boosting on the columns",
}
# Of the whole fall of the loss, what it must still fall in its last fifth to be called falling.
STILL_FALLING = 0.05
LEAST_POINTS = 20
# Labels a class with which a probe tells two backbones apart: 20 of each of ten classes measure to about 3 points.
LABELS_A_CLASS = 20
# Where chance alone makes a difference of so much, nothing is called no better.
TOO_COARSE = 0.04
# A batch that allows fewer directions is no measure of how many features use.
LEAST_DIRECTIONS = 32
# An effective rank below this share of what a batch allows is little for features that tell samples apart.
LOW_RANK = 0.05


@dataclass(frozen=True)
class Evidence:
    """What was measured of a run.

    Args:
        figures: accuracies in [0, 1] by features (``trained``, ``untrained``, ``start`` for the weights of ``--from``,
            ``raw`` for the input itself) and protocol (``linear``, ``knn``).
        held_out: samples that they were measured on; decides what is chance.
        labels: with how many labels, such as ``5 labels a class``; empty for all of them.
        errors: standard errors of the figures over draws of these labels, by features and protocol; they decide what is
            chance, too.
        loss_falls: whether the loss was falling when training ended; None where that is not known.
        rank: effective rank of the trained features of a batch, and most that it can be; None where not measured.
        neighbours: share of samples whose second view is the nearest of all, before and after training; None where not
            measured.
        diverged: weights were not finite.
        warning: what the guard said of a collapse; empty if all was well.
    """

    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    held_out: int = 0
    labels: str = ""
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    loss_falls: bool | None = None
    rank: tuple[float, float] | None = None
    neighbours: tuple[float, float] | None = None
    diverged: bool = False
    warning: str = ""


def verdict(evidence: Evidence) -> str:
    """Return in words whether the training was worth it, and what to do next.

    Each set of features counts with the better of its protocols. A difference within one standard error of the
    difference of two independent shares, ``sqrt(2 p (1 - p) / held_out)``, or within its standard error over
    draws of the labels, counts as none.

    Example:
        >>> figures = {"trained": {"linear": 0.84}, "untrained": {"linear": 0.70}, "raw": {"linear": 0.82}}
        >>> print(verdict(Evidence(figures, held_out=10_000, loss_falls=True)))
        Trained features: 84.0 % (a linear probe), +14.0 points over the untrained backbone, +2.0 over logistic \
regression on the raw input. The loss still falls: train longer.
    """
    if evidence.diverged:
        return (
            "Diverged: the weights were not finite at the end, and what is kept is the last checkpoint before. Train "
            "again with a lower --learning-rate or more --warmup-steps."
        )
    if evidence.warning:
        return f"Do not use it: {evidence.warning.rstrip('.')}."
    if "trained" not in evidence.figures:
        return _without_labels(evidence)
    trained, protocol = _best(evidence.figures["trained"])
    gains = {
        name: _gain(evidence, name, trained, protocol) for name in (START, UNTRAINED, RAW) if name in evidence.figures
    }
    seen = f" with {evidence.labels}" if evidence.labels else ""
    head = f"Trained features{seen}: {100 * trained:.1f} % ({PROTOCOLS[protocol]})"
    compared = ", ".join(
        _compared(gain.points, _named(name, gain.by), first=n == 0) for n, (name, gain) in enumerate(gains.items())
    )
    return f"{head}{', ' if compared else ''}{compared}. {_advice(gains, evidence)}".strip()


class _Gain(NamedTuple):
    """What the trained features are above others.

    Args:
        points: in [-1, 1].
        by: the protocol of the others.
        margin: so much is chance.
        drawn: whether the draw of the labels makes that margin, and not the number of held-out samples.
    """

    points: float
    by: str
    margin: float
    drawn: bool


def _gain(evidence: Evidence, name: str, trained: float, protocol: str) -> _Gain:
    best, by = _best(evidence.figures[name])
    held_out = _margin(trained, evidence.held_out)
    drawn = math.hypot(*(evidence.errors.get(of, {}).get(how, 0.0) for of, how in (("trained", protocol), (name, by))))
    return _Gain(trained - best, by, max(held_out, drawn), drawn > held_out)


def _advice(gains: dict[str, _Gain], evidence: Evidence) -> str:
    """Say what follows: the worst that is true."""
    longer = "train longer" if evidence.loss_falls else "train longer, or try another method or other views"
    worse = {name for name, gain in gains.items() if gain.points < -gain.margin}
    no_better = {name for name, gain in gains.items() if gain.points <= gain.margin}
    if RAW in worse:
        return f"They are worse than the raw input: do not use it as it is; {longer}."
    if START in worse:
        return (
            "Training made the weights that it started from worse: keep those, or train with a lower --learning-rate."
        )
    beside = [name for name in (UNTRAINED, RAW) if name in gains]
    unsure = [name for name in beside if abs(gains[name].points) <= gains[name].margin > TOO_COARSE]
    if unsure:
        what = f"that from {_named(unsure[0], gains[unsure[0]].by)} is none" if unsure != beside else "these are none"
        return f"{_coarse(gains[unsure[0]], evidence)}, so {what} yet: label more to know; {longer}."
    if RAW in no_better:
        return f"They are no better than the raw input: do not use it as it is; {longer}."
    if START in no_better:
        return f"They are no better than the weights that training started from; {longer}."
    if UNTRAINED in no_better:
        return f"They are no better than random weights: do not use it as it is; {longer}."
    if evidence.loss_falls:
        return "The loss still falls: train longer."
    return ""


def _coarse(gain: _Gain, evidence: Evidence) -> str:
    """Say which differences can be told, and what limits it."""
    if gain.drawn:
        return f"These draws of the labels tell differences of {100 * gain.margin:.0f} points and more"
    return f"{evidence.held_out} held-out samples tell differences of {100 * gain.margin:.0f} points and more"


def _without_labels(evidence: Evidence) -> str:
    """Say what can be said of features that nothing was compared with."""
    words = []
    if evidence.neighbours is not None:
        before, after = evidence.neighbours
        words.append(
            f"Of two views of a sample the one found the other among all for {100 * before:.0f} % before and "
            f"{100 * after:.0f} % after training"
            + (", which is no gain: train longer, or with other views." if after <= before else ".")
        )
    if evidence.rank is not None:
        rank, most = evidence.rank
        low = rank < LOW_RANK * most
        judged = ": few for features that tell samples apart" if low else ": a healthy number"
        judged = "" if most < LEAST_DIRECTIONS else judged
        words.append(f"The features of a batch use {rank:.0f} directions of at most {most:.0f}{judged}.")
    if evidence.loss_falls:
        words.append("The loss still falls: train longer.")
    words.append(
        f"Without labels nothing is certain; {LABELS_A_CLASS} labelled samples a class would do: ssl-registry evaluate "
        "RUN --data LABELLED."
    )
    return " ".join(words)


def verdict_of_finetuning(tuned: float, probe: float, scratch: float | None, held_out: int) -> str:
    """Return in words whether fine-tuning was worth it.

    Args:
        tuned: accuracy of the fine-tuned network, in [0, 1].
        probe: of logistic regression on the frozen features, with the same labels.
        scratch: of the same network from random weights, with the same labels; None where there is none.
        held_out: samples that they were measured on.

    Example:
        >>> verdict_of_finetuning(0.90, 0.85, None, 2000)
        'Fine-tuned: 90.0 %, +5.0 points over a linear probe with the same labels.'
        >>> print(verdict_of_finetuning(0.70, 0.80, None, 20))
        Fine-tuned: 70.0 %, 10.0 points under a linear probe with the same labels. 20 held-out samples tell \
differences of 15 points and more, so this is none yet: use the probe, which is cheaper, or label more to know.
    """
    margin = _margin(tuned, held_out)
    compared = [_compared(tuned - probe, "a linear probe with the same labels", first=True)]
    advice = [_of_probe(tuned - probe, margin, held_out)]
    if scratch is not None:
        compared.append(_compared(tuned - scratch, "the same network from scratch", first=False))
        advice.append(_of_scratch(tuned - scratch, margin, held_out))
    return " ".join([f"Fine-tuned: {100 * tuned:.1f} %, {', '.join(compared)}.", *filter(None, advice)])


def _of_probe(gain: float, margin: float, held_out: int) -> str:
    """Say what follows from the difference of fine-tuning and the probe."""
    if gain > margin:
        return ""
    if gain < -margin:
        return (
            "It is worse than the probe: fine-tune fewer layers (--layers 1) or with a lower --learning-rate, or use "
            "the probe."
        )
    if margin > TOO_COARSE:
        return (
            f"{held_out} held-out samples tell differences of {100 * margin:.0f} points and more, so this is none yet: "
            "use the probe, which is cheaper, or label more to know."
        )
    same = "as good as" if gain >= 0 else "no better than"
    return f"It is {same} the probe, which is cheaper; more labels would tell."


def _of_scratch(gain: float, margin: float, held_out: int) -> str:
    """Say what follows from the difference of fine-tuning and the network from scratch."""
    if gain > margin:
        return ""
    if margin > TOO_COARSE and gain >= -margin:
        return f"Whether pretraining helped, {held_out} held-out samples do not tell."
    return f"Pretraining did not help: it is {'worse' if gain < -margin else 'no better'} than from scratch."


def still_falls(losses: Sequence[float]) -> bool | None:
    """Tell whether a loss was falling when training ended; None where too few values were logged to say.

    It was if the last fifth of its values lies, in the mean, lower than the fifth before by more than a twentieth of
    the whole fall since the first fifth, and by more than the means are known.

    Args:
        losses: in order.

    Example:
        >>> still_falls([1 - n / 100 for n in range(100)]), still_falls([1 / (1 + n) for n in range(100)])
        (True, False)
    """
    values = [value for value in losses if math.isfinite(value)]
    fifth = len(values) // 5
    if len(values) < LEAST_POINTS:
        return None
    parts = [values[:fifth], values[-2 * fifth : -fifth], values[-fifth:]]
    first, before, last = (sum(part) / fifth for part in parts)
    spread = [sum((value - sum(part) / fifth) ** 2 for value in part) / fifth for part in parts[1:]]
    error = math.sqrt(sum(spread) / fifth)
    fall = before - last
    return bool(fall > STILL_FALLING * (first - last) and fall > error)


def _best(by_protocol: dict[str, float]) -> tuple[float, str]:
    return max((value, name) for name, value in by_protocol.items())


def _margin(accuracy: float, held_out: int) -> float:
    # One sample more of either kind: of 20 samples that are all right, the share is not known to be 1.
    share = (accuracy * held_out + 1) / (held_out + 2)
    return math.sqrt(2 * share * (1 - share) / held_out) if held_out else 0.0


def _compared(gain: float, what: str, *, first: bool) -> str:
    """Return a difference in words; the first of several names the unit.

    >>> _compared(0.05, "k-NN", first=True), _compared(-0.1, "k-NN", first=False), _compared(-0.0, "k-NN", first=True)
    ('+5.0 points over k-NN', '10.0 under k-NN', 'as many points as k-NN')
    """
    shown = f"{abs(100 * gain):.1f}"
    unit = " points" if first else ""
    if float(shown) == 0:
        return f"as many{unit} as {what}"
    return f"+{shown}{unit} over {what}" if gain > 0 else f"{shown}{unit} under {what}"


def _named(name: str, protocol: str) -> str:
    return {
        START: "the weights that training started from",
        UNTRAINED: "the untrained backbone",
        RAW: ON_RAW.get(protocol, "the raw input"),
    }[name]
