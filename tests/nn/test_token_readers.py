"""Tokens equal timm's own, whatever is dropped or masked; what is hidden cannot be seen."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ssl_registry.errors import BackboneError
from ssl_registry.nn import SignalEncoder, embedding_dim, tokens

# Without and with registers, with rotary positions of three kinds, a norm before the blocks, and one behind pooling.
NETWORKS = {
    "vit_tiny_patch16_224": {},
    "deit3_small_patch16_224": {},
    "vit_small_patch14_reg4_dinov2": {},
    "vit_base_patch16_clip_224": {},
    "eva02_tiny_patch14_224": {},
    "vit_small_patch16_rope_mixed_224": {},
    "vit_small_patch16_dinov3": {},
    "no class token": {"class_token": False, "global_pool": "avg"},
    "distilled": {},
}
TIMM_NAMES = {"no class token": "vit_tiny_patch16_224", "distilled": "deit_tiny_distilled_patch16_224"}
ROWS, COLUMNS = 3, 4
N = ROWS * COLUMNS


def build(name: str, *, dynamic: bool = False, **options) -> nn.Module:
    """Build a network of two narrow blocks; a dynamic one is made for another size than it is given."""
    torch.manual_seed(0)
    patch = 14 if "patch14" in name else 16
    size = (4 * patch, 4 * patch) if dynamic else (ROWS * patch, COLUMNS * patch)
    small = {"depth": 2, "embed_dim": 64, "num_heads": 2, "num_classes": 0}
    options = {**small, "dynamic_img_size": dynamic, **NETWORKS[name], **options}
    network = timm.create_model(TIMM_NAMES.get(name, name), img_size=size, **options)
    for parameter in network.parameters():  # no zeros or ones, which would hide what they multiply
        nn.init.normal_(parameter, std=0.05)
    return network.eval()


def images(network: nn.Module, batch: int = 2, seed: int = 0) -> torch.Tensor:
    patch, _ = network.patch_embed.patch_size
    return torch.randn(batch, 3, ROWS * patch, COLUMNS * patch, generator=torch.Generator().manual_seed(seed))


def flat(found) -> torch.Tensor:
    return torch.cat([found.prefix, found.patches], 1)


def timms(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """All tokens by timm's own forward, through the norm that it has behind the pooling."""
    return network.fc_norm(network.forward_features(x))


