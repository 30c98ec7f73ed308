"""What a context tells of a batch: which samples it holds, where its views were cut, and numbers that ranks share."""

from __future__ import annotations

import pytest
import torch
from places import SAMPLES, Placed, on_rank, record
from tiny import Tiny, fit, loader, make
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import Context, hookimpl
from ssl_registry.errors import BatchError, ConfigError, ContractError
from ssl_registry.testing.processes import run_in_two
from ssl_registry.views import SignalView, TableView, ViewPolicy


def split(seen, epoch):
    return [batch for batch in seen if batch["epoch"] == epoch]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two epochs, with a checkpoint in the midst of the first."""
    path = tmp_path_factory.mktemp("run") / "half.ckpt"
    return record(saved=(2, path)), path


def test_indices_are_those_of_the_source(whole):
    """Each batch's samples have the numbers that the context tells; an epoch holds all of them, mixed anew."""
    seen, _ = whole
    assert all(batch["indices"] == batch["numbers"] for batch in seen)
    epochs = [[index for batch in split(seen, epoch) for index in batch["indices"]] for epoch in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(SAMPLES))
    assert len({tuple(order) for order in epochs} | {tuple(range(SAMPLES))}) == 3


def test_workers_change_nothing(whole):
    """Neither indices nor random numbers."""
    assert record(workers=2) == whole[0]


def test_a_resumed_run_goes_on_with_them(whole):
    """From the middle of an epoch: the batches and numbers that were to come."""
    seen, path = whole
    assert record(path) == seen[2:]


def test_generators_are_functions_of_the_place(whole):
    """No batch has another's numbers; a second draw goes on; the three generators have nothing in common."""
    seen, _ = whole
    for name in ("shared", "again", "own", "host"):
        assert len({tuple(batch[name]) for batch in seen}) == len(seen)
    assert all(len({tuple(batch[name]) for name in ("shared", "again", "own", "host")}) == 4 for batch in seen)


def test_two_ranks(tmp_path):
    """Each knows its own samples, both draw the same shared numbers and others of their own; also when resumed."""
    first, second = (outcome.value for outcome in run_in_two(on_rank, str(tmp_path)))
    assert first is not None
    assert second is not None
    for rank in (first, second):
        assert all(batch["indices"] == batch["numbers"] for batch in rank["whole"])
        assert rank["resumed"] == rank["whole"][2:]
    epoch = [index for rank in (first, second) for batch in split(rank["whole"], 0) for index in batch["indices"]]
    assert sorted(epoch) == list(range(SAMPLES))
    for ours, theirs in zip(first["whole"], second["whole"], strict=True):
        assert (ours["shared"], ours["again"]) == (theirs["shared"], theirs["again"])
        assert ours["own"] != theirs["own"]
        assert ours["host"] != theirs["host"]


def test_a_batch_that_does_not_tell():
    """The error names loaders that do."""
    with pytest.raises(BatchError, match=r"no ctx\.indices.*SSLDataModule.*mappings"):
        fit(make(type("Placed", (Placed,), {"seen": []})), loader())


def test_indices_from_a_loader_of_ones_own():
    """A mapping may hold them; a wrong number of them is told."""

    class Asking(Tiny):
        seen: list = []

        @hookimpl
        def compute_loss(self, model, views, ctx):
            self.seen.append(ctx.indices)
            return model(views[0]).square().mean()

    batch = {"x": torch.randn(4, 5), "indices": torch.tensor([7, 8, 9, 2**40])}
    fit(make(Asking), DataLoader([batch], batch_size=None), max_epochs=1)
    assert Asking.seen[0].tolist() == [7, 8, 9, 2**40]
    batch = {**batch, "indices": torch.tensor([1, 2])}
    with pytest.raises(BatchError, match=r"indices of shape \[2\] and 4 samples"):
        fit(make(Asking), DataLoader([batch], batch_size=None), max_epochs=1)


def test_a_hook_without_a_batch():
    """It is told, rather than the last batch's indices."""

    class Late(Tiny):
        @hookimpl
        def on_step_end(self, ctx):
            return ctx.indices

    with pytest.raises(BatchError, match=r"there is no batch in this hook, so no ctx\.indices"):
        fit(make(Late), loader())


def test_a_context_that_was_made_by_hand():
    """It has what it was given."""
    context = Context(0, 0, None, 0, 1, torch.Generator(), print)
    with pytest.raises(ContractError, match="made by hand"):
        context.shared_generator  # noqa: B018


class Mean(nn.Module):
    """Average over time."""

    def forward(self, x):
        return x.mean(-1)


def seen_boxes(policy, batch):
    """Train on a batch of signals with 3 channels and 40 steps; return its views and their boxes."""
    found = []

    class Boxed(Tiny):
        @hookimpl
        def build_views(self):
            return policy

        @hookimpl
        def compute_loss(self, model, views, ctx):
            found.extend([views, [ctx.boxes(view) for view in range(len(views))]])
            return sum(model(view).square().mean() for view in views)

    model = make(Boxed, backbone=nn.Sequential(Mean(), nn.Linear(3, 4)), input_shape=(3, 40))
    fit(model, DataLoader([batch], batch_size=None), max_epochs=1)
    return found


def test_boxes_of_signals():
    """A view that is not stretched is what lies between the two steps."""
    policy = ViewPolicy(views=(SignalView(crop_scale=(0.3, 0.8), stretch=False, copies=2), SignalView()), overlap=0.5)
    x = torch.randn(4, 3, 40)
    views, boxes = seen_boxes(policy, x)
    for view, box in zip(views, boxes, strict=True):
        assert box.flipped is None
        assert box.box.tolist() == box.host.tolist()
        for row, (start, end) in enumerate(box.host):
            torch.testing.assert_close(view[row], x[row, :, start:end])
    assert boxes[2].host.tolist() == [[0, 40]] * 4


def test_boxes_of_ready_made_views():
    """Nobody knows them."""
    policy = ViewPolicy(views=(SignalView(copies=2),))
    with pytest.raises(BatchError, match="came with ready-made views"):
        seen_boxes(policy, [torch.randn(4, 3, 40), torch.randn(4, 3, 40)])


def test_tables_have_no_boxes():
    """Their rows are not cut."""

    class Boxed(Tiny):
        @hookimpl
        def build_views(self):
            return ViewPolicy(views=(TableView(corruption=0.5),))

        @hookimpl
        def compute_loss(self, model, views, ctx):
            return ctx.boxes(0)

    with pytest.raises(ConfigError, match="views of tables are not cut"):
        fit(make(Boxed), loader())
