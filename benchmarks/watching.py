"""What it costs to watch a training: guard, throughput and probe against nothing that watches.

Each turn trains BYOL for 100 steps of 64 digits (five epochs), ResNet-18 at 16 pixels; the ratio is to the training
that nothing watches. The guard looks ten times in these steps, five times as often as later.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence

from harness import Work, arguments, run
from lightning.pytorch import Callback, Trainer

from ssl_registry import SSLModule, registry
from ssl_registry.data import SSLDataModule, open_source
from ssl_registry.measures.quick import quick_probe
from ssl_registry.run_options import RunOptions
from ssl_registry.training.building import build_model
from ssl_registry.training.callbacks import CollapseGuard, DivergenceGuard, OnlineProbe, Throughput


def main() -> None:
    options = arguments(__doc__, steps=100)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # Lightning's advice
    source = open_source("digits")
    data = SSLDataModule(source, batch_size=64)

    def build() -> SSLModule:
        settings = RunOptions(backbone="resnet18", low_resolution=True)
        heads = {"hidden_dim": 512, "projection_dim": 128}
        return build_model("byol", source, settings, options=heads, registry=registry)

    def fit(callbacks: Callable[[], Sequence[Callback]]) -> Callable[[], None]:
        model = build()

        def train() -> None:
            trainer = Trainer(
                max_steps=options.steps,
                accelerator="cpu" if options.device == "cpu" else "gpu",
                devices=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                limit_val_batches=0,
                callbacks=list(callbacks()),
            )
            trainer.fit(model, datamodule=data)

        return train

    expected = quick_probe(build().embed, data, None).seconds
    contenders = {
        "nothing watches": fit(list),
        "guard": fit(lambda: [DivergenceGuard(), CollapseGuard()]),
        "guard, throughput and probe": fit(
            lambda: [DivergenceGuard(), CollapseGuard(), Throughput(), OnlineProbe(expected=expected)]
        ),
    }
    run([Work(f"{options.steps} steps of BYOL, ResNet-18, 16 px", contenders, "Watching a run")], options)


if __name__ == "__main__":
    main()