def other_pixels(network: nn.Module, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Change the pixels of the patches where ``hidden``, [batch, N], is True."""
    patch, _ = network.patch_embed.patch_size
    where = hidden.view(-1, 1, ROWS, COLUMNS).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    return torch.where(where, images(network, len(x), seed=1), x)


def fake_on_cuda(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor like it on CUDA; in FakeTensorMode alone, where there is no such device."""
    fake = torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")
    return nn.Parameter(fake) if isinstance(tensor, nn.Parameter) else fake


every_network = pytest.mark.parametrize("name", NETWORKS)
both_sizes = pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
KEEP = torch.tensor([[0, 3, 5, 10], [11, 2, 7, 4]])


@every_network
@both_sizes
def test_tokens_are_those_of_timm(name, dynamic):
    """Bit for bit, on a rectangle; prefix and patches apart, the grid in rows and columns."""
    network = build(name, dynamic=dynamic)
    x = images(network)
    found = tokens(network, x)
    assert torch.equal(flat(found), timms(network, x))
    assert found.prefix.shape[1] == network.num_prefix_tokens
    assert (found.patches.shape[1], found.grid) == (N, (ROWS, COLUMNS))


@every_network
@both_sizes
def test_order_of_kept_patches_is_theirs(name, dynamic):
    """All patches in another order give the same tokens in that order, so positions go with their patches."""
    network = build(name, dynamic=dynamic)
    x = images(network)
    order = torch.stack([torch.randperm(N, generator=torch.Generator().manual_seed(seed)) for seed in range(2)])
    whole, found = tokens(network, x), tokens(network, x, keep=order)
    wanted = torch.stack([patches[numbers] for patches, numbers in zip(whole.patches, order, strict=True)])
    torch.testing.assert_close(found.patches, wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.prefix, whole.prefix, rtol=0, atol=1e-5)


@every_network
@both_sizes
def test_dropped_patches_cannot_be_seen(name, dynamic):
    """Other pixels in dropped patches change nothing, in kept ones they do."""
    network = build(name, dynamic=dynamic)
    x = images(network)
    kept = torch.zeros(2, N, dtype=torch.bool).scatter_(1, KEEP, True)
    found = tokens(network, x, keep=KEEP)
    assert (found.patches.shape[1], found.grid) == (4, (ROWS, COLUMNS))
    assert torch.equal(flat(found), flat(tokens(network, other_pixels(network, x, ~kept), keep=KEEP)))
    assert not torch.equal(flat(found), flat(tokens(network, other_pixels(network, x, kept), keep=KEEP)))


@every_network
@both_sizes
def test_masked_patches_cannot_be_seen(name, dynamic):
    """Other pixels in masked patches change nothing; the mask token does, and gets a gradient."""
    network = build(name, dynamic=dynamic)
    x = images(network)
    mask = torch.zeros(2, N, dtype=torch.bool).scatter_(1, KEEP, True)
    token = torch.randn(network.embed_dim, requires_grad=True)
    found = flat(tokens(network, x, mask=mask, mask_token=token))
    assert found.shape[1] == network.num_prefix_tokens + N
    hidden = tokens(network, other_pixels(network, x, mask), mask=mask, mask_token=token)
    assert torch.equal(found, flat(hidden))
    assert not torch.equal(found, flat(tokens(network, x, mask=mask, mask_token=token + 1)))
    assert not torch.equal(found, flat(tokens(network, other_pixels(network, x, ~mask), mask=mask, mask_token=token)))
    found.square().sum().backward()
    assert token.grad.abs().min() > 0


@every_network
def test_positions_of_masked_patches_are_known(name):
    """Masked patches differ in nothing but their places, and their tokens differ."""
    network = build(name)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 4  # attention that is far from even, so that rotary positions show
        mask = torch.arange(N).unsqueeze(0) < N // 2
        token = torch.randn(network.embed_dim)
        found = tokens(network, images(network, 1), mask=mask, mask_token=token).patches[0, : N // 2]
    assert torch.pdist(found).min() > 1e-3  # rounding alone makes 1e-6


@every_network
def test_layers_are_what_blocks_leave(name):
    """Patch tokens behind a block, without the last norm, as timm's own intermediates."""
    network = build(name)
    x = images(network)
    found = tokens(network, x, layers=(-1, 0)).layers
    first, last = network.forward_intermediates(x, intermediates_only=True, output_fmt="NLC")
    if isinstance(first, tuple):
        (first, _), (last, _) = first, last
    assert len(found) == 2
    assert torch.equal(found[0], last)
    assert torch.equal(found[1], first)


@every_network
def test_training_draws_as_timm_does(name):
    """Position dropout, stochastic depth and patch dropout are those of timm's forward, number for number."""
    dropout = {"pos_drop_rate": 0.1, "drop_path_rate": 0.3, "patch_drop_rate": 0.5}
    network = build(name, **dropout).train()
    x = images(network)
    torch.manual_seed(0)
    wanted = timms(network, x)
    torch.manual_seed(0)
    assert torch.equal(flat(tokens(network, x)), wanted)
    assert wanted.shape[1] < N


@every_network
@pytest.mark.parametrize("request_of", [lambda dim: {"keep": KEEP}, lambda dim: {"mask": KEEP.new_zeros(2, N) == 0}])
def test_hidden_patches_exclude_patch_dropout(name, request_of):
    """A network that drops patches by itself does not tell which; in evaluation it drops none."""
    network = build(name, patch_drop_rate=0.5).train()
    request = {**request_of(network.embed_dim), "mask_token": torch.zeros(network.embed_dim)}
    with pytest.raises(BackboneError, match="patch_drop_rate"):
        tokens(network, images(network), **request)
    tokens(network.eval(), images(network), **request)


@every_network
def test_gradient_checkpointing_gives_the_same(name):
    """The same gradients, and blocks are computed again in the backward pass."""
    network = build(name)
    x = images(network)
    calls = []
    network.blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))

    def gradients() -> list[torch.Tensor]:
        network.zero_grad()
        calls.clear()
        found = tokens(network, x, keep=KEEP, layers=(0,))
        (flat(found).square().sum() + found.layers[0].square().sum()).backward()
        return [p.grad.clone() for p in network.parameters() if p.grad is not None]

    wanted = gradients()
    assert len(calls) == 1
    network.set_grad_checkpointing(True)
    found = gradients()
    assert len(calls) == 2
    assert all(map(torch.equal, found, wanted))


