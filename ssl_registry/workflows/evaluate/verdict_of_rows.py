"""The verdict on an evaluation, from its rows."""

from __future__ import annotations

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
        figures, deviation = _figures(rows)
        if figures.get("trained"):
            seen = labels.replace(" a class", " labels a class").replace(" %", " % of the labels")
            deviation = deviation if labels else 0.0
            said.append(verdict(Evidence(figures, result.test, labels=seen, deviation=deviation, diverged=diverged)))
    return "\n".join(dict.fromkeys(said))


def _figures(rows: Sequence[EvaluationRow]) -> tuple[dict[str, dict[str, float]], float]:
    """Return accuracies by features and protocol, and the largest deviation of any over seeds."""
    figures: dict[str, dict[str, float]] = {}
    deviation = 0.0
    for row in rows:
        name = row.protocol.partition(" ")[0]
        protocol = "linear" if name in LINEAR else name
        if row.features in COMPARED and protocol in ("linear", "knn", "boosting"):
            found, accuracy = figures.setdefault(row.features, {}), row.metrics["accuracy"]
            found[protocol] = max(accuracy.mean, found.get(protocol, 0.0))
            deviation = max(deviation, accuracy.std or 0.0)
    return figures, deviation


def _diverged(run: OpenedRun) -> bool:
    try:
        return run.run is not None and run.classifier is None and run.run.read_results().diverged
    except ConfigError:  # a damaged file, which has no say in what was measured
        return False
