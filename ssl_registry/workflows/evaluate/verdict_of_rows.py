"""The verdict on an evaluation, from its rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ssl_registry.errors import ConfigError
from ssl_registry.runs.opened import OpenedRun
from ssl_registry.workflows.evaluate.results import EvaluateResult, EvaluationRow
from ssl_registry.workflows.verdict import Evidence, verdict

__all__ = ["verdict_of_rows"]

COMPARED = ("trained", "start", "untrained", "raw")
LINEAR = ("linear", "sgd", "adam")


def verdict_of_rows(result: EvaluateResult, run: OpenedRun) -> str:
    """Return in words what an evaluation says of a backbone, a line for each number of labels.

    Empty where the task is not classification.

    Args:
        result: without its verdict.
        run: that was evaluated; whether it diverged is in its results.
    """
    if result.task != "classification":
        return ""
    by_labels: dict[str, list[EvaluationRow]] = {}
    for row in result.rows:
        by_labels.setdefault(row.protocol.partition(" ")[2], []).append(row)
    diverged = _diverged(run)
    said = []
    # All labels first, then as they were asked for; the classifier of a fine-tuned run is no protocol of these.
    for labels, rows in sorted(by_labels.items(), key=lambda item: item[0] != ""):
        figures, errors = _figures(rows, result.seeds)
        if figures.get("trained"):
            seen = labels.replace(" a class", " labels a class").replace(" %", " % of the labels")
            errors = errors if labels else {}  # of all labels the seeds draw nothing but a part to choose a strength by
            said.append(verdict(Evidence(figures, result.test, labels=seen, errors=errors, diverged=diverged)))
    return "\n".join(dict.fromkeys(said))


def _figures(
    rows: Sequence[EvaluationRow], seeds: int
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Return accuracies by features and protocol, and their standard errors over seeds."""
    figures: dict[str, dict[str, float]] = {}
    errors: dict[str, dict[str, float]] = {}
    for row in rows:
        name = row.protocol.partition(" ")[0]
        protocol = "linear" if name in LINEAR else name
        if row.features in COMPARED and protocol in ("linear", "knn", "boosting"):
            accuracy = row.metrics["accuracy"]
            if accuracy.mean >= figures.setdefault(row.features, {}).get(protocol, 0.0):
                figures[row.features][protocol] = accuracy.mean
                errors.setdefault(row.features, {})[protocol] = (accuracy.std or 0.0) / math.sqrt(seeds)
    return figures, errors


def _diverged(run: OpenedRun) -> bool:
    try:
        return run.run is not None and run.classifier is None and run.run.read_results().diverged
    except ConfigError:  # a damaged file, which has no say in what was measured
        return False