@every_network
def test_half_precision(name):
    """Under autocast all is as timm's forward has it, and a mask token of float32 does not change the type."""
    network = build(name)
    x = images(network)
    mask = torch.zeros(2, N, dtype=torch.bool)
    mask[:, :3] = True
    with torch.autocast("cpu", torch.bfloat16):
        wanted = timms(network, x)
        assert torch.equal(flat(tokens(network, x)), wanted)
        masked = tokens(network, x, mask=mask, mask_token=torch.zeros(network.embed_dim))
        kept = tokens(network, x, keep=KEEP)
    assert masked.patches.dtype == kept.patches.dtype == wanted.dtype


@every_network
@both_sizes
def test_nothing_stays_on_the_host(name, dynamic):
    """On fake CUDA tensors all is on the device, and nothing waits for it."""
    network = build(name, dynamic=dynamic)
    given = (images(network), KEEP, torch.zeros(network.embed_dim))
    with FakeTensorMode():
        fakes = {id(t): fake_on_cuda(t) for t in (*network.parameters(), *network.buffers())}
        network = copy.deepcopy(network, fakes)
        x, keep, token = map(fake_on_cuda, given)
        found = tokens(network, x, keep=keep, mask=keep.new_zeros(2, N) == 0, mask_token=token, layers=(0,))
    assert {part.device.type for part in (found.prefix, found.patches, *found.layers)} == {"cuda"}
    assert found.patches.shape[1] == 4


@pytest.mark.slow
@every_network
@both_sizes
def test_full_size(name, dynamic):
    """Networks as timm makes them, at the size that they are made for."""
    torch.manual_seed(0)
    options = {"num_classes": 0, "dynamic_img_size": dynamic, **NETWORKS[name]}
    network = timm.create_model(TIMM_NAMES.get(name, name), **options).eval()
    x = torch.randn(1, *network.pretrained_cfg["input_size"])
    with torch.no_grad():
        whole = tokens(network, x)
        assert torch.equal(flat(whole), timms(network, x))
        order = torch.randperm(whole.patches.shape[1]).unsqueeze(0)
        found = tokens(network, x, keep=order)
    torch.testing.assert_close(found.patches, whole.patches[:, order[0]], rtol=0, atol=1e-5)


# --- networks that are no plain vision transformers -------------------------------------------------------

# A convolutional network, one with its norm behind the pooling, channels last, a class token, and no known prefix.
MAPS = {
    "resnet18": 32,
    "convnext_atto": 32,
    "swin_tiny_patch4_window7_224": 64,
    "beit_base_patch16_224": 32,
    "efficientformer_l1": 224,
}


