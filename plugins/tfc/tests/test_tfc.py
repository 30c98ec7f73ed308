"""TF-C: spectra and their changes, the losses, two encoders of one architecture, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ssl_registry_tfc import TFC, changed_magnitudes, magnitudes
from torch import nn

from ssl_registry import Context, registry
from ssl_registry.errors import ConfigError
from ssl_registry.nn import SignalEncoder
from ssl_registry.testing import method_checks

CHANNELS, LENGTH = 3, 16


def make(**options):
    torch.manual_seed(1)  # not the heads' seed, with which the copy would be drawn alike
    backbone = SignalEncoder(CHANNELS, channels=(4, 6), dropout=0)
    small = {"hidden_dim": 8, "projection_dim": 5}
    return registry.create("tfc", backbone=backbone, input_shape=(CHANNELS, LENGTH), seed=0, **small | options)


def signals(batch=4, length=LENGTH, seed=0, dtype=torch.float32):
    return torch.randn(batch, CHANNELS, length, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def context(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Context(0, 0, None, rank=0, world_size=1, generator=generator, log=lambda name, value: None)


@pytest.mark.parametrize("length", [1, 2, 15, 16])
def test_magnitudes_are_those_of_numpy(length):
    """Of the whole transform, over time and not over channels, in float64."""
    x = signals(2, length, dtype=torch.float64)
    found = magnitudes(x)
    assert found.shape == x.shape
    np.testing.assert_allclose(found, np.abs(np.fft.fft(x.numpy(), axis=2, norm="ortho")), atol=1e-12)
    assert found.square().sum().item() == pytest.approx(x.square().sum().item())  # Parseval


@pytest.mark.parametrize("length", [15, 16])
def test_a_changed_spectrum_is_that_of_a_real_signal(length):
    """Its halves mirror each other."""
    x = magnitudes(signals(length=length))
    found = changed_magnitudes(x, rate=0.5, strength=0.5, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(found, x)
    assert torch.equal(found[..., 1:], found[..., 1:].flip(-1))


def test_removed_and_added():
    """As often as told, each channel by itself, up to a share of the channel's largest magnitude."""
    x = magnitudes(signals(60, 100)) + 1e-3
    found = changed_magnitudes(x, rate=0.2, strength=0.0, generator=torch.Generator().manual_seed(0))
    gone = (found == 0)[..., :51].double()
    assert gone.mean().item() == pytest.approx(0.2, abs=0.02)
    assert not torch.equal(gone[:, 0], gone[:, 1])
    assert torch.equal(found[found != 0], x[found != 0])
    more = changed_magnitudes(x, rate=0.2, strength=0.3, generator=torch.Generator().manual_seed(0)) - found
    share = (more / x.amax(2, keepdim=True))[..., :51]
    assert (share > 1e-6).double().mean().item() == pytest.approx(0.2, abs=0.02)
    assert 0.28 < share.max() <= 0.3 + 1e-6
    assert share.min() > -1e-6


def test_half_precision_goes_through():
    """A transform that there is not in bfloat16; the result has the signal's type."""
    assert magnitudes(signals().bfloat16()).dtype == torch.bfloat16


def distance(a, b, temperature):
    """NT-Xent, number by number."""
    every = [row / row.norm() for row in (*a, *b)]
    n, total = len(a), 0.0
    for i, row in enumerate(every):
        exponentials = [math.exp((row @ other).item() / temperature) for k, other in enumerate(every) if k != i]
        total -= math.log(math.exp((row @ every[(i + n) % (2 * n)]).item() / temperature) / sum(exponentials))
    return total / (2 * n)


@pytest.mark.parametrize("consistency", ["triplets", "pair"])
def test_loss_is_the_papers(consistency):
    """Each of the three losses and their sum, in float64."""
    model = make(consistency=consistency, time_frequency_weight=0.3, margin=0.7).double()
    x, noisy = signals(dtype=torch.float64), signals(seed=1, dtype=torch.float64)
    found = model.hook.compute_loss(model=model, views=[x, noisy], ctx=context(3))
    spectrum = magnitudes(x)
    changed = changed_magnitudes(spectrum, rate=0.1, strength=0.1, generator=torch.Generator().manual_seed(3))
    heads = model.heads
    with torch.no_grad():
        h_t, h_t2 = model.backbone(x), model.backbone(noisy)
        h_f, h_f2 = heads["frequency_encoder"](spectrum), heads["frequency_encoder"](changed)
        z = [[heads["time_projector"](h) for h in (h_t, h_t2)], [heads["frequency_projector"](h) for h in (h_f, h_f2)]]
    s = {(i, j): distance(z[0][i], z[1][j], 0.2) for i in (0, 1) for j in (0, 1)}
    wanted = s[0, 0]
    if consistency == "triplets":
        wanted = sum(s[0, 0] - s[pair] + 0.7 for pair in ((0, 1), (1, 0), (1, 1)))
    assert found["consistency"].item() == pytest.approx(wanted, abs=1e-9)
    assert found["time"].item() == pytest.approx(distance(h_t, h_t2, 0.2), abs=1e-9)
    assert found["frequency"].item() == pytest.approx(distance(h_f, h_f2, 0.2), abs=1e-9)
    total = 0.3 * (found["time"] + found["frequency"]).item() + 0.7 * wanted
    assert found["loss"].item() == pytest.approx(total, abs=1e-9)


def test_encoders_are_alike_and_begin_apart():
    """One architecture, other weights; the backbone keeps its own, and is the product."""
    model = make()
    twin, own = model.heads["frequency_encoder"].state_dict(), model.backbone.state_dict()
    assert {name: value.shape for name, value in twin.items()} == {name: value.shape for name, value in own.items()}
    assert not any(torch.equal(twin[name], own[name]) for name in own if "0.weight" in name and own[name].ndim == 3)
    torch.manual_seed(1)
    kept = SignalEncoder(CHANNELS, channels=(4, 6), dropout=0).state_dict()
    assert all(torch.equal(own[name], kept[name]) for name in own)
    assert model.product is model.backbone


def test_views_are_the_signal_and_noise():
    """The first is untouched; the second has noise of the option's size."""
    model = make(jitter=0.4)
    x = signals(64)
    first, second = model.view_policy.draw(x, torch.Generator().manual_seed(0))
    assert torch.equal(first, x)
    assert (second - x).std().item() == pytest.approx(0.4, abs=0.02)


def test_defaults_are_the_authors():
    """Of their configuration for this kind of set, and the core's encoder."""
    config = TFC.Config()
    assert (config.temperature, config.jitter, config.time_frequency_weight) == (0.2, 0.8, 0.2)
    assert (config.optimizer, config.learning_rate) == ("adam", 3e-4)
    assert isinstance(registry.create("tfc", input_shape=(9, 128)).backbone, SignalEncoder)


@pytest.mark.parametrize("shape", [(3, 32, 32), (12,)])
def test_signals_alone(shape):
    """Images and tables are refused before anything is built."""
    with pytest.raises(ConfigError, match=r"does not take (images|tables)"):
        registry.create("tfc", backbone=nn.Flatten(), input_shape=shape)


@pytest.mark.parametrize("check", method_checks("tfc", slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
