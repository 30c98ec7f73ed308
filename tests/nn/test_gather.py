"""The gathered batch, its sums and means, and their gradients, in one process and in two."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ssl_registry.errors import BatchError
from ssl_registry.nn import all_mean, all_sum, gather, rank, world_size

WORLD = 2
SIZES = {"equal": (3, 3), "unequal": (3, 2)}


def batch(of: int, size: int = 3) -> torch.Tensor:
    return torch.randn(size, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(of))


def model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 2).double()


def loss_of(rows: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """A loss in which every row meets the rows of all ranks."""
    return (rows @ keys.T).exp().sum(1).log().mean()


def spread_of(rows: torch.Tensor) -> torch.Tensor:
    """A loss of the statistics of all ranks: the variances, and the products of dimensions."""
    centred = rows - all_mean(rows)
    return all_mean(centred.square()).log().sum() + all_sum(rows.T @ rows).square().sum()


def test_one_process_is_left_alone():
    """Without a process group there is nothing to gather or to add up."""
    x = torch.randn(2, 3)
    assert gather(x) is x
    assert all_sum(x) is x
    assert torch.equal(all_mean(x), x.mean(0))
    assert (rank(), world_size()) == (0, 1)


@pytest.mark.parametrize("function", [gather, all_mean])
def test_a_scalar_has_no_batch(function):
    """A scalar cannot be concatenated or averaged over samples."""
    with pytest.raises(ValueError, match="batch axis"):
        function(torch.tensor(1.0))


def test_mean_of_half_precision_is_in_float32():
    """Sums over a batch would lose digits, or overflow."""
    x = torch.full((70000, 2), 1.0, dtype=torch.float16)
    assert torch.equal(all_mean(x), torch.ones(2))


@pytest.mark.usefixtures("fake_cuda")
def test_nothing_waits_for_the_device():
    """Means and sums never leave the device."""
    x = torch.randn(4, 3)
    assert all_mean(x).device.type == all_sum(x).device.type == gather(x).device.type == "cuda"


def collective(shapes: str) -> dict[str, torch.Tensor]:
    """What each of two processes gathers, and the gradient of its slice."""
    x = batch(rank(), SIZES[shapes][rank()]).requires_grad_()
    everyone = gather(x)
    weights = torch.arange(float(everyone.numel()), dtype=torch.float64).view_as(everyone) * (rank() + 1)
    (everyone * weights).sum().backward()
    return {
        "place": (rank(), world_size()),
        "everyone": everyone.detach(),
        "grad": x.grad,
        "transposed": gather(batch(rank()).T),
        "integers": gather(torch.tensor([[rank()]])),
    }


def test_everyone_is_in_rank_order(two_ranks):
    """[B, ...] becomes [2B, ...], the same on both ranks, of any layout and dtype."""
    for number, found in enumerate(two_ranks(collective, "equal")):
        assert found["place"] == (number, WORLD)
        assert torch.equal(found["everyone"], torch.cat([batch(0), batch(1)]))
        assert torch.equal(found["transposed"], torch.cat([batch(0).T, batch(1).T]))
        assert found["integers"].tolist() == [[0], [1]]


def test_gathered_gradient_is_summed(two_ranks):
    """A rank gets what both ranks' losses say about its slice."""
    weights = torch.arange(24, dtype=torch.float64).view(6, 4)
    for number, found in enumerate(two_ranks(collective, "equal")):
        torch.testing.assert_close(found["grad"], (1 + 2) * weights[3 * number : 3 * number + 3])


def unequal() -> str:
    try:
        gather(batch(rank(), SIZES["unequal"][rank()]))
    except BatchError as error:
        return str(error)
    return ""


def test_unequal_batches_are_refused(two_ranks):
    """By both ranks, with the sizes."""
    assert all("these are [3, 2]" in message for message in two_ranks(unequal))


def trained(loss: str, shapes: str) -> dict[str, torch.Tensor]:
    """The loss and the gradients of one step under DDP."""
    network = DistributedDataParallel(model())
    rows = network(batch(rank(), SIZES[shapes][rank()]))
    value = loss_of(rows, gather(rows)) if loss == "gather" else spread_of(rows)
    value.backward()
    return {"loss": value.detach(), "weight": network.module.weight.grad, "bias": network.module.bias.grad}


@pytest.mark.parametrize(("loss", "shapes"), [("gather", "equal"), ("statistics", "equal"), ("statistics", "unequal")])
def test_training_is_that_of_one_process(loss, shapes, two_ranks):
    """Under DDP loss and gradients are those of one process with the global batch; unequal batches too for means."""
    network = model()
    rows = network(torch.cat([batch(number, size) for number, size in enumerate(SIZES[shapes])]))
    value = loss_of(rows, rows) if loss == "gather" else spread_of(rows)
    value.backward()
    found = two_ranks(trained, loss, shapes)
    torch.testing.assert_close(sum(results["loss"] for results in found) / WORLD, value.detach())
    for results in found:
        torch.testing.assert_close(results["weight"], network.weight.grad)
        torch.testing.assert_close(results["bias"], network.bias.grad)
