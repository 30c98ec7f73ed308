"""Losses in float64, with random numbers by place in the global batch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ssl_registry import Field, Registry, hookimpl
from ssl_registry.testing import NotApplicable, Subject, all_checks
from ssl_registry.testing.comparable import _Mode
from ssl_registry.testing.runner import run_check
from tests.testing.sound import Sound

SHARE = 7
# Of all samples' axis n: how a loss draws numbers for them.
DRAWS = {
    "rand": lambda n, g: torch.rand(n, 3, generator=g),
    "size as a tuple": lambda n, g: torch.randn((n, 3), generator=g),
    "size by name": lambda n, g: torch.rand(size=(n, 3), generator=g),
    "randint": lambda n, g: torch.randint(0, 5, (n,), generator=g),
    "normal": lambda n, g: torch.normal(0.0, 1.0, (n, 2), generator=g),
    "second axis": lambda n, g: torch.rand(4, n, 2, generator=g).transpose(0, 1),
    "none for a sample": lambda n, g: torch.rand(3, generator=g).expand(n, 3),
    "bernoulli": lambda n, g: torch.bernoulli(torch.full((n, 9), 0.5), generator=g),
    "in place": lambda n, g: torch.empty(n, 3).normal_(generator=g),
    "multinomial": lambda n, g: torch.multinomial(torch.ones(n, 9), 4, generator=g),
    "dropout": lambda n, g: F.dropout(torch.ones(n, 9), 0.5),
    "like": lambda n, g: torch.rand_like(torch.ones(n, 3)),
}


def drawn(draw, place, places, batch):
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    with _Mode(batch, place, places, doubles=False):
        return torch.cat([draw(batch, generator), draw(batch, generator)], 1) if places else None


@pytest.mark.parametrize("draw", [pytest.param(draw, id=name) for name, draw in DRAWS.items()])
def test_a_sample_has_its_numbers_on_every_rank(draw):
    """What two ranks draw is what one process draws for both, the second time too."""
    with torch.random.fork_rng():
        draw = (lambda inner: lambda n, g: inner(n, g).reshape(n, -1).float())(draw)
        whole = drawn(draw, 0, 1, 2 * SHARE)
        parts = [drawn(draw, place, 2, SHARE) for place in (0, 1)]
    assert torch.equal(torch.cat(parts), whole)


def test_views_one_by_one():
    """Numbers for several views of each sample, one view behind the other."""

    def halves(place, places, batch):
        with _Mode(batch, place, places, doubles=False):
            return torch.rand(2 * batch, 3, generator=torch.Generator().manual_seed(1)).chunk(2)

    whole, first, second = halves(0, 1, 2 * SHARE), halves(0, 2, SHARE), halves(1, 2, SHARE)
    for view in (0, 1):
        assert torch.equal(torch.cat([first[view], second[view]]), whole[view])


@pytest.mark.parametrize("draw", [torch.randperm, lambda n: torch.randint(0, n, (n,))])
def test_mixing_a_batch_has_no_counterpart(draw):
    """A permutation of this device's samples is none of all."""
    with _Mode(SHARE, 0, 1, doubles=False), pytest.raises(NotApplicable, match="mixes the samples of a batch"):
        draw(SHARE)


def test_float_is_double():
    """So a head in float64 takes what a method made float32."""
    head, x = torch.nn.Linear(3, 2).double(), torch.rand(4, 3).double()
    with _Mode(0, 0, 1, doubles=True):
        assert all(head(z).dtype == torch.float64 for z in (x.float(), x.to(torch.float32), x.to(dtype=torch.float32)))


class MasksAndConverts(Sound):
    """Hides features at random, and converts to float32 before a head, arXiv:2104.02057."""

    class Config(Sound.Config):
        """Options."""

        share: float = Field(0.3, ge=0, lt=1, description="Of features that are hidden.")

    @hookimpl
    def compute_loss(self, model, views, ctx):
        """The sound loss, and that of features with holes."""
        features = model(views[0])
        hidden = torch.rand(features.shape, generator=ctx.generator, device=features.device) < self.config.share
        z = model.heads["projection_head"](F.dropout(features.masked_fill(hidden, 0).float(), 0.1, model.training))
        return super().compute_loss(model, views, ctx) + 0.1 * z.square().mean()


@pytest.fixture(scope="module")
def subject():
    registry = Registry(entry_points=False)
    registry.register("masks", MasksAndConverts)
    return Subject("masks", registry)


@pytest.mark.parametrize("name", ["accumulation", "channels_last"])
def test_a_loss_that_draws_is_checked(subject, name):
    """It is neither failed for what the kit does, nor left alone."""
    result = run_check(all_checks()[name], subject)
    assert result.status == "passed", result.reason


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two_processes", "unequal_batches", "fsdp2"])
def test_a_loss_that_draws_is_checked_in_two_processes(subject, name):
    """It draws there what it draws in one."""
    result = run_check(all_checks()[name], subject)
    assert result.status == "passed", result.reason


class MixesTheBatch(Sound):
    """Mixes the samples of its own batch, arXiv:2104.02057."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        """The sound loss of mixed views."""
        order = torch.randperm(len(views[0]), generator=ctx.generator, device=ctx.generator.device)
        return super().compute_loss(model, [view[order] for view in views], ctx)


class FailsOnTwoRanks(Sound):
    """Cannot be built where there are several ranks, arXiv:2104.02057."""

    @hookimpl
    def on_fit_start(self, model, sample, ctx):
        """Refuse."""
        if ctx.world_size > 1:
            raise ValueError("one rank only")
        super().on_fit_start(model, sample)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "name", "status", "reason"),
    [
        (MixesTheBatch, "two_processes", "skipped", "mixes the samples of a batch"),
        (FailsOnTwoRanks, "unequal_batches", "failed", "do not even train on equal batches: ValueError: one rank only"),
    ],
)
def test_verdicts(cls, name, status, reason):
    """A check that cannot tell says so; one that finds another fault does not pass."""
    registry = Registry(entry_points=False)
    registry.register("case", cls)
    result = run_check(all_checks()[name], Subject("case", registry))
    assert (result.status, reason in result.reason) == (status, True), result.reason


def test_what_ranks_share_is_left_alone():
    """Numbers of another generator than the rank's own are those of all ranks, whatever their count."""
    own, shared = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    with _Mode(SHARE, 1, 2, doubles=False, own=own):
        found = torch.rand(2 * SHARE, 3, generator=shared)
    assert torch.equal(found, torch.rand(2 * SHARE, 3, generator=torch.Generator().manual_seed(2)))
