"""The linear evaluation of TS-TCC, and of LFR after it: one linear layer trained by Adam on the features as given."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ssl_registry.measures.metrics import judge
from ssl_registry.measures.solvers import Linear, losses
from ssl_registry.measures.targets import check_targets, encode

__all__ = ["BEST", "adam_probe"]

# Of the authors' code, see `adam_probe`.
EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 100, 128, 3e-4, 3e-4
# Chosen on the test part, so it overestimates: it is there to compare with papers that report it.
BEST = "best_test_epoch"


def adam_probe(
    train_features: Tensor,
    train_targets: Tensor | None,
    test_features: Tensor,
    test_targets: Tensor | None,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Train a linear layer with Adam and measure it on test features.

    Learning rate 3e-4 and weight decay 3e-4, batches of 128, 100 epochs; nothing is standardised and nothing is
    chosen: it is the last epoch that is measured. So unlike `linear_probe` it depends on the features' scale.

    Source: the authors' code of LFR (layer6ai-labs/lfr), which follows that of TS-TCC (Eldele et al., 2021,
    arXiv:2106.14112).

    Args:
        train_features: [N, D].
        train_targets: see `ssl_registry.measures.targets.task_of`.
        test_features: [M, D].
        test_targets: of the same task.
        seed: of the layer's initial weights, and of the order.
        device: where it is trained.

    Returns:
        The metrics of the last epoch, as `linear_probe` gives them. For classes also ``best_test_epoch``, the highest
        accuracy of any epoch *on the test part*: some papers report it, and it is too good by construction.

    Raises:
        DataError: for missing or one-class targets.
    """
    task, train_targets = check_targets(train_features, train_targets, part="training")
    _, test_targets = check_targets(test_features, test_targets, part="test")
    classes, y = encode(task, train_targets)
    best = 0.0
    for fit in _epochs(train_features, y, task, seed, device):
        outputs = test_features @ fit.weight.T + fit.bias
        if classes is not None:
            best = max(best, float((classes[outputs.argmax(1)] == test_targets).double().mean()))
    _, _, metrics = judge(task, outputs, test_targets, classes)
    return metrics if classes is None else {**metrics, BEST: best}


def _epochs(x: Tensor, y: Tensor, task: str, seed: int, device: torch.device | str) -> Iterator[Linear]:
    """Give the layer after each epoch."""
    inputs, targets = x.to(device), y.to(device)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = nn.Linear(x.shape[1], int(y.max()) + 1 if y.ndim == 1 else y.shape[1]).to(inputs)
    optimizer = torch.optim.Adam(layer.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x), generator=generator).to(inputs.device)
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            optimizer.zero_grad()
            losses(layer(inputs[rows])[None], targets[rows], task).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        yield Linear(layer.weight.detach().to(x), layer.bias.detach().to(x))