def build_map(name: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    size = MAPS[name]
    options = {
        "beit_base_patch16_224": {"img_size": size, "depth": 1, "embed_dim": 64, "num_heads": 2},
        "swin_tiny_patch4_window7_224": {"img_size": size, "depths": (1, 1, 1, 1), "window_size": 2},
    }.get(name, {})
    network = timm.create_model(name, num_classes=0, **options).eval()
    return network, torch.randn(2, 3, size, size + (32 if size == 32 and not options else 0))


@pytest.mark.parametrize(
    ("name", "grid", "prefix"),
    [
        ("resnet18", (1, 2), 0),
        ("convnext_atto", (1, 2), 0),
        ("swin_tiny_patch4_window7_224", (2, 2), 0),
        ("beit_base_patch16_224", (2, 2), 1),
        ("efficientformer_l1", (7, 7), 0),
    ],
)
def test_feature_maps_become_tokens(name, grid, prefix):
    """Positions row by row, whatever the layout; their mean is the pooled feature where no norm follows."""
    network, x = build_map(name)
    with torch.no_grad():
        found, features = tokens(network, x), network(x)
        maps = network.forward_features(x)
    number = grid[0] * grid[1]
    assert (found.grid, found.prefix.shape[1]) == (grid, prefix)
    assert found.patches.shape == (2, number, network.num_features)
    if name == "convnext_atto":
        assert torch.equal(found.patches, network.head.norm(maps).flatten(2).mT)
    elif name.startswith("beit"):
        assert torch.equal(flat(found), network.fc_norm(maps))
    elif name == "efficientformer_l1":
        assert torch.equal(found.patches, maps)
    else:
        torch.testing.assert_close(found.patches.mean(1), features)
        last = maps if name == "resnet18" else maps.permute(0, 3, 1, 2)
        assert torch.equal(found.patches[:, 1], last[:, :, 0, 1])


def test_layers_of_a_feature_map_are_stages():
    """Stages by number, each with its own grid and width."""
    network, x = build_map("resnet18")
    with torch.no_grad():
        found = tokens(network, x, layers=(-1, 1)).layers
        wanted = network.forward_intermediates(x, intermediates_only=True)
    assert torch.equal(found[0], wanted[-1].flatten(2).mT)
    assert torch.equal(found[1], wanted[1].flatten(2).mT)


def test_steps_of_a_signal_are_tokens():
    """The encoder's features are its steps side by side; layers are its blocks."""
    encoder, x = SignalEncoder(9).eval(), torch.randn(2, 9, 128)
    found = tokens(encoder, x, layers=(0, -1))
    assert found.grid == (18,)
    assert torch.equal(found.patches.mT.flatten(1), encoder(x))
    assert [tuple(layer.shape[1:]) for layer in found.layers] == [(65, 32), (18, 128)]
    assert torch.equal(found.layers[1], found.patches)


@pytest.mark.parametrize("word", ["drop", "mask"])
@pytest.mark.parametrize("make", [lambda: build_map("resnet18"), lambda: (SignalEncoder(9), torch.randn(2, 9, 64))])
def test_neighbors_cannot_be_hidden_from_convolutions(make, word):
    """Where positions are computed together, the refusal says why and names a network that can."""
    network, x = make()
    request = {"keep": KEEP} if word == "drop" else {"mask": torch.zeros(2, 2, dtype=torch.bool)}
    with pytest.raises(BackboneError, match=rf"cannot {word} patches.*vit_small_patch16_224"):
        tokens(network, x, **request)


def test_overlapping_patches_cannot_be_hidden():
    """A transformer behind a convolutional stem has tokens, but none can be hidden from its neighbors."""
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_r_s16_p8_224", img_size=64, depth=1, num_classes=0).eval()
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(flat(tokens(network, x)), timms(network, x))
    with pytest.raises(BackboneError, match="overlapping patches"):
        tokens(network, x, keep=torch.zeros(2, 1, dtype=torch.int64))


def test_pooled_too_early():
    """A network that keeps its class token alone has no patch tokens."""
    network = timm.create_model("pit_ti_224", num_classes=0).eval()
    with pytest.raises(BackboneError, match="no patch tokens"):
        tokens(network, torch.zeros(1, 3, 224, 224))


@pytest.mark.parametrize(
    ("request_of", "words"),
    [
        (lambda: {"keep": KEEP.int()}, "of torch.int32"),
        (lambda: {"keep": KEEP[:1]}, r"\[2, 1 to 12\] of int64"),
        (lambda: {"keep": KEEP[:, :0]}, r"shape \(2, 0\)"),
        (lambda: {"keep": torch.zeros(2, 13, dtype=torch.int64)}, r"shape \(2, 13\)"),
        (lambda: {"mask": torch.zeros(2, N)}, "of torch.float32"),
        (lambda: {"mask": torch.zeros(2, 5, dtype=torch.bool)}, r"\[2, 12\] of bool"),
        (lambda: {"mask": torch.zeros(2, N, dtype=torch.bool)}, "none came"),
        (lambda: {"mask": torch.zeros(2, N, dtype=torch.bool), "mask_token": torch.zeros(7)}, r"\(7,\) came"),
        (lambda: {"layers": (2,)}, "no layer 2; the network has layers 0 to 1"),
        (lambda: {"layers": (-3,)}, "no layer -3"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(request_of, words):
    """Shapes and types are checked, and the message says what they must be."""
    network = build("vit_tiny_patch16_224")
    with pytest.raises(ValueError, match=words):
        tokens(network, images(network), **request_of())


STAGED = {
    "swin_tiny_patch4_window7_224": {"window_size": 2, "embed_dim": 16, "num_heads": (1, 1, 1, 1)},
    "swinv2_tiny_window8_256": {"window_size": 2, "embed_dim": 16, "num_heads": (1, 1, 1, 1)},
    "convnext_atto": {"dims": (16, 32, 64, 128)},
}


def staged(name: str) -> nn.Module:
    """A hierarchical network of one block a stage, for images of 64 x 96 pixels: 2 x 3 positions in the end."""
    torch.manual_seed(0)
    size = {} if "convnext" in name else {"img_size": (64, 96)}
    network = timm.create_model(name, depths=(1, 1, 1, 1), num_classes=0, **size, **STAGED[name])
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return network.eval()


@pytest.mark.parametrize("name", STAGED)
def test_a_mask_token_stands_behind_the_stem_of_hierarchical_networks(name):
    """Masked pixels cannot be seen, visible ones can; the token gets a gradient, and has the stem's width."""
    network, x, other = staged(name), *torch.randn(2, 2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, False, False, True, True, False], [False, False, True, True, True, False]])
    where = mask.view(2, 1, 2, 3).repeat_interleave(32, 2).repeat_interleave(32, 3)
    token = torch.randn(embedding_dim(network, 128), requires_grad=True)
    found = tokens(network, x, mask=mask, mask_token=token, layers=(0, -1))
    assert (token.shape, found.patches.shape, found.grid) == ((16,), (2, 6, 128), (2, 3))
    hidden = tokens(network, torch.where(where, other, x), mask=mask, mask_token=token)
    assert torch.equal(hidden.patches, found.patches)
    assert not torch.equal(
        tokens(network, torch.where(where, x, other), mask=mask, mask_token=token).patches, hidden[1]
    )
    found.patches.square().sum().backward()
    assert token.grad.abs().min() > 0


@pytest.mark.parametrize("name", STAGED)
def test_nothing_masked_is_the_plain_pass_of_hierarchical_networks(name):
    """Bit for bit, the stages too."""
    network, x = staged(name), torch.randn(2, 3, 64, 96)
    nothing = torch.zeros(2, 6, dtype=torch.bool)
    masked = tokens(network, x, mask=nothing, mask_token=torch.zeros(16), layers=(0, 1, -1))
    plain = tokens(network, x, layers=(0, 1, -1))
    assert torch.equal(masked.patches, plain.patches)
    assert all(torch.equal(a, b) for a, b in zip(masked.layers, plain.layers, strict=True))


def test_hierarchical_networks_refuse_what_cannot_be_hidden():
    """Dropped patches, overlapping ones, images that the strides do not divide, a token of another width."""
    network, nothing = staged("convnext_atto"), torch.zeros(1, 6, dtype=torch.bool)
    with pytest.raises(BackboneError, match="ConvNeXt cannot drop patches"):
        tokens(network, torch.zeros(1, 3, 64, 96), keep=torch.zeros(1, 1, dtype=torch.int64))
    with pytest.raises(BackboneError, match="64 x 90 pixels cannot be masked"):
        tokens(network, torch.zeros(1, 3, 64, 90), mask=nothing, mask_token=torch.zeros(16))
    with pytest.raises(ValueError, match=r"mask_token of shape \[16\]"):
        tokens(network, torch.zeros(1, 3, 64, 96), mask=nothing, mask_token=torch.zeros(128))
    overlapping = timm.create_model("convnext_atto_ols", num_classes=0)
    with pytest.raises(BackboneError, match="ConvNeXt cannot mask patches"):
        tokens(overlapping, torch.zeros(1, 3, 64, 96), mask=nothing, mask_token=torch.zeros(40))
