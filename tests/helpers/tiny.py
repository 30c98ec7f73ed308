"""A method, a network and a training that take milliseconds, for tests of what the core does around them."""

from __future__ import annotations

import torch
from lightning.pytorch import Callback, Trainer
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import MethodConfig, Registry, hookimpl
from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.samples import Samples


class Tiny:
    """Pull each sample's head output towards zero; subclasses add the hooks that they test."""

    class Config(MethodConfig):
        """Plain gradient descent."""

        optimizer: str = "sgd"
        learning_rate: float = 0.1

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim):
        return {"head": nn.Sequential(nn.Linear(feature_dim, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))}

    @hookimpl
    def compute_loss(self, model, views):
        return model.heads["head"](model(views[0])).square().mean()


class State(nn.Module):
    """Buffers, where a method keeps what must survive: ``State(seen=torch.zeros(3))``."""

    def __init__(self, **buffers):
        super().__init__()
        for name, value in buffers.items():
            self.register_buffer(name, value)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


def make(cls, **options):
    """Create the method on `network`, for rows of five numbers."""
    registry = Registry(entry_points=False)
    registry.register("tiny", cls)
    given = {"backbone": network(), "input_shape": (5,), "seed": 3, **options}
    return registry.create("tiny", **given)


def loader(samples=24, batch_size=4, **options):
    generator = torch.Generator().manual_seed(1)
    return DataLoader(torch.randn(samples, 5, generator=generator), batch_size=batch_size, **options)


def rows(samples=24, batch_size=4, **options):
    """The same samples from the core's own loader, which shuffles, and goes on inside an epoch."""
    source = Source("rows", "table", (5,), Samples(loader(samples).dataset))
    return SSLDataModule(source, batch_size=batch_size, **options)


class SaveAt(Callback):
    """Saves a checkpoint behind one step of a run, which goes on."""

    def __init__(self, step, path):
        self.step = step
        self.path = path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def fit(model, data=None, checkpoint=None, **arguments):
    """Train on a CPU, without a trace on the disk, and return the Trainer."""
    quiet = {
        "max_epochs": 2,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "limit_val_batches": 0,
    }
    trainer = Trainer(**{**quiet, **arguments})
    data = loader() if data is None else data
    where = {"datamodule" if isinstance(data, SSLDataModule) else "train_dataloaders": data}
    trainer.fit(model, **where, ckpt_path=checkpoint, weights_only=True)
    return trainer
