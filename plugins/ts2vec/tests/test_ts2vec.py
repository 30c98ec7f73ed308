"""TS2Vec: crops that overlap alike, masks behind the first layer, the loss at every scale, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from ssl_registry_ts2vec import TS2Vec, hierarchical_contrast
from ssl_registry_ts2vec.crops import cut, draw_crops
from torch import nn

from ssl_registry import registry
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.nn import DilatedEncoder, SignalEncoder
from ssl_registry.testing import method_checks

CHANNELS, LENGTH = 3, 20


def make(backbone=None, length=LENGTH, **options):
    torch.manual_seed(0)
    backbone = backbone or DilatedEncoder(CHANNELS, hidden_dim=6, out_features=8, depth=2, dropout=0)
    return registry.create("ts2vec", backbone=backbone, input_shape=(CHANNELS, length), **{"seed": 0} | options)


def signals(batch=4, seed=0):
    return torch.randn(batch, CHANNELS, LENGTH, generator=torch.Generator().manual_seed(seed))


def calls_of(model, monkeypatch):
    """Note what `model.tokens` is given and gives back."""
    calls, tokens = [], model.tokens

    def noted(x, **arguments):
        found = tokens(x, **arguments)
        calls.append((x, arguments, found.patches))
        return found

    monkeypatch.setattr(model, "tokens", noted)
    return calls


@pytest.mark.parametrize("length", [2, 3, 128])
def test_crops_overlap_within_the_signal(length):
    """0 < a_1 <= a_2 <= b_1 <= b_2 <= T (section 3.2), and at least two moments in common."""
    drawn = [draw_crops(length, seed) for seed in range(200)]
    for crops in drawn:
        assert 0 == crops.start_1 <= crops.start_2 < crops.end_1 <= crops.end_2 <= length
        assert crops.overlap >= 2
    assert len({crops.overlap for crops in drawn}) == len(range(2, length + 1)) or length > 100
    assert draw_crops(length, 7) == draw_crops(length, 7)


def test_a_crop_is_of_time():
    """Channels stay as they are; each sample begins where it is told."""
    x = signals(2)
    found = cut(x, torch.tensor([0, 5]), 2, 9)
    assert torch.equal(found, torch.stack([x[0, :, 2:9], x[1, :, 7:14]]))


def test_the_shared_moments_are_compared(monkeypatch):
    """What goes into the loss from either crop are the same moments of the signal, each sample's own."""
    moments = torch.arange(LENGTH).float().expand(4, CHANNELS, LENGTH).clone()  # a signal that tells the time
    places = set()
    for seed in range(12):
        model = make(seed=seed)
        calls, given = calls_of(model, monkeypatch), []
        monkeypatch.setattr(
            "ssl_registry_ts2vec.method.hierarchical_contrast",
            lambda a, b, alpha, given=given: given.append((a, b)) or a.sum(),
        )
        model.batch_loss({"x": moments}, 0)
        (first, _, features_1), (second, _, features_2) = calls
        ((a, b),) = given
        overlap = a.shape[1]
        assert torch.equal(a, features_1[:, -overlap:])
        assert torch.equal(b, features_2[:, :overlap])
        assert torch.equal(first[:, 0, -overlap:], second[:, 0, :overlap])
        places.add(tuple(first[:, 0, 0].tolist()))
    assert any(len(set(place)) > 1 for place in places)  # samples are not all cut at one place


def test_masks_are_drawn_for_each_moment_of_each_crop(monkeypatch):
    """Half of them, other ones in the second crop, and what is masked is zero behind the first layer."""
    model = make()
    calls = calls_of(model, monkeypatch)
    for number in range(30):
        model.batch_loss({"x": signals()}, number)
    masks = torch.cat([arguments["mask"].flatten() for _, arguments, _ in calls]).double()
    assert masks.mean().item() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(len(masks)))
    for (x, one, features), (_, other, _) in zip(calls[::2], calls[1::2], strict=True):
        size = min(one["mask"].shape[1], other["mask"].shape[1])
        assert size < 5 or not torch.equal(one["mask"][:, -size:], other["mask"][:, :size])
        assert torch.equal(one["mask_token"], torch.zeros(6))
        hidden = torch.where(one["mask"][..., None], 0, model.backbone.input_layer(x.mT)).mT
        for block in model.backbone.blocks:
            hidden = block(hidden)
        torch.testing.assert_close(features, hidden.mT)


