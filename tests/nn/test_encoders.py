"""The small encoders have the published layers and say what they do not take."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ssl_registry import registry
from ssl_registry.errors import BackboneError
from ssl_registry.nn import SignalEncoder, TableEncoder


def test_signal_encoder_is_the_published_one():
    """Three blocks 9 -> 32 -> 64 -> 128, dropout after the first, 2304 features of 128 samples in time."""
    encoder = SignalEncoder(9)
    layers = list(encoder.blocks)
    block = ["Conv1d", "BatchNorm1d", "ReLU", "MaxPool1d"]
    assert [type(layer).__name__ for layer in layers] == [*block, "Dropout", *block, *block]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv1d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(9, 32), (32, 64), (64, 128)]
    assert all(c.kernel_size == (8,) and c.padding == (4,) and c.bias is None for c in convolutions)
    assert all((m.kernel_size, m.stride, m.padding) == (2, 2, 1) for m in layers if isinstance(m, nn.MaxPool1d))
    assert layers[4].p == 0.35
    assert encoder(torch.randn(2, 9, 128)).shape == (2, 2304)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.integers(1, 200),
    st.integers(1, 11),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_any_length_has_the_width_it_tells(length, kernel_size, channels, in_chans):
    """Signals from one sample in time on are encoded, to the width known beforehand."""
    encoder = SignalEncoder(in_chans, channels=channels, kernel_size=kernel_size, length=length).eval()
    out = encoder(torch.randn(2, in_chans, length))
    assert out.shape == (2, encoder.out_features) == (2, encoder.features_at(length))


@pytest.mark.parametrize("length", [128, 178, 239, 240, 1024, 5000, 100_000])
def test_features_do_not_grow_with_the_length(length):
    """Above 32 steps neighbors are averaged, the last ones too; below, nothing changes."""
    encoder = SignalEncoder(2, channels=(3, 5, 4), length=length).eval()
    x = torch.randn(1, 2, length)
    steps = encoder.blocks(x)  # [1, 4, steps]
    size = -(-steps.shape[2] // 32)
    means = torch.stack([part.mean(2) for part in steps.split(size, 2)], 2)
    torch.testing.assert_close(encoder(x), means.flatten(1))
    assert encoder.out_features == encoder(x).shape[1] <= 4 * 32
    whole = SignalEncoder(2, channels=(3, 5, 4), max_steps=None).eval()
    whole.load_state_dict(encoder.state_dict())
    assert torch.equal(whole(x), steps.flatten(1))


def test_heads_of_long_signals_fit_into_memory():
    """SimCLR's on 5,000 samples in time took 26 GB: its width is that of the features."""
    model = registry.create("simclr", backbone="signal_encoder", input_shape=(12, 5000))
    assert model.feature_dim <= 4096
    assert sum(p.numel() for p in model.parameters()) < 2e7


def test_flattening_keeps_channel_order():
    """Features are channels first, then time, as torch.flatten gives them."""
    encoder = SignalEncoder(2, channels=(3,)).eval()
    x = torch.randn(2, 2, 16)
    assert torch.equal(encoder(x), encoder.blocks(x).reshape(2, -1))


@pytest.mark.parametrize("shape", [(4, 3, 50), (4, 50, 9), (9, 50), (4, 9, 0), (4, 9, 5, 5)])
def test_other_signals_are_refused(shape):
    """An input of another shape gets an error that shows both."""
    with pytest.raises(BackboneError, match=r"\[batch, 9, time\].*got \["):
        SignalEncoder(9)(torch.zeros(shape))


@pytest.mark.parametrize(
    "options",
    [{"in_chans": 0}, {"max_steps": 0}, {"channels": ()}, {"channels": (4, 0)}, {"kernel_size": 0}, {"length": 0}],
)
def test_signal_encoder_refuses_empty_sizes(options):
    """A size of zero is named."""
    with pytest.raises(BackboneError, match="at least 1"):
        SignalEncoder(**{"in_chans": 2, **options})


def test_table_encoder_is_the_published_one():
    """Four linear layers of 256 with ReLU between them, and none after the last."""
    encoder = TableEncoder(14)
    linears = [layer for layer in encoder.mlp if isinstance(layer, nn.Linear)]
    assert [type(layer).__name__ for layer in encoder.mlp] == ["Linear", "ReLU"] * 3 + ["Linear"]
    assert [(layer.in_features, layer.out_features) for layer in linears] == [(14, 256)] + [(256, 256)] * 3
    assert (encoder(torch.randn(32, 14)) < 0).any()
    assert encoder.out_features == 256


@pytest.mark.parametrize("shape", [(4, 3), (14,), (4, 14, 1)])
def test_other_tables_are_refused(shape):
    """An input of another shape gets an error that shows both."""
    with pytest.raises(BackboneError, match=r"\[batch, 14\], and got \["):
        TableEncoder(14)(torch.zeros(shape))


def test_table_encoder_refuses_empty_sizes():
    """A size of zero is named."""
    with pytest.raises(BackboneError, match="num_layers=0"):
        TableEncoder(14, num_layers=0)
