"""Weighted k-NN beside lightly's: time, the same predictions as float64, and memory that is flat in the queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from harness import Work, arguments, run
from torch import Tensor
from torch.nn.functional import normalize

from ssl_registry.measures import knn_predict

SECTION = "k-NN, k=20"
TRAIN, WIDTH, CLASSES, K, TEMPERATURE = 50_000, 512, 10, 20, 0.1
BATCH = 256  # of queries at a time, in lightly's own benchmarks


def features(train: int, test: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Make features as a ReLU network gives them: none below zero, in overlapping groups."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(CLASSES, WIDTH, generator=generator)
    y, z = (torch.randint(0, CLASSES, (count,), generator=generator) for count in (train, test))
    x, queries = (
        (centers[labels] * 0.5 + torch.randn(len(labels), WIDTH, generator=generator)).relu() for labels in (y, z)
    )
    return x.to(device), y.to(device), queries.to(device)


def brute_force(x: Tensor, y: Tensor, queries: Tensor) -> Tensor:
    """The equation in float64."""
    x = normalize(x.double(), dim=1)
    found = []
    for batch in queries.split(BATCH):
        similarity, rows = (normalize(batch.double(), dim=1) @ x.T).topk(K, dim=1)
        weights = ((similarity - similarity[:, :1]) / TEMPERATURE).exp()
        found.append(weights.new_zeros(len(batch), CLASSES).scatter_add_(1, y[rows], weights).argmax(1))
    return torch.cat(found)


def contenders(x: Tensor, y: Tensor, queries: Tensor) -> dict[str, Callable[[], Tensor]]:
    found: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: knn_predict(x, y, queries, k=K, temperature=TEMPERATURE),
    }
    try:
        from lightly.utils.benchmarking.knn import knn_predict as theirs
    except ImportError:
        return found

    def lightly() -> Tensor:
        bank = normalize(x, dim=1).T.contiguous()
        batches = normalize(queries, dim=1).split(BATCH)
        return torch.cat([theirs(batch, bank, y, CLASSES, K, TEMPERATURE)[:, 0] for batch in batches])

    return found | {"lightly": lightly}


def works(device: str) -> Iterator[Work]:
    x, y, queries = features(TRAIN, 20_000, device)
    truth = brute_force(x, y, queries[:10_000])
    for count in (1_000, 10_000, 20_000):
        found = contenders(x, y, queries[:count])
        if count > len(truth):  # for its memory alone
            found = {"ours": found["ours"]}
        wrong = {who: int((predict()[: len(truth)] != truth[:count]).sum()) for who, predict in found.items()}
        assert wrong["ours"] == 0, wrong
        told = ", ".join(f"{who} {rows}" for who, rows in wrong.items())
        name = f"{TRAIN:,} x {WIDTH}, {count:,} queries (differ from float64: {told})"
        yield Work(name, found, SECTION, memory=True, goal={"lightly": 1.0}, rounds=5 if count < 20_000 else 3)


if __name__ == "__main__":
    options = arguments(__doc__)
    run(works(options.device), options)
