"""Where fine-tuning starts: the head is the linear probe of the frozen features.

A random head sends large gradients of no use through the backbone in the first steps, which undoes what was learnt
(Kumar et al., 2022, "Fine-Tuning can Distort Pretrained Features", section 4: linear probing, then fine-tuning).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ssl_registry.data import SSLDataModule
from ssl_registry.errors import DataError
from ssl_registry.measures.features import extract_features
from ssl_registry.measures.probe import ProbeResult, linear_probe
from ssl_registry.measures.targets import labeled_only
from ssl_registry.runs.opened import RawNetwork

__all__ = ["Start", "fit_start"]

# What a class without a labelled sample is behind the least likely of the others, in logits.
NEVER_SEEN = 5.0


@dataclass(frozen=True)
class Start:
    """A head to start from.

    Args:
        head: the probe as a layer.
        metrics: of the probe on the test part.
    """

    head: nn.Linear
    metrics: dict[str, float]


def fit_start(
    network: RawNetwork, classes: int, loaders: SSLDataModule, device: torch.device, *, probe: bool = True
) -> Start:
    """Fit logistic regression to a network's features of the labelled samples.

    Args:
        network: as it is before fine-tuning.
        classes: of the head, counted with those that have no labelled sample.
        loaders: of the labelled samples and the test part; their seed is that of the probe's validation part.
        device: where features are computed.
        probe: False leaves the head as it was drawn, for a network whose features tell nothing yet.

    Raises:
        DataError: if samples come without labels, or there is no test part.
    """
    head = nn.Linear(network.feature_dim, classes)
    network = network.to(device)
    x, y = labeled_only(*extract_features(network, loaders.train_eval_dataloader(), device=device))
    x_test, y_test = labeled_only(*extract_features(network, loaders.test_dataloader(), device=device))
    if y is None or y_test is None:
        raise DataError(f"{loaders.source.name} says that it has labels, but its samples come without")
    found = linear_probe(x, y, x_test, y_test, seed=loaders.seed, device=device)
    if probe:
        _copy(found, head)
    return Start(head, found.metrics)


def _copy(found: ProbeResult, head: nn.Linear) -> None:
    assert found.classes is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(float(found.bias.min()) - NEVER_SEEN)
        head.weight[found.classes] = found.weight
        head.bias[found.classes] = found.bias
