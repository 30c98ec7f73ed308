"""TNC: windows near and far, the loss, which windows meet, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from ssl_registry_tnc import TNC, neighborhood_loss
from ssl_registry_tnc.windows import cut_windows, far_starts, near_starts, share_of
from torch import nn

from ssl_registry import registry
from ssl_registry.errors import BackboneError, BatchError, ConfigError
from ssl_registry.nn import ResNet1d, SignalEncoder
from ssl_registry.testing import method_checks

CHANNELS, LENGTH = 3, 40


def make(backbone=None, length=LENGTH, **options):
    torch.manual_seed(0)
    backbone = backbone or ResNet1d(CHANNELS, channels=(4, 6))
    return registry.create(
        "tnc", backbone=backbone, input_shape=(CHANNELS, length), **{"seed": 0, "pairs": 3} | options
    )


def clocks(batch=4, length=LENGTH):
    """Signals that tell sample and moment: 1000 * sample + moment, in each channel."""
    values = 1000 * torch.arange(batch)[:, None] + torch.arange(length)
    return values[:, None].expand(-1, CHANNELS, -1).float().clone()


@pytest.fixture
def seen():
    """Windows that a backbone was shown, in their order."""

    class Seen(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.windows = nn.Linear(CHANNELS, 2), []

        def forward(self, x):
            if self.training:
                self.windows.append(x.detach())
            return self.linear(x.mean(2))

    return Seen()


@pytest.mark.parametrize("weight", [0.0, 0.05, 0.6])
def test_loss_is_the_papers(weight):
    """Equation 1, number by number in float64."""
    near, other = torch.randn(2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    other = other[:5]

    def d(logit):
        return 1 / (1 + math.exp(-logit))

    wanted = -sum(math.log(d(x)) for x in near.tolist()) / 7
    wanted -= sum((1 - weight) * math.log(1 - d(x)) + weight * math.log(d(x)) for x in other.tolist()) / 5
    assert neighborhood_loss(near, other, weight=weight).item() == pytest.approx(wanted, abs=1e-12)


def test_far_from_zero_nothing_overflows():
    """A discriminator that is sure and wrong costs what its logit says, in half precision too."""
    loss = neighborhood_loss(torch.tensor([-500.0]).half(), torch.tensor([500.0]).half(), weight=0.0)
    assert loss.dtype == torch.float32
    assert loss.item() == 1000


def test_near_starts_are_normal_within_the_signal():
    """Around the window's own start, with the deviation that was told."""
    normal = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    found = near_starts(torch.tensor([500, 2]), normal, width=20, last=1000)
    assert found[:, 0].double().mean().item() == pytest.approx(500, abs=1.5)
    assert found[:, 0].double().std().item() == pytest.approx(20, abs=1)
    assert found.min() == 0  # not in front of the signal


@pytest.mark.parametrize("start", [0, 3, 10, 17, 20])
def test_far_starts_are_all_that_are_far(start):
    """Each start farther than the distance comes up, about as often as any other, and no other one."""
    uniform = torch.rand(4000, 1, generator=torch.Generator().manual_seed(0))
    found = far_starts(torch.tensor([start]), uniform, distance=6, last=20).flatten().bincount(minlength=21)
    allowed = [place for place in range(21) if abs(place - start) > 6]
    assert found.nonzero().flatten().tolist() == allowed
    share = 4000 / len(allowed)
    assert all(abs(found[place] - share) < 5 * math.sqrt(share) for place in allowed)


def test_shares_reach_every_number_and_no_further():
    """Also where rounding would give the number behind the last."""
    assert share_of(torch.tensor([0.0, 0.3, 1 - 2**-24]), 100).tolist() == [0, 30, 99]


def test_windows_are_of_time():
    """Channels stay together, and each sample's window is its own."""
    x = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(0))
    found = cut_windows(x, torch.tensor([[0, 4], [5, 1]]), 4)
    wanted = [x[0, :, 0:4], x[1, :, 4:8], x[0, :, 5:9], x[1, :, 1:5]]
    assert torch.equal(found, torch.stack(wanted))


