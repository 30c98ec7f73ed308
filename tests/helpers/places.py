"""A method that writes down what its context tells of each batch, in this process or in one of two."""

from __future__ import annotations

import torch
from tiny import SaveAt, Tiny, fit, make

from ssl_registry import hookimpl
from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.samples import Samples

SAMPLES = 24


class Placed(Tiny):
    """Notes indices, the samples themselves, and a number of each generator."""

    seen: list = []

    @hookimpl
    def compute_loss(self, model, views, ctx):
        self.seen.append(
            {
                "epoch": ctx.epoch,
                "indices": ctx.indices.tolist(),
                "numbers": views[0][:, 0].long().tolist(),
                "shared": torch.rand(2, generator=ctx.shared_generator).tolist(),
                "again": torch.rand(2, generator=ctx.shared_generator).tolist(),
                "own": torch.rand(2, generator=ctx.generator).tolist(),
                "host": ctx.numpy_generator.random(2).tolist(),
            }
        )
        return model.heads["head"](model(views[0])).square().mean()


def numbered(**options):
    """Rows whose first value is their number in the source."""
    x = torch.randn(SAMPLES, 5, generator=torch.Generator().manual_seed(1))
    x[:, 0] = torch.arange(SAMPLES)
    return SSLDataModule(Source("rows", "table", (5,), Samples(x)), batch_size=4, seed=5, **options)


def record(checkpoint=None, saved=None, workers=0, **arguments):
    """Train, and return what was written down; ``saved`` is (step, path) of a checkpoint on the way."""
    cls = type("Placed", (Placed,), {"seen": []})
    callbacks = [SaveAt(*saved)] if saved else []
    fit(make(cls), numbered(num_workers=workers), checkpoint, callbacks=callbacks, **arguments)
    return cls.seen


def on_rank(rank, folder):
    """Train as one of two processes, then go on from the middle of the first epoch."""
    two = {"devices": 2, "strategy": "ddp"}
    whole = record(saved=(2, f"{folder}/half.ckpt"), **two)
    torch.distributed.barrier()
    return {"whole": whole, "resumed": record(f"{folder}/half.ckpt", **two)}
