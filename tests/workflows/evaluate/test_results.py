"""Several evaluations of one run at the same time keep each other's rows."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ssl_registry.workflows.evaluate.results import EvaluateResult, record_evaluation

WRITERS, EACH = 4, 10


def test_every_row_is_kept(tmp_path: Path) -> None:
    """Each writer reads the file and replaces it; without a lock the rows of others are lost."""
    run: Any = SimpleNamespace(folder=tmp_path)

    def write(writer: int) -> None:
        for number in range(EACH):
            name = f"{writer}-{number}"
            result = EvaluateResult(Path(name), "digits", train=1, test=1, task="classification", rows=(), seeds=1)
            saved = record_evaluation(result, run).saved
            assert saved == tmp_path / "evaluations.jsonl"

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    rows = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert {row["checkpoint"] for row in rows} == {f"{w}-{n}" for w in range(WRITERS) for n in range(EACH)}