@pytest.mark.parametrize("unlabeled", ["samples", "time"])
def test_which_windows_are_seen(unlabeled, seen):
    """Each sample's own, its neighbors, and for ``time`` others of the same sample that are farther away."""
    model = make(seen, unlabeled=unlabeled, window=5, neighborhood=0.6)
    distances = {"near": [], "far": []}
    for number in range(20):
        seen.windows.clear()
        model.batch_loss({"x": clocks()}, number)
        own, near, *rest = (windows[:, 0] for windows in seen.windows)
        assert own.shape == (4, 5)
        assert near.shape == (12, 5)
        assert torch.equal((near // 1000)[:, 0], torch.arange(4.0).repeat(3))
        assert torch.equal(near.diff(dim=1), torch.ones(12, 4))  # moments follow each other
        distances["near"] += (near[:, 0] - own[:, 0].repeat(3)).abs().tolist()
        assert len(rest) == (unlabeled == "time")
        for far in rest:
            assert torch.equal((far // 1000)[:, 0], torch.arange(4.0).repeat(3))
            distances["far"] += (far[:, 0] - own[:, 0].repeat(3)).abs().tolist()
    assert 1 < sum(distances["near"]) / len(distances["near"]) < 4  # 0.8 deviations of 3
    assert not distances["far"] or min(distances["far"]) > 6


def test_no_sample_meets_itself_among_the_others():
    """Windows of other samples are unlabeled: for each sample others, and never its own."""
    model = make()
    ctx = model._context(0)
    z = torch.arange(6.0)[:, None]
    for seed in range(20):
        ctx.shared_generator.manual_seed(seed)
        met = model.method.of_other_samples(z, ctx).view(3, 6)
        for sample in range(6):
            own = met[:, sample].tolist()
            assert sample not in own
            assert len(set(own)) == 3


def test_fewer_samples_than_pairs():
    """A small batch gives as many others as it has; a single sample has none, which is said."""
    model = make(pairs=5)
    assert model.method.of_other_samples(torch.arange(3.0)[:, None], model._context(0)).shape == (6, 1)
    with pytest.raises(BatchError, match="holds one sample"):
        model.method.of_other_samples(torch.zeros(1, 1), model._context(0))


def test_defaults():
    """A network of any length, windows of a quarter, and the discriminator of the authors' code."""
    model = registry.create("tnc", input_shape=(9, 130))
    assert isinstance(model.backbone, ResNet1d)
    assert model.method.window(130) == 33
    layers = [part for part in model.heads["discriminator"] if isinstance(part, nn.Linear)]
    assert [layer.weight.shape for layer in layers] == [(512, 256), (1, 512)]
    config = TNC.Config()
    assert (config.optimizer, config.learning_rate, config.weight) == ("adam", 1e-3, 0.05)


def test_a_width_that_depends_on_the_length_is_refused():
    """What was learned on windows would not fit the features of a signal."""
    with pytest.raises(BackboneError, match="whose width does not depend on the length"):
        make(SignalEncoder(CHANNELS))


def test_a_backbone_of_one_length_is_refused():
    """It says so itself; the window's length is named."""
    fixed = nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * LENGTH, 4))
    with pytest.raises(BackboneError, match="windows of 10 moments"):
        make(fixed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 40}, "no second window"),
        ({"window": 20, "unlabeled": "time"}, "have not all of them"),
    ],
)
def test_signals_too_short_are_refused(options, words):
    """Where a window has no neighbor, or none that is far."""
    with pytest.raises(ConfigError, match=words):
        make(**options)


@pytest.mark.parametrize("shape", [(3, 32, 32), (12,)])
def test_signals_alone(shape):
    """Images and tables are refused before anything is built."""
    with pytest.raises(ConfigError, match=r"does not take (images|tables)"):
        registry.create("tnc", backbone=nn.Flatten(), input_shape=shape)


@pytest.mark.parametrize("check", method_checks("tnc", slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
