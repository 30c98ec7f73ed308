"""The moving average of a network: ours, torch's own averaged model, lightly's, and solo-learn's structure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import timm
import torch
from harness import Work, arguments, run
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ssl_registry.nn import MLP, update_momentum

SECTION = "Momentum update"


def networks() -> Iterator[tuple[str, nn.Module, dict[str, float]]]:
    """Yield what is averaged, and the ratios that are wanted."""
    yield "ResNet-50", timm.create_model("resnet50", num_classes=0), {"lightly": 1.8, "torch swa_utils": 1.5}
    yield "ResNet-18", timm.create_model("resnet18", num_classes=0), {}
    many = nn.Sequential(*(nn.Linear(16, 16) for _ in range(100)))
    yield "100 layers of 16 x 16", many, {"lightly": 4.0}
    yield "MLP 64-128-32", MLP(64, 128, 32), {"lightly": 4.0}


def contenders(online: nn.Module, m: float = 0.99) -> dict[str, Callable[[], object]]:
    """Return one update by each, of targets of their own."""
    target, theirs, written = (copy.deepcopy(online) for _ in range(3))
    averaged = AveragedModel(online, multi_avg_fn=get_ema_multi_avg_fn(m), use_buffers=False)

    def one_by_one() -> None:
        """solo-learn's and Minerva's published structure: a new tensor for each parameter."""
        with torch.no_grad():
            for a, b in zip(online.parameters(), written.parameters(), strict=True):
                b.data = m * b.data + (1 - m) * a.data

    flat = torch.cat([p.detach().flatten() for p in online.parameters()])
    flat_target = flat.clone()

    found: dict[str, Callable[[], object]] = {
        "ours": lambda: update_momentum(online, target, m),
        "torch swa_utils": lambda: averaged.update_parameters(online),
        "solo-learn (structure)": one_by_one,
        "limit: all in one flat tensor": lambda: flat_target.lerp_(flat, 1 - m),
    }
    try:
        from lightly.models.utils import update_momentum as lightly_update
    except ImportError:
        return found
    return found | {"lightly": lambda: lightly_update(online, theirs, m)}


if __name__ == "__main__":
    options = arguments(__doc__)
    works = (
        Work(name, contenders(network.to(options.device)), SECTION, goal=goal) for name, network, goal in networks()
    )
    run(works, options)
