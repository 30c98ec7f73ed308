"""Encoders of signals and tables: their tokens, what hides them, and the places that their weights have."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ssl_registry import registry
from ssl_registry.errors import BackboneError
from ssl_registry.model.backbones import list_backbones
from ssl_registry.model.encoders import ENCODERS
from ssl_registry.model.optimizers import without_decay
from ssl_registry.nn import (
    DilatedEncoder,
    ResNet1d,
    SignalTransformer,
    TableTransformer,
    sine_cosine_positions,
    tokens,
)

ENCODERS_OF_SIGNALS = {
    "dilated": lambda: DilatedEncoder(3, hidden_dim=8, out_features=12, depth=3),
    "resnet": lambda: ResNet1d(3, channels=(4, 8)),
    "transformer": lambda: SignalTransformer(3, patch_size=4, dim=16, depth=2, num_heads=2),
}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def transformer() -> SignalTransformer:
    torch.manual_seed(0)
    return SignalTransformer(3, patch_size=4, dim=16, depth=2, num_heads=2).eval()


def table() -> TableTransformer:
    torch.manual_seed(0)
    return TableTransformer(7, dim=16, depth=2, num_heads=2).eval()


@pytest.mark.parametrize("build", ENCODERS_OF_SIGNALS.values(), ids=ENCODERS_OF_SIGNALS)
def test_width_does_not_depend_on_the_length(build) -> None:
    """Neither the features nor the weights do."""
    network = build().eval()
    widths = {network(noise(2, 3, length)).shape for length in (16, 64, 128)}
    assert widths == {(2, network.out_features)}


def test_the_dilated_encoder_sees_as_far_as_its_dilation() -> None:
    """Blocks of two convolutions with dilations 1, 2, 4 and 8 and kernel 3 see 30 moments to either side."""
    torch.manual_seed(0)
    network = DilatedEncoder(1, hidden_dim=4, out_features=4, depth=3).double().eval()
    x = noise(1, 1, 129).double().requires_grad_()
    (gradient,) = torch.autograd.grad(network.tokens(x).patches[0, 64].sum(), x)
    seen = gradient[0, 0].nonzero().flatten()
    assert (int(seen.min()), int(seen.max())) == (64 - 30, 64 + 30)


def test_masked_moments_of_the_dilated_encoder_cannot_be_seen() -> None:
    """A token stands in their place behind the first layer."""
    torch.manual_seed(0)
    network = DilatedEncoder(3, hidden_dim=8, out_features=12, depth=2).eval()
    mask = torch.zeros(2, 20, dtype=torch.bool)
    mask[:, 5:9] = True
    x, other = noise(2, 3, 20), noise(2, 3, 20, seed=1)
    mixed = torch.where(mask.unsqueeze(1), other, x)
    token = noise(8)
    found, same = (tokens(network, signal, mask=mask, mask_token=token).patches for signal in (x, mixed))
    assert torch.equal(found, same)
    with pytest.raises(BackboneError, match="cannot drop patches"):
        tokens(network, x, keep=torch.zeros(2, 3, dtype=torch.int64))


@pytest.mark.parametrize(("build", "shape"), [(transformer, (2, 3, 32)), (table, (2, 7))])
def test_kept_tokens_do_not_depend_on_the_others(build, shape) -> None:
    """Dropped ones cost nothing and are not seen; a permuted choice gives permuted tokens."""
    network, x, other = build(), noise(*shape), noise(*shape, seed=1)
    keep = torch.tensor([[4, 0, 2], [1, 5, 3]])
    hidden = torch.ones(network.tokens(x).patches.shape[:2], dtype=torch.bool).scatter(1, keep, value=False)
    at = hidden.repeat_interleave(shape[-1] // hidden.shape[1], 1)
    mixed = torch.where(at if x.ndim == 2 else at.unsqueeze(1), other, x)
    found = tokens(network, x, keep=keep).patches
    torch.testing.assert_close(found, tokens(network, mixed, keep=keep).patches)
    torch.testing.assert_close(found.flip(1), tokens(network, x, keep=keep.flip(1)).patches)
    everything = torch.arange(hidden.shape[1]).expand(2, -1)
    torch.testing.assert_close(tokens(network, x, keep=everything).patches, network.tokens(x).patches)
    torch.testing.assert_close(network(x), network.tokens(x).patches.mean(1))


@pytest.mark.parametrize(("build", "shape"), [(transformer, (2, 3, 32)), (table, (2, 7))])
def test_masked_tokens_keep_their_place(build, shape) -> None:
    """Values behind a mask are not seen, and two masked tokens differ by where they are."""
    network, x, other = build(), noise(*shape), noise(*shape, seed=1)
    count = network.tokens(x).patches.shape[1]
    mask = torch.zeros(2, count, dtype=torch.bool)
    mask[:, 2:5] = True
    at = mask.repeat_interleave(shape[-1] // count, 1)
    mixed = torch.where(at if x.ndim == 2 else at.unsqueeze(1), other, x)
    found = tokens(network, x, mask=mask, mask_token=noise(16)).patches
    torch.testing.assert_close(found, tokens(network, mixed, mask=mask, mask_token=noise(16)).patches)
    assert not torch.allclose(found[:, 2], found[:, 3])


def test_layers() -> None:
    """The last one is that before the norm."""
    network, x = transformer(), noise(2, 3, 32)
    found = tokens(network, x, layers=(0, -1))
    assert [part.shape for part in found.layers] == [(2, 8, 16)] * 2
    torch.testing.assert_close(network.norm(found.layers[1]), found.patches)
    assert len(tokens(ResNet1d(3, channels=(4, 8)), x, layers=(0, 1)).layers) == 2


def test_positions_are_added() -> None:
    """Equal patches of time differ by their sines and cosines alone."""
    network = transformer()
    content, positions = network.embed(torch.ones(1, 3, 32))
    assert torch.equal(content[:, 0], content[:, 5])
    torch.testing.assert_close(positions, sine_cosine_positions((8,), 16))


def test_features_of_a_table_have_no_weight_decay() -> None:
    """As in the authors' code; what is inside of the blocks has."""
    network = table()
    names = {name for name, p in network.named_parameters() if id(p) in without_decay(network)}
    assert {"feature_weight", "feature_embed", "norm.weight"} <= names
    assert "blocks.0.attn.qkv.weight" not in names


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: SignalTransformer(3, patch_size=5)(noise(2, 3, 32)), "multiple of its patch_size=5"),
        (lambda: SignalTransformer(3, dim=10, num_heads=4), "divisible by num_heads"),
        (lambda: TableTransformer(7)(noise(2, 6)), r"takes \[batch, 7\]"),
        (lambda: DilatedEncoder(3, kernel_size=4), "kernel_size odd"),
        (lambda: ResNet1d(3)(noise(2, 2, 9)), r"takes \[batch, 3, time\]"),
    ],
)
def test_what_does_not_fit_is_told(build, words: str) -> None:
    """With what would."""
    with pytest.raises(BackboneError, match=words):
        build()


@pytest.mark.parametrize(
    ("modality", "shape"), [("signal", (3, 50)), ("signal", (1, 178)), ("signal", (12, 5000)), ("table", (9,))]
)
def test_each_is_a_backbone_by_name(modality: str, shape: tuple[int, ...]) -> None:
    """For any length, with features of a sensible number."""
    names = list_backbones(modality=modality)
    assert set(names) <= set(ENCODERS.own)
    for name in names:
        model = registry.create("lfr", backbone=name, input_shape=shape)
        assert isinstance(model.backbone, nn.Module)
        assert model.feature_dim <= 4096
    assert "resnet18" not in names
    assert "resnet18" in list_backbones("resnet1*", modality="image")