def test_nothing_is_masked_at_rate_zero(monkeypatch):
    """The rate is the option's."""
    model = make(mask_ratio=0.0)
    calls = calls_of(model, monkeypatch)
    model.batch_loss({"x": signals()}, 0)
    assert not any(arguments["mask"].any() for _, arguments, _ in calls)


def dual(r, other):
    """Equation 1 over the vectors of one sample, as equation 2 over those of one moment, in numbers."""
    total = 0.0
    for one, two in ((r, other), (other, r)):
        for i, vector in enumerate(one):
            among = sum(math.exp(dot(vector, v)) for v in two)
            among += sum(math.exp(dot(vector, v)) for k, v in enumerate(one) if k != i)
            total -= math.log(math.exp(dot(vector, two[i])) / among)
    return total / (2 * len(r))


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("moments", "alpha"), [(1, 0.5), (2, 0.5), (5, 0.3), (8, 1.0)])
def test_loss_is_the_papers(moments, alpha):
    """Algorithm 1 in float64, number by number: scales of 5, 2 and 1 moments, maxima over two each time."""
    a, b = torch.randn(2, 3, moments, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    r, other, scales = a.tolist(), b.tolist(), []
    while True:
        steps = len(r[0])
        samples = [dual([z[t] for z in r], [z[t] for z in other]) for t in range(steps)]
        times = [dual(one, two) for one, two in zip(r, other, strict=True)]
        scales.append(alpha * sum(samples) / steps + (1 - alpha) * sum(times) / len(times))
        if steps == 1:
            break
        r, other = (
            [[list(map(max, z[t], z[t + 1])) for t in range(0, steps - 1, 2)] for z in view] for view in (r, other)
        )
    assert hierarchical_contrast(a, b, alpha=alpha).item() == pytest.approx(sum(scales) / len(scales), abs=1e-12)


def test_defaults_are_the_papers():
    """Ten blocks of 64 to 320 features, AdamW at 0.001, half of the moments masked."""
    model = registry.create("ts2vec", input_shape=(9, 128))
    assert isinstance(model.backbone, DilatedEncoder)
    assert model.feature_dim == 320
    assert not model.heads
    config = TS2Vec.Config()
    assert (config.mask_ratio, config.alpha) == (0.5, 0.5)
    assert (config.optimizer, config.learning_rate, config.weight_decay) == ("adamw", 1e-3, 0.01)


def test_a_signal_without_a_crop_is_refused():
    """Of one moment there is nothing to cut."""
    with pytest.raises(ConfigError, match="is time the last axis"):
        make(length=1)


@pytest.mark.parametrize(
    ("backbone", "words"),
    [("signal_transformer", "for 128 of them"), (SignalEncoder(3), "mask"), (nn.Flatten(), "tokens")],
)
def test_backbones_without_moments_are_refused(backbone, words):
    """One that gives fewer tokens, one that hides none of them, one without."""
    with pytest.raises(BackboneError, match=words):
        registry.create("ts2vec", backbone=backbone, input_shape=(CHANNELS, 128))


@pytest.mark.parametrize("shape", [(3, 32, 32), (12,)])
def test_signals_alone(shape):
    """Images and tables are refused before anything is built."""
    with pytest.raises(ConfigError, match=r"does not take (images|tables)"):
        registry.create("ts2vec", backbone=nn.Flatten(), input_shape=shape)


@pytest.mark.parametrize("check", method_checks("ts2vec", slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
