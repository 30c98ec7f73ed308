"""Tokens are computed in the network's own call, and leave the network as it was."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta
from types import MethodType

import pytest
import timm
import torch
import torch.distributed as dist
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from ssl_registry.errors import BackboneError
from ssl_registry.nn import MaskToken, Tokens, tokens

KEEP = torch.tensor([[0, 3], [2, 1]])


def network() -> nn.Module:
    """A transformer for images of 32 pixels, which are four patches."""
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=16, num_heads=2, num_classes=0
    ).eval()


def images() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_hooks_see_the_call():
    """Hooks around the network get the images before and the tokens behind, and may replace both."""
    net, seen = network(), []
    net.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    net.register_forward_hook(lambda module, args, out: seen.append(out))
    found = tokens(net, images())
    assert isinstance(found, Tokens)
    assert seen == [found] or seen[0] is found
    assert torch.equal(found.patches, tokens(network(), images() * 2).patches)


def test_nothing_is_left_behind():
    """Class, attributes, state and features are as before, after a refusal too."""
    net = network()
    attributes, features = dict(vars(net)), net(images())
    tokens(net, images(), keep=KEEP)
    with pytest.raises(ValueError, match="keep has shape"):
        tokens(net, images(), keep=KEEP[0])
    assert type(net) is VisionTransformer
    assert vars(net) == attributes
    assert torch.equal(net(images()), features)
    assert net.state_dict().keys() == network().state_dict().keys()


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_have_tokens(remake):
    """A copy, as a teacher is one, gives its own tokens."""
    net = network()
    wanted = tokens(net, images())
    twin = remake(net)
    nn.init.zeros_(net.patch_embed.proj.weight)
    assert torch.equal(tokens(twin, images()).patches, wanted.patches)
    assert not torch.equal(tokens(net, images()).patches, wanted.patches)


def test_a_forward_of_the_instance_is_kept():
    """What another library put in place of `forward` stays in place."""
    net = network()
    own = net.forward
    net.forward = own
    tokens(net, images())
    assert vars(net)["forward"] is own


def test_gradients_are_those_of_the_plain_forward():
    """The class token's gradient reaches every weight as it does without tokens."""
    net, twin = network(), network()
    tokens(net, images()).prefix[:, 0].square().sum().backward()
    twin(images()).square().sum().backward()
    for (name, ours), theirs in zip(net.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad), name


def test_compiled_in_place():
    """`compile()` compiles the tokens, whole, and once for each kind of request."""
    net, counter = network(), CompileCounter()
    wanted = tokens(net, images()), tokens(net, images(), keep=KEEP), net(images())
    net.compile(backend=counter, fullgraph=True)
    for _ in range(3):
        found = tokens(net, images()), tokens(net, images(), keep=KEEP), net(images())
        assert torch.equal(found[0].patches, wanted[0].patches)
        assert torch.equal(found[1].patches, wanted[1].patches)
        assert torch.equal(found[2], wanted[2])
    assert counter.frame_count == 3
    torch._dynamo.reset()


def test_compiled_from_outside():
    """A compiled function may ask for tokens."""
    net = network()
    compiled = torch.compile(lambda x: tokens(net, x, keep=KEEP).patches, backend="eager", fullgraph=True)
    assert torch.equal(compiled(images()), tokens(net, images(), keep=KEEP).patches)
    assert "forward" not in vars(net)
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
def test_compiled_by_inductor():
    """Compiled code computes the same, forward and backward."""
    net, twin = network(), network()
    twin.compile()
    found = []
    for each in (net, twin):
        patches = tokens(each, images(), keep=KEEP).patches
        patches.square().sum().backward()
        found.append([patches, *(p.grad for p in each.parameters())])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()


def test_sharded(tmp_path):
    """FSDP2 gathers weights around the call, the mask token too, and gives the same gradients."""

    def step(net: nn.Module, mask_token: nn.Module) -> list[torch.Tensor]:
        mask = torch.tensor([[True, False, False, True]] * 2)
        tokens(net, images(), mask=mask, mask_token=mask_token()).patches.square().sum().backward()
        gradients = [p.grad for p in (*net.parameters(), *mask_token.parameters())]
        return [g.full_tensor() if hasattr(g, "full_tensor") else g for g in gradients]

    torch.manual_seed(0)
    net, mask_token = network(), MaskToken(16)
    wanted = step(copy.deepcopy(net), copy.deepcopy(mask_token))
    dist.init_process_group("gloo", f"file://{tmp_path}/meet", rank=0, world_size=1, timeout=timedelta(minutes=1))
    try:
        mesh = init_device_mesh("cpu", (1,))
        for part in (net.blocks[0], net, mask_token):
            fully_shard(part, mesh=mesh)
        found = step(net, mask_token)
    finally:
        dist.destroy_process_group()
    assert all(map(torch.equal, found, wanted))


class Dense(nn.Module):
    """A user's network; its tokens come from its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 4, stride=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)

    def tokens(self, x, *, keep=None, mask=None, mask_token=None, layers=()):
        out = self(x)
        patches = out.flatten(2).mT
        return Tokens(patches[:, :0], patches if keep is None else patches[:, : keep.shape[1]], tuple(out.shape[2:]))


def test_a_module_with_a_method_of_its_own():
    """Its `tokens` is asked, inside of its call, and may use its forward."""
    net, seen = Dense(), []
    net.register_forward_hook(lambda module, args, out: seen.append(type(out)))
    found = tokens(net, images(), keep=KEEP)
    assert (found.grid, found.patches.shape) == ((8, 8), (2, 2, 5))
    assert seen == [torch.Tensor, Tokens]
    assert vars(net).get("forward") is None


def test_a_method_that_returns_something_else():
    """The refusal says what a user's `tokens` must return."""
    net = Dense()
    net.tokens = MethodType(lambda self, x, **request: x, net)
    with pytest.raises(BackboneError, match=r"Dense.tokens returns Tensor; it must return ssl_registry.nn.Tokens"):
        tokens(net, images())


@pytest.mark.parametrize("net", [nn.Flatten(), nn.Sequential(nn.Conv2d(3, 4, 3))], ids=["flatten", "sequential"])
def test_a_module_without_tokens(net):
    """The refusal names networks that have tokens, and what a user's own needs."""
    with pytest.raises(BackboneError, match=r"has no tokens; use .*vit_small_patch16_224.*a method tokens\("):
        tokens(net, images())


def test_mask_token_is_a_copy():
    """What the module returns is not the parameter itself, which FSDP2 frees, and its gradient arrives."""
    token = MaskToken(8)
    out = token()
    assert out.data_ptr() != token.weight.data_ptr()
    out.sum().backward()
    assert torch.equal(token.weight.grad, torch.ones(8))
