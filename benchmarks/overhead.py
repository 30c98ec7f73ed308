"""What the plugin contract and Lightning cost a step: a Trainer's run against a hand-written loop.

Both do the same arithmetic on the same ready-made views: BYOL on a ResNet-18 at 32 px. The loop calls nothing
of the core but its blocks; the run has the module, the hooks, the context, seeding, freezing and logging to a file.
"""

from __future__ import annotations

import argparse
import copy
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator

import torch
from harness import Measured, arguments, write
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ssl_registry import SSLModule, registry
from ssl_registry.nn import update_momentum

SECTION = "Cost of the contract and of Lightning's Trainer"


class Alternate(Callback):
    """After each step of the Trainer makes one by hand, and notes how long both took."""

    def __init__(self, by_hand: Callable[[], object], device: str) -> None:
        self.by_hand = by_hand
        self.device = device
        self.seconds: list[tuple[float, float]] = []
        self.resumed = 0.0

    def on_train_batch_end(self, *_: object) -> None:
        """Read the clock before and after the step by hand."""
        ended = self.now()
        self.by_hand()
        resumed = self.now()
        if self.resumed:
            self.seconds.append((ended - self.resumed, resumed - ended))
        self.resumed = resumed

    def now(self) -> float:
        """Return the time, once the device has done what it was told."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()


def hand_written(model: SSLModule, views: list[Tensor]) -> Callable[[], object]:
    """BYOL's step in plain torch."""
    backbone, heads = model.backbone.train(), model.heads.train()
    projection, prediction, target = heads["projection_head"], heads["prediction_head"], heads["target"]
    model.to(memory_format=torch.channels_last)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-5, weight_decay=1e-6, fused=True)

    def step() -> None:
        p0, p1 = (prediction(projection(backbone(view))) for view in views)
        with torch.no_grad():
            z0, z1 = (target(view) for view in views)
        loss = -0.5 * (F.cosine_similarity(p0, z1).mean() + F.cosine_similarity(p1, z0).mean())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        update_momentum((backbone, projection), target, 0.996)

    return step


def alternate(model: SSLModule, views: list[Tensor], steps: int, device: str) -> list[tuple[float, float]]:
    """Return the seconds of each step of a Trainer's run, and of the step by hand that followed it."""
    clock = Alternate(hand_written(copy.deepcopy(model), views), device)
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            max_steps=steps,
            accelerator="gpu" if device.startswith("cuda") else "cpu",
            devices=1,
            logger=CSVLogger(folder),
            log_every_n_steps=10,
            callbacks=[clock],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(model, DataLoader([views] * steps, batch_size=None))
    return clock.seconds


def measure(options: argparse.Namespace) -> Iterator[Measured]:
    for size, batch, steps in ((32, 64, 6 * options.rounds), (32, 8, 10 * options.rounds)):
        # The stem for photographs: of a step that is nine times as long nothing beside the network is seen.
        network = {"backbone": "resnet18", "image_size": size, "low_resolution": False}
        model = registry.create("byol", **network, learning_rate=1e-5, seed=0)
        model.to(options.device)
        views = [torch.randn(batch, 3, size, size, device=options.device) for _ in range(2)]
        pairs = alternate(model, views, steps, options.device)
        ratio = statistics.median(hand / run for run, hand in pairs)
        work = f"BYOL, ResNet-18, {size} px, batch {batch}"
        whos = {"ours: Trainer, module, hooks, log": (1.0, None), "hand-written loop": (ratio, 0.98)}
        for (who, (times_ours, goal)), seconds in zip(whos.items(), zip(*pairs, strict=True), strict=True):
            low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
            yield Measured(SECTION, work, who, median, low, high, times_ours, goal)


if __name__ == "__main__":
    options = arguments(__doc__)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(0)
    rows = list(measure(options))
    for row in rows:
        print(f"{row.work:<40}{row.who:<36}{1e3 * row.seconds:>9.2f} ms{row.ratio:>8.3f} times ours")
    write(rows, options)
