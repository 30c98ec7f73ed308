"""The verdict on a run, from what lies in its folder."""

from __future__ import annotations

from ssl_registry.workflows.report.facts import RunFacts
from ssl_registry.workflows.verdict import Evidence, still_falls, verdict

__all__ = ["verdict_of_run"]

# How results name features, and how a verdict does.
NAMES = {"pixels": "raw", "start": "start", "untrained": "untrained", "trained": "trained"}


def verdict_of_run(facts: RunFacts) -> str:
    """Return in words what a run's measurements say; without labels of its own, what its last evaluation said."""
    results = facts.results
    figures: dict[str, dict[str, float]] = {}
    for protocol, found in (("linear", results.linear), ("knn", results.knn)):
        for name in found.keys() & NAMES.keys():
            figures.setdefault(NAMES[name], {})[protocol] = found[name]
    if "trained" not in figures and facts.evaluated is not None:
        data, said = facts.evaluated
        return f"On {data}: {' '.join(said.splitlines())}"
    evidence = Evidence(
        figures,
        held_out=results.held_out,
        loss_falls=still_falls([value for _, value in facts.curves.get("train_loss", [])]),
        rank=results.rank,
        neighbours=results.neighbours,
        diverged=results.diverged,
        warning=results.guard or "",
    )
    return verdict(evidence)
