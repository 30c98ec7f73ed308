"""Who takes part in `accuracy.py`: each method with the settings that it and lightly's share."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What lightly's documentation gives for CIFAR-10: k-NN with k=200, best of 200 epochs, batch 128.
PUBLISHED = {
    "barlow-twins": 0.842,
    "byol": 0.869,
    "dino": 0.868,
    "moco-v2": 0.838,
    "nnclr": 0.838,
    "simclr": 0.847,
    "simsiam": 0.819,
    "swav": 0.806,
}


@dataclass(frozen=True)
class Contender:
    """A method with settings for a run of a few hundred steps of 128 small images.

    Args:
        title: in tables.
        own: the method's options, beside the optimizer's.
        method: its name in the registry; default: the contender's.
        adaptive: whether it trains with AdamW, where the paper does or takes LARS: the size of the loss does not
            matter to either. All others train with SGD, as in lightly's CIFAR-10 benchmark.
        momentum: whether it has a moving average, whose momentum is ``--momentum`` all the time.
    """

    title: str
    own: Mapping[str, Any] = field(default_factory=dict)
    method: str | None = None
    adaptive: bool = False
    momentum: bool = False


WIDE = {"projection_dim": 512}
CONTENDERS = {
    "barlow-twins": Contender("Barlow Twins", {**WIDE, "loss_scale": 1.0}, adaptive=True),
    "byol": Contender("BYOL", {"hidden_dim": 1024}, momentum=True),
    "diet": Contender("DIET", {"label_smoothing": 0.0, "warmup_steps": 60}, adaptive=True),
    "dino": Contender(
        "DINO",
        {
            "hidden_dim": 512,
            "bottleneck_dim": 128,
            "prototypes": 1024,
            "batch_norm": True,
            "final_weight_decay": None,
            "local_views": 2,
        },
        adaptive=True,
        momentum=True,
    ),
    "distill": Contender("distillation", adaptive=True),
    "lejepa": Contender(
        "LeJEPA", {"hidden_dim": 512, "projection_dim": 64, "directions": 256, "local_views": 2}, adaptive=True
    ),
    # By turns with the predictors, the backbone would train in half of the steps alone.
    "lfr": Contender("LFR", {"training": "joint"}, adaptive=True),
    "moco-v2": Contender(
        "MoCo v2", {"version": "v2", "queue_size": 1024, "momentum": 0.99}, method="moco", adaptive=True
    ),
    "moco-v3": Contender("MoCo v3", {"version": "v3", "hidden_dim": 512}, method="moco", momentum=True),
    "nnclr": Contender(
        "NNCLR",
        {"hidden_dim": 512, "prediction_hidden_dim": 512, "queue_size": 1024},
    ),
    "simclr": Contender("SimCLR", {"jitter_strength": 0.5}),
    "simclr-dcl": Contender("SimCLR, DCL", {"jitter_strength": 0.5, "loss": "dcl"}, method="simclr"),
    "simclr-dclw": Contender("SimCLR, DCLW", {"jitter_strength": 0.5, "loss": "dclw"}, method="simclr"),
    # With SGD it ended below the untrained backbone after 200 steps, as lightly's did.
    "simsiam": Contender("SimSiam", {"hidden_dim": 512, "projection_dim": 512, "bottleneck_dim": 128}, adaptive=True),
    # Small views of 12 pixels, and prototypes that rest for an epoch of six, cost seven points.
    "swav": Contender(
        "SwAV", {"hidden_dim": 512, "prototypes": 512, "frozen_epochs": 0, "local_views": 0}, adaptive=True
    ),
    "vicreg": Contender("VICReg", WIDE, adaptive=True),
}


def settings_of(name: str, options: Namespace) -> dict[str, Any]:
    """Return the options of a contender's method, those of the optimizer among them."""
    contender = CONTENDERS[name]
    if contender.adaptive:
        optimizer = {"optimizer": "adamw", "optimizer_kwargs": {}, "learning_rate": options.adaptive_rate}
    else:
        optimizer = {
            "optimizer": "momentum",
            "optimizer_kwargs": {"momentum": 0.9},
            "learning_rate": options.learning_rate,
        }
    optimizer["learning_rate"] *= options.batch / 128
    steady = {"momentum": options.momentum} if contender.momentum else {}
    if name in ("byol", "dino"):  # MoCo v2's is constant anyway, and v3's rises
        steady["final_momentum"] = options.momentum
    return {**optimizer, "weight_decay": 5e-4, "lr_schedule": "cosine", **steady, **contender.own}
