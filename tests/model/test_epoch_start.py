"""`on_epoch_start`: once an epoch, with the data at hand, and not again in an epoch that is resumed."""

from __future__ import annotations

import pytest
import torch
from tiny import SaveAt, State, Tiny, fit, loader, make, rows
from torch.utils.data import IterableDataset

from ssl_registry import hookimpl


class Clusters(Tiny):
    """Move towards a center that each epoch finds anew, from data, weights and random numbers."""

    @hookimpl
    def build_heads(self):
        return {"center": State(value=torch.zeros(4), calls=torch.zeros((), dtype=torch.long))}

    @hookimpl
    def on_epoch_start(self, model, sample, ctx):
        center = model.heads["center"]
        with torch.no_grad():
            center.value.copy_(model(sample(10)).mean(0) + torch.rand(4, generator=ctx.generator))
        center.calls += 1

    @hookimpl
    def compute_loss(self, model, views):
        return (model(views[0]) - model.heads["center"].value).square().mean()


def test_called_once_an_epoch():
    """Before its first batch, beside observers."""
    events = []

    class Watch:
        @hookimpl
        def on_epoch_start(self, ctx):
            events.append(("epoch", ctx.epoch, ctx.step))

        @hookimpl
        def on_step_end(self, ctx):
            events.append(("step", ctx.epoch, ctx.step))

    model = make(Clusters, observers=[Watch()])
    fit(model, loader(samples=8))
    assert events == [
        ("epoch", 0, 0),
        *(("step", 0, n) for n in (1, 2)),
        ("epoch", 1, 2),
        *(("step", 1, n) for n in (3, 4)),
    ]
    assert model.heads["center"].calls == 2


@pytest.mark.parametrize("steps", [2, 6, 9], ids=["in the first epoch", "between epochs", "in the second"])
def test_a_resumed_run_is_the_undisturbed_one(tmp_path, steps):
    """The center of an epoch that was begun is kept, and the next one is found alike."""
    whole, resumed = make(Clusters), make(Clusters)
    fit(whole, rows(), max_epochs=3, callbacks=[SaveAt(steps, tmp_path / "half.ckpt")])
    fit(resumed, rows(), tmp_path / "half.ckpt", max_epochs=3)
    assert resumed.heads["center"].calls == 3
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_freezing_may_depend_on_it():
    """`frozen_modules` is asked after it."""
    order = []

    class Both(Clusters):
        @hookimpl
        def on_epoch_start(self, ctx):
            order.append(ctx.epoch)

        @hookimpl
        def frozen_modules(self, ctx):
            order.append("freeze")
            return set()

    fit(make(Both), loader(samples=4), max_epochs=2)
    assert order[-4:] == [0, "freeze", 1, "freeze"]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_look_at_the_data_takes_no_batch_away(workers):
    """Not even from workers that persist."""
    steps = []

    class Watch:
        @hookimpl
        def on_step_end(self, ctx):
            steps.append(ctx.epoch)

    persists = {"num_workers": workers, "persistent_workers": bool(workers)}
    fit(make(Clusters, observers=[Watch()]), loader(samples=40, **persists))
    assert [steps.count(epoch) for epoch in range(2)] == [10, 10]


class Stream(IterableDataset):
    """Rows without a known number."""

    def __iter__(self):
        return iter(torch.randn(24, 5, generator=torch.Generator().manual_seed(1)))


def test_a_source_without_length():
    """It is looked at as well."""
    model = make(Clusters)
    fit(model, torch.utils.data.DataLoader(Stream(), batch_size=4), max_steps=3, max_epochs=1)
    assert model.heads["center"].calls == 1
