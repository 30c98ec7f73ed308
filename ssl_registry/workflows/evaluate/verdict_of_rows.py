"""The verdict on an evaluation, from its rows."""

from __future__ import annotations

from ssl_registry.errors import ConfigError
from ssl_registry.runs.opened import OpenedRun
from ssl_registry.workflows.evaluate.results import EvaluateResult
from ssl_registry.workflows.verdict import Evidence, verdict

__all__ = ["verdict_of_rows"]

COMPARED = ("trained", "start", "untrained", "raw")
LINEAR = ("linear", "sgd", "adam")


def verdict_of_rows(result: EvaluateResult, run: OpenedRun) -> str:
    """Return in words what an evaluation says of a backbone; empty where the task is not classification.

    Args:
        result: without its verdict.
        run: that was evaluated; whether it diverged is in its results.
    """
    if result.task != "classification":
        return ""
    figures: dict[str, dict[str, float]] = {}
    for row in result.rows:
        protocol = "linear" if row.protocol in LINEAR else row.protocol
        if row.features in COMPARED and protocol in ("linear", "knn", "boosting"):
            found = figures.setdefault(row.features, {})
            found[protocol] = max(row.metrics["accuracy"].mean, found.get(protocol, 0.0))
    return verdict(Evidence(figures, held_out=result.test, diverged=_diverged(run)))


def _diverged(run: OpenedRun) -> bool:
    try:
        return run.run is not None and run.classifier is None and run.run.read_results().diverged
    except ConfigError:  # a damaged file, which has no say in what was measured
        return False
