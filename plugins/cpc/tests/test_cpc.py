"""CPC: the loss of each kind of negatives, a context that knows the past alone, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from ssl_registry_cpc import CPC, future_info_nce
from torch import nn

from ssl_registry import registry
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.nn import SignalEncoder
from ssl_registry.testing import method_checks
from ssl_registry.testing.processes import run_in_two
from ssl_registry.testing.remote import values_of

SMALL = {"prediction_steps": 3, "context_dim": 8}
CHANNELS, LENGTH = 3, 32


def make(backbone=None, **options):
    torch.manual_seed(0)
    backbone = backbone or SignalEncoder(CHANNELS, channels=(8, 8), dropout=0)
    return registry.create("cpc", backbone=backbone, input_shape=(CHANNELS, LENGTH), seed=0, **SMALL | options)


def inputs(batch=3, steps=5, ahead=2, dim=4):
    generator = torch.Generator().manual_seed(0)
    predictions = torch.randn(batch, steps, ahead, dim, dtype=torch.float64, generator=generator)
    return predictions.requires_grad_(), torch.randn(batch, steps, dim, dtype=torch.float64, generator=generator)


def formula(predictions, tokens, allowed):
    """Equation 4 in numbers; ``allowed(place, positive)`` says whether a step is a negative."""
    batch, steps, ahead, _ = predictions.shape
    by_k = []
    for k in range(1, ahead + 1):
        losses = []
        for sample in range(batch):
            for t in range(steps - k):
                p, positive = predictions[sample, t, k - 1], (sample, t + k)

                def f(place, p=p):
                    return math.exp((p @ tokens[place]).item())

                places = [(i, j) for i in range(batch) for j in range(steps)]
                others = sum(f(place) for place in places if place != positive and allowed(place, positive))
                losses.append(-math.log(f(positive) / (f(positive) + others)))
        by_k.append(sum(losses) / len(losses))
    return sum(by_k) / ahead


@pytest.mark.parametrize(
    ("among", "allowed"),
    [
        ("mixed", lambda place, positive: True),
        ("others", lambda place, positive: place[0] != positive[0]),
        ("sample", lambda place, positive: place[0] == positive[0]),
    ],
)
def test_loss_is_the_papers(among, allowed):
    """The step to come, once, and the negatives of table 2; in float64."""
    predictions, tokens = inputs()
    found = future_info_nce(predictions, tokens, among=among)
    assert found.item() == pytest.approx(formula(predictions.detach(), tokens, allowed), abs=1e-12)


@pytest.mark.parametrize("among", ["mixed", "others"])
def test_drawn_negatives(among):
    """As many as were asked for, each at most once, without the step to come and a sample that is left out."""
    predictions, tokens = inputs()
    found = future_info_nce(
        predictions, tokens, among=among, num_negatives=6, generator=torch.Generator().manual_seed(5)
    )
    rows = torch.randperm(15, generator=torch.Generator().manual_seed(5))[:6].tolist()
    drawn = {(row // 5, row % 5) for row in rows}

    def allowed(place, positive):
        return place in drawn and (among == "mixed" or place[0] != positive[0])

    assert found.item() == pytest.approx(formula(predictions.detach(), tokens, allowed), abs=1e-12)


def test_half_precision_is_left_for_the_products():
    """Products beyond what float16 holds."""
    z = (200 * torch.eye(4)[None]).half().repeat(1, 1, 8)
    told = z.roll(-1, 1)[:, :, None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = future_info_nce(told, z)
    assert loss.dtype == torch.float32
    assert loss.item() == 0.0


@pytest.mark.parametrize(
    ("shape", "words"),
    [((2, 5, 5, 4), "none is 5 ahead"), ((2, 6, 2, 4), r"must be \[2, 6, 4\]"), ((2, 5, 0, 4), "none")],
)
def test_what_does_not_fit_is_refused(shape, words):
    """In words that name shapes and steps."""
    with pytest.raises(ValueError, match=words):
        future_info_nce(torch.ones(shape), torch.ones(2, 5, 4))


def test_context_knows_the_past_alone():
    """Other tokens to come change no prediction from here."""
    model = make()
    tokens = torch.randn(2, 6, model.token_dim, generator=torch.Generator().manual_seed(0))
    later = tokens.clone()
    later[:, 4:] = 7.0
    before, after = (model.heads["context"](z)[0] for z in (tokens, later))
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4], after[:, 4])


def test_each_step_ahead_has_its_own_matrix():
    """W_k (equation 3), the k-th part of the layer."""
    model = make(prediction_steps=2)
    x = torch.randn(4, CHANNELS, LENGTH, generator=torch.Generator().manual_seed(0))
    tokens = model.tokens(x).patches
    context, _ = model.heads["context"](tokens)
    weight = model.heads["predictors"].weight
    one, two = weight.view(2, model.token_dim, -1)
    wanted = torch.stack([context @ one.T, context @ two.T], 2)
    given = model.heads["predictors"](context).unflatten(-1, (2, -1))
    torch.testing.assert_close(given, wanted)


def test_defaults_are_the_papers():
    """A GRU of 256, 12 steps, Adam at 2e-4, negatives of all samples."""
    model = registry.create("cpc", input_shape=(9, 128))
    assert isinstance(model.backbone, SignalEncoder)
    assert model.token_grid == (18,)
    assert (model.heads["context"].input_size, model.heads["context"].hidden_size) == (128, 256)
    assert model.heads["predictors"].weight.shape == (12 * 128, 256)
    config = CPC.Config()
    assert (config.optimizer, config.learning_rate, config.negatives) == ("adam", 2e-4, "mixed")


def test_too_far_ahead_is_refused():
    """The most that can be predicted is named."""
    steps = make().token_grid[0]
    with pytest.raises(ConfigError, match=rf"the most is prediction_steps={steps - 1}"):
        make(prediction_steps=steps)


def test_a_single_token_is_refused():
    """There is nothing to come."""
    with pytest.raises((BackboneError, ConfigError), match="token"):
        registry.create("cpc", backbone=nn.Flatten(), input_shape=(CHANNELS, LENGTH))


@pytest.mark.parametrize("shape", [(3, 32, 32), (12,)])
def test_signals_alone(shape):
    """Images and tables are refused before anything is built."""
    with pytest.raises(ConfigError, match=r"does not take (images|tables)"):
        registry.create("cpc", backbone=nn.Flatten(), input_shape=shape)


def _half(number, among):
    predictions, tokens = inputs(batch=4)
    mine = slice(2 * number, 2 * number + 2)
    generator = torch.Generator().manual_seed(3)
    loss = future_info_nce(predictions[mine], tokens[mine], among=among, num_negatives=9, generator=generator)
    (gradient,) = torch.autograd.grad(loss, predictions)
    return loss.item(), gradient / 2


@pytest.mark.slow
@pytest.mark.parametrize("among", ["mixed", "others"])
def test_two_ranks(among):
    """Halves have the loss and the gradient of the whole: negatives are drawn from the samples of both."""
    found = values_of(run_in_two(_half, among))
    predictions, tokens = inputs(batch=4)
    wanted = future_info_nce(
        predictions, tokens, among=among, num_negatives=9, generator=torch.Generator().manual_seed(3)
    )
    assert sum(loss for loss, _ in found) / 2 == pytest.approx(wanted.item())
    (gradient,) = torch.autograd.grad(wanted, predictions)
    torch.testing.assert_close(sum(gradients for _, gradients in found), gradient)


@pytest.mark.parametrize("check", method_checks("cpc", slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
