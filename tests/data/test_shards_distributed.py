"""Two real processes over shards: every sample once an epoch, and a checkpoint inside it that both go on from."""

from __future__ import annotations

import os
import tarfile
import warnings
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from torch import Tensor, nn

from ssl_registry.data import SSLDataModule, open_source
from ssl_registry.testing.processes import run_in_two

SAMPLES = 48


class Seeing(LightningModule):
    """Remembers which samples it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.seen: list[list[int]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.seen.append(batch[:, 0, 0, 0].tolist())
        return self.linear(batch[:, 0, 0, :1].float()).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-6)


def fit(folder: Path, *, save: bool, checkpoint: Path | None = None) -> list[list[int]]:
    saves = [ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)] if save else []
    model = Seeing()
    Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=2,
        logger=False,
        callbacks=saves,
        enable_checkpointing=save,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    ).fit(
        model,
        datamodule=SSLDataModule(open_source(str(folder / "*.tar"), image_size=2), batch_size=4, num_workers=2, seed=3),
        ckpt_path=checkpoint,
        weights_only=True,
    )
    return model.seen


def on_rank(rank: int, place: str, cache: str) -> dict[str, Any]:
    folder = Path(place)
    os.environ["XDG_CACHE_HOME"] = cache
    warnings.simplefilter("ignore")  # Lightning's, about a validation that is switched off
    # This process's way to start others is its own beginning's, from which a worker would import torch again.
    torch.multiprocessing.set_start_method("fork", force=True)
    whole = fit(folder, save=True)
    tails = [fit(folder, save=False, checkpoint=folder / f"step={step}.ckpt") for step in (2, 7)]
    return {"whole": whole, "tails": tails}


def test_two_processes_over_shards(tmp_path: Path) -> None:
    """48 samples in 5 unequal shards: each once in each epoch; going on inside an epoch repeats and loses none."""
    bounds = [0, 5, 19, 22, 40, SAMPLES]
    for shard, (start, end) in enumerate(pairwise(bounds)):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as archive:
            for number in range(start, end):
                stream = BytesIO()
                Image.new("L", (2, 2), number).save(stream, "PNG")
                member = tarfile.TarInfo(f"{number:03d}.png")
                member.size = stream.tell()
                stream.seek(0)
                archive.addfile(member, stream)
    outcomes = run_in_two(on_rank, str(tmp_path), str(tmp_path / "cache"))
    assert [outcome.error for outcome in outcomes] == ["", ""]
    ranks = [outcome.value for outcome in outcomes]
    steps = SAMPLES // 8
    for epoch in range(2):
        seen = [n for found in ranks for batch in found["whole"][epoch * steps : (epoch + 1) * steps] for n in batch]
        assert sorted(seen) == list(range(SAMPLES))
    for found in ranks:
        assert found["tails"] == [found["whole"][2:], found["whole"][7:]]
