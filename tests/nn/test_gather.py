"""The gathered batch and its gradient, in one process and in two."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from ssl_registry.errors import BatchError
from ssl_registry.nn import gather, rank, world_size

WORLD = 2


def batch(of: int) -> torch.Tensor:
    return torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(of))


def model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 2).double()


def loss_of(rows: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """A loss in which every row meets the rows of all ranks."""
    return (rows @ keys.T).exp().sum(1).log().mean()


def work(number: int, folder: str) -> None:
    """What each of two processes does; the test looks at what it leaves behind."""
    dist.init_process_group(
        "gloo", f"file://{folder}/meet", rank=number, world_size=WORLD, timeout=timedelta(minutes=2)
    )
    x = batch(number).requires_grad_()
    everyone = gather(x)
    weights = torch.arange(float(everyone.numel()), dtype=torch.float64).view_as(everyone) * (number + 1)
    (everyone * weights).sum().backward()
    transposed = gather(batch(number).T)

    network = DistributedDataParallel(model())
    rows = network(batch(number))
    loss = loss_of(rows, gather(rows))
    loss.backward()
    try:
        gather(batch(number)[: 3 - number])
    except BatchError as error:
        unequal = str(error)

    found = {
        "unequal": unequal,
        "place": (rank(), world_size()),
        "everyone": everyone.detach(),
        "grad": x.grad,
        "transposed": transposed,
        "integers": gather(torch.tensor([[number]])),
        "loss": loss.detach(),
        "weight": network.module.weight.grad,
        "bias": network.module.bias.grad,
    }
    torch.save(found, f"{folder}/{number}.pt")
    dist.destroy_process_group()


def test_one_process_is_left_alone():
    """Without a process group there is nothing to gather."""
    x = torch.randn(2, 3)
    assert gather(x) is x
    assert (rank(), world_size()) == (0, 1)


def test_a_scalar_has_no_batch():
    """A scalar cannot be concatenated."""
    with pytest.raises(ValueError, match="batch axis"):
        gather(torch.tensor(1.0))


def test_two_processes(tmp_path, monkeypatch):
    """Two real processes see the same batch, and train as one would with all of it."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    multiprocessing.spawn(work, (str(tmp_path),), nprocs=WORLD)
    found = [torch.load(tmp_path / f"{number}.pt") for number in range(WORLD)]
    for number, results in enumerate(found):
        assert_everyone_in_rank_order(number, results)
        assert "these are [3, 2]" in results["unequal"]
        assert_gradient_is_summed(number, results)
    assert_training_is_exact(found)


def assert_everyone_in_rank_order(number: int, results: dict) -> None:
    """[B, ...] became [2B, ...], the same on both ranks, of any layout and dtype."""
    assert results["place"] == (number, WORLD)
    assert torch.equal(results["everyone"], torch.cat([batch(0), batch(1)]))
    assert torch.equal(results["transposed"], torch.cat([batch(0).T, batch(1).T]))
    assert results["integers"].tolist() == [[0], [1]]


def assert_gradient_is_summed(number: int, results: dict) -> None:
    """A rank got what both ranks' losses say about its slice."""
    weights = torch.arange(24, dtype=torch.float64).view(6, 4)
    torch.testing.assert_close(results["grad"], (1 + 2) * weights[3 * number : 3 * number + 3])


def assert_training_is_exact(found: list[dict]) -> None:
    """Under DDP the parameters' gradient is that of the mean loss over the global batch."""
    network = model()
    rows = network(torch.cat([batch(0), batch(1)]))
    loss = loss_of(rows, rows)
    loss.backward()
    torch.testing.assert_close(sum(results["loss"] for results in found) / WORLD, loss.detach())
    for results in found:
        torch.testing.assert_close(results["weight"], network.weight.grad)
        torch.testing.assert_close(results["bias"], network.bias.grad)
