"""Prototypes stay on the unit sphere, sharded too, and give cosines."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from ssl_registry.nn import Prototypes, rank

both = pytest.mark.parametrize("weight_norm", [False, True])


def layer(*, weight_norm: bool = False) -> Prototypes:
    torch.manual_seed(0)
    return Prototypes(6, 5, weight_norm=weight_norm).double()


def batch(of: int = 0) -> Tensor:
    return torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(of))


def lengths(weight: Tensor) -> Tensor:
    return weight.detach().norm(dim=1)


@both
def test_gives_cosines(weight_norm):
    """Of inputs of any length."""
    prototypes = layer(weight_norm=weight_norm)
    expected = F.cosine_similarity(batch()[:, None], prototypes.weight[None], dim=2)
    torch.testing.assert_close(prototypes(batch()), expected)
    torch.testing.assert_close(prototypes(7 * batch()), expected)


@both
def test_begins_with_length_one(weight_norm):
    """Before any step."""
    torch.testing.assert_close(lengths(layer(weight_norm=weight_norm).weight), torch.ones(5, dtype=torch.float64))


def test_normalize_keeps_directions():
    """The lengths become 1, in the same parameter, without gradient."""
    prototypes = layer()
    parameter, before = prototypes.weight, prototypes.weight.detach().clone()
    with torch.no_grad():
        prototypes.weight *= torch.arange(1.0, 6.0, dtype=torch.float64)[:, None]
    prototypes.normalize()
    assert prototypes.weight is parameter
    torch.testing.assert_close(prototypes.weight.detach(), before)
    assert prototypes.weight.is_leaf
    assert prototypes.weight.requires_grad


def test_gradient_is_that_of_a_linear_layer():
    """In SwAV's form the normalisation is no part of the graph."""
    prototypes = layer()
    prototypes(batch()).square().sum().backward()
    weight = prototypes.weight.detach().clone().requires_grad_()
    (F.normalize(batch(), dim=1) @ weight.T).square().sum().backward()
    torch.testing.assert_close(prototypes.weight.grad, weight.grad)


def test_gradient_of_weight_norm_is_tangential():
    """In DINO's form the output does not depend on the length, so the gradient is orthogonal to the weight."""
    prototypes = layer(weight_norm=True)
    prototypes(batch()).square().sum().backward()
    along = (prototypes.weight.grad * prototypes.weight).sum(1)
    torch.testing.assert_close(along, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)


@both
def test_is_exact_under_autocast(weight_norm):
    """Cosines come out in float32, not rounded to three digits."""
    prototypes, x = layer(weight_norm=weight_norm).float(), batch().float()
    with torch.autocast("cpu", torch.bfloat16):
        found = prototypes(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, prototypes(x))


@pytest.mark.parametrize("name", ["dim", "num_prototypes"])
def test_empty_sizes_are_refused(name):
    """A size of zero is named."""
    with pytest.raises(ValueError, match=f"{name}=0"):
        Prototypes(**{"dim": 2, "num_prototypes": 3, name: 0})


@both
@pytest.mark.usefixtures("fake_cuda")
def test_nothing_waits_for_the_device(weight_norm):
    """Neither the layer nor `normalize`."""
    prototypes = Prototypes(6, 5, weight_norm=weight_norm)
    prototypes.normalize()
    assert prototypes(torch.randn(4, 6)).device.type == "cuda"


def step(network: nn.Module, x: Tensor, prototypes: Prototypes) -> None:
    """One optimizer step, and what a method does at its end."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    network(x).square().mean().backward()
    optimizer.step()
    prototypes.normalize()


def stepped(strategy: str, weight_norm: bool) -> Tensor:
    prototypes = layer(weight_norm=weight_norm)
    if strategy == "ddp":
        step(DistributedDataParallel(prototypes), batch(rank()), prototypes)
        return prototypes.weight.detach()
    fully_shard(prototypes, mesh=init_device_mesh("cpu", (2,)))
    step(prototypes, batch(rank()), prototypes)
    assert isinstance(prototypes.weight, DTensor)
    return prototypes.weight.detach().full_tensor()


@both
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_are_one(strategy, weight_norm, two_ranks):
    """A step with replicated or sharded prototypes, of which one rank holds three and the other two."""
    prototypes = layer(weight_norm=weight_norm)
    first = copy.deepcopy(prototypes.weight.detach())
    step(prototypes, torch.cat([batch(0), batch(1)]), prototypes)
    assert not torch.allclose(prototypes.weight, first)
    for weight in two_ranks(stepped, strategy, weight_norm):
        torch.testing.assert_close(weight, prototypes.weight.detach())
        torch.testing.assert_close(lengths(weight), torch.ones(5, dtype=torch.float64))
