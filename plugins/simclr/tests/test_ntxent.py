"""NT-Xent against its formula in float64: both ways through the matrix, every precision, two processes."""

from __future__ import annotations

from datetime import timedelta
from math import exp, log
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from ssl_registry_simclr import blocks
from ssl_registry_simclr.blocks import Visit, by_rows, by_tiles
from ssl_registry_simclr.loss import NTXentLoss
from torch import Tensor, multiprocessing, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

WORLD = 2
properties = settings(deadline=None, derandomize=True, max_examples=60)
seeds = st.integers(0, 10**6)
batches = st.integers(1, 12)
dims = st.integers(1, 9)
temperatures = st.floats(0.01, 5.0)
sides = st.integers(1, 30)


def views(seed: int, batch: int, dim: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Two views that agree in part, so that positives are more alike than negatives."""
    generator = torch.Generator().manual_seed(seed)
    sample, first, second = (torch.randn(batch, dim, dtype=torch.float64, generator=generator) for _ in range(3))
    return (sample + 0.5 * first).to(dtype), (sample + 0.5 * second).to(dtype)


def unit_rows(seed: int, batch: int, dim: int) -> Tensor:
    return F.normalize(torch.cat(views(seed, batch, dim)), dim=1)


def reference(z0: Tensor, z1: Tensor, temperature: float) -> Tensor:
    """Equation 1, term by term, in float64."""
    z = torch.cat([z0, z1]).double()
    z = z / z.norm(dim=1, keepdim=True)
    count, half = len(z), len(z0)
    losses = []
    for i in range(count):
        logits = z @ z[i] / temperature
        others = torch.tensor([k for k in range(count) if k != i])
        losses.append(logits[others].logsumexp(0) - logits[(i + half) % count])
    return torch.stack(losses).mean()


def with_gradient(function, *tensors: Tensor) -> tuple[Tensor, ...]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    loss = function(*leaves)
    return loss.detach(), *torch.autograd.grad(loss, leaves)


@properties
@given(seeds, batches, dims, temperatures)
def test_is_the_formula(seed, batch, dim, temperature):
    """Loss and gradient are those of equation 1."""
    z0, z1 = views(seed, batch, dim)
    found = with_gradient(NTXentLoss(temperature), z0, z1)
    torch.testing.assert_close(found, with_gradient(lambda a, b: reference(a, b, temperature), z0, z1))


@properties
@given(seeds, batches, dims, temperatures, sides)
def test_any_block_of_rows_gives_the_same(seed, batch, dim, temperature, side):
    """However the matrix is cut into rows, safe or shifted, loss and gradient are the formula's."""
    rows = unit_rows(seed, batch, dim)
    loss, grad_rows, grad_keys = by_rows(rows, rows, Visit(temperature, needs_grad=True, block=side))
    wanted = with_gradient(lambda z: dense(z, z, temperature), rows)
    torch.testing.assert_close((loss, grad_rows + grad_keys), wanted)


@properties
@given(seeds, batches, dims, st.floats(0.026, 5.0), sides, st.sampled_from([0, 1 << 20]))
def test_any_tile_gives_the_same(seed, batch, dim, temperature, side, entries):
    """However the matrix is cut into tiles, kept or made twice, the half above the diagonal tells loss and gradient."""
    rows = unit_rows(seed, batch, dim)
    with patch.dict(blocks.ENTRIES, cpu=entries):
        found = by_tiles(rows, Visit(temperature, needs_grad=True, block=side))
    torch.testing.assert_close(found, with_gradient(lambda z: dense(z, z, temperature), rows))


@properties
@given(seeds, batches, dims, temperatures, sides, st.integers(0, 2), st.integers(1, 3))
def test_rows_of_one_rank_against_keys_of_all(seed, batch, dim, temperature, side, place, ranks):
    """Self and positive are found wherever this rank's rows are among the keys."""
    first = min(place, ranks - 1) * 2 * batch
    keys = torch.cat([unit_rows(seed + number, batch, dim) for number in range(ranks)])
    rows = keys[first : first + 2 * batch].clone()
    visit = Visit(temperature, needs_grad=True, first=first, block=side)
    wanted = with_gradient(lambda r, k: dense(r, k, temperature, first), rows, keys)
    torch.testing.assert_close(by_rows(rows, keys, visit), wanted)


def dense(rows: Tensor, keys: Tensor, temperature: float, first: int = 0) -> Tensor:
    """The loss of unit rows against unit keys, with the whole matrix at once."""
    logits = rows @ keys.T / temperature
    number = torch.arange(len(rows))
    logits = logits.index_put((number, number + first), torch.tensor(-torch.inf, dtype=rows.dtype))
    return F.cross_entropy(logits, (number + len(rows) // 2) % len(rows) + first)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
def test_gradient_is_that_of_the_loss(temperature):
    """Analytical and numerical gradients agree."""
    z0, z1 = (z.requires_grad_() for z in views(0, 4, 5))
    assert torch.autograd.gradcheck(NTXentLoss(temperature), (z0, z1), atol=1e-6, eps=1e-7)


@pytest.mark.parametrize("temperature", [0.01, 0.02, 0.024, 0.026, 0.07, 0.5, 2.0])
@pytest.mark.parametrize("tile", [512, 32])
def test_float32_is_near_float64(temperature, tile, monkeypatch):
    """Low temperatures neither overflow nor lose the gradient, on either way."""
    monkeypatch.setitem(blocks.TILE, "cpu", tile)
    z0, z1 = views(0, 100, 16, torch.float32)
    loss, *grads = with_gradient(NTXentLoss(temperature), z0, z1)
    wanted, *wanted_grads = with_gradient(lambda a, b: reference(a, b, temperature), z0.double(), z1.double())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=1e-5)
    for grad, wanted_grad in zip(grads, wanted_grads, strict=True):
        assert (grad - wanted_grad).norm() < 1e-4 * wanted_grad.norm()


@pytest.mark.parametrize("temperature", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype, temperature):
    """Half-precision projections, even huge ones, have the float32 loss of their values."""
    z0, z1 = views(0, 24, 16)
    for scale in (1.0, 1e4):
        half = [(scale * z).to(dtype) for z in (z0, z1)]
        loss, *grads = with_gradient(NTXentLoss(temperature), *half)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, NTXentLoss(temperature)(*(z.float() for z in half)), rtol=0, atol=0)
        assert all(grad.dtype == dtype and grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("temperature", [0.01, 0.5])
@pytest.mark.parametrize("tile", [512, 16])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_changes_nothing(dtype, tile, temperature, monkeypatch):
    """No product inside the loss is done in half precision."""
    monkeypatch.setitem(blocks.TILE, "cpu", tile)
    z0, z1 = views(0, 24, 16, torch.float32)

    def inside(a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype):
            return NTXentLoss(temperature)(a, b)

    outside = with_gradient(NTXentLoss(temperature), z0, z1)
    torch.testing.assert_close(with_gradient(inside, z0, z1), outside, rtol=0, atol=0)


def test_training_under_autocast():
    """A head that autocast runs in bfloat16 gets the gradient through the loss."""
    head = nn.Linear(16, 8)
    z0, z1 = views(0, 24, 16, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = NTXentLoss(0.01)(head(z0), head(z1))
    loss.backward()
    assert loss.dtype == torch.float32
    assert head.weight.grad.isfinite().all()
    assert head.weight.grad.abs().sum() > 0


def test_known_value():
    """Views that agree, samples that are orthogonal: log(e^(1/T) + 2N - 2) - 1/T."""
    z = torch.eye(5)
    assert NTXentLoss(0.25)(z, 7 * z).item() == pytest.approx(log(exp(4) + 8) - 4, abs=1e-6)


def test_one_sample_has_nothing_to_learn():
    """Two rows have one candidate each, the right one: loss and gradient are 0."""
    loss, *grads = with_gradient(NTXentLoss(0.5), *views(0, 1, 8, torch.float32))
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert all(grad.abs().max() < 1e-6 for grad in grads)


@properties
@given(seeds, st.integers(2, 10), dims)
def test_symmetries(seed, batch, dim):
    """The order of views and of samples and the projections' lengths do not matter."""
    z0, z1 = views(seed, batch, dim)
    loss = NTXentLoss(0.2)
    order = torch.randperm(batch, generator=torch.Generator().manual_seed(seed))
    wanted = loss(z0, z1)
    torch.testing.assert_close(loss(z1, z0), wanted)
    torch.testing.assert_close(loss(z0[order], z1[order]), wanted)
    torch.testing.assert_close(loss(3 * z0, 0.2 * z1), wanted)


def test_zero_projections_are_harmless():
    """A projection of zeros is orthogonal to all, and gradients stay finite."""
    z0, z1 = views(0, 4, 3, torch.float32)
    z0[1] = 0
    loss, *grads = with_gradient(NTXentLoss(0.1), z0, z1)
    assert loss.isfinite()
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("tile", [512, 4])
def test_loss_is_scaled_and_used_twice(tile, monkeypatch):
    """The gradient follows a gradient scaler, and a second backward pass gives the same again."""
    monkeypatch.setitem(blocks.TILE, "cpu", tile)
    z0, z1 = (z.requires_grad_() for z in views(0, 6, 4))
    loss = NTXentLoss(0.5)(z0, z1)
    (once,) = torch.autograd.grad(loss, z0, retain_graph=True)
    (scaled,) = torch.autograd.grad(65536 * loss, z0, retain_graph=True)
    (again,) = torch.autograd.grad(loss, z0)
    torch.testing.assert_close(scaled, 65536 * once)
    assert torch.equal(again, once)


def test_one_view_without_gradient():
    """A detached view gets none, and does not take the other's."""
    z0, z1 = views(0, 6, 4)
    z0.requires_grad_()
    NTXentLoss(0.5)(z0, z1).backward()
    wanted = with_gradient(lambda a: reference(a, z1, 0.5), z0)
    torch.testing.assert_close(z0.grad, wanted[1])


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation made, and how many matrix products there were."""

    def __init__(self):
        super().__init__()
        self.numel = self.products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.products += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_)
        if isinstance(out, Tensor):
            self.numel = max(self.numel, out.numel())
        return out


@pytest.mark.parametrize(("temperature", "share"), [(0.5, 4), (0.01, 4)], ids=["tiles", "rows"])
def test_memory_is_linear(temperature, share, monkeypatch):
    """Nothing of the size of the similarity matrix is made, neither forward nor backward."""
    monkeypatch.setitem(blocks.TILE, "cpu", 64)
    monkeypatch.setitem(blocks.ENTRIES, "cpu", 64 * 64)
    z0, z1 = (z.requires_grad_() for z in views(0, 256, 8, torch.float32))
    with Largest() as largest:
        NTXentLoss(temperature)(z0, z1).backward()
    assert largest.numel <= 512 * 512 // share


@pytest.mark.parametrize("temperature", [0.5, 0.01], ids=["tiles", "rows"])
def test_no_gradient_no_work_for_it(temperature, monkeypatch):
    """Under no_grad the value is the same and only the similarities are computed."""
    monkeypatch.setitem(blocks.TILE, "cpu", 8)
    z0, z1 = (z.requires_grad_() for z in views(0, 16, 4))
    with Largest() as trained:
        wanted = NTXentLoss(temperature)(z0, z1)
    with Largest() as watched, torch.no_grad():
        found = NTXentLoss(temperature)(z0, z1)
    assert torch.equal(found, wanted)
    assert not found.requires_grad
    assert 0 < 2 * watched.products < trained.products


@pytest.mark.parametrize(("entries", "products"), [(3 * 16 * 16, 3 + 4), (3 * 16 * 16 - 1, 3 + 3 + 4)])
def test_tiles_are_made_once_where_they_fit(entries, products, monkeypatch):
    """Three tiles take a product each, and four for the gradient; what does not fit is made again."""
    monkeypatch.setitem(blocks.TILE, "cpu", 16)
    monkeypatch.setitem(blocks.ENTRIES, "cpu", entries)
    with Largest() as largest:
        by_tiles(unit_rows(0, 16, 4), Visit(0.5, needs_grad=True))
    assert largest.products == products


@pytest.mark.parametrize("temperature", [0, -0.1, float("nan")])
def test_temperature_must_be_positive(temperature):
    """A temperature of zero divides by it."""
    with pytest.raises(ValueError, match="temperature"):
        NTXentLoss(temperature)


@pytest.mark.parametrize(("one", "other"), [((4, 3), (5, 3)), ((4, 3), (4, 2)), ((0, 3), (0, 3)), ((4,), (4,))])
def test_other_shapes_are_refused(one, other):
    """The error shows both shapes."""
    with pytest.raises(ValueError, match=r"shapes \[.*\] and \[.*\]"):
        NTXentLoss()(torch.zeros(one), torch.zeros(other))


CASES = [(temperature, batch) for temperature in (0.5, 0.01) for batch in (4, 1)]


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5)).double()


def train_once(network: nn.Module, loss: NTXentLoss, z0: Tensor, z1: Tensor) -> dict:
    network.zero_grad()
    # One call with both views, as DDP wants it.
    value = loss(*network(torch.cat([z0, z1])).chunk(2))
    value.backward()
    return {"loss": value.detach(), "grads": [p.grad.clone() for p in network.parameters()]}


def work(number: int, folder: str) -> None:
    """What each of two processes does; the test looks at what it leaves behind."""
    dist.init_process_group(
        "gloo", f"file://{folder}/meet", rank=number, world_size=WORLD, timeout=timedelta(minutes=2)
    )
    network = DistributedDataParallel(encoder())
    found = {}
    for temperature, batch in CASES:
        mine = [z[number * batch : (number + 1) * batch] for z in views(1, WORLD * batch, 6)]
        found[temperature, batch] = train_once(network, NTXentLoss(temperature), *mine)
        alone = NTXentLoss(temperature, gather_distributed=False)
        found[temperature, batch]["alone"] = alone(*mine)
    torch.save(found, f"{folder}/{number}.pt")
    dist.destroy_process_group()


def test_two_processes_train_as_one(tmp_path, monkeypatch):
    """The mean over ranks and DDP's gradient are those of one process with the whole batch.

    Without gathering, a rank's loss knows its own samples only.
    """
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    multiprocessing.start_processes(work, (str(tmp_path),), nprocs=WORLD, start_method="forkserver")
    found = [torch.load(tmp_path / f"{number}.pt") for number in range(WORLD)]
    for temperature, batch in CASES:
        loss = NTXentLoss(temperature)
        z0, z1 = views(1, WORLD * batch, 6)
        wanted = train_once(encoder(), loss, z0, z1)
        results = [result[temperature, batch] for result in found]
        torch.testing.assert_close(sum(result["loss"] for result in results) / WORLD, wanted["loss"])
        for number, result in enumerate(results):
            torch.testing.assert_close(result["grads"], wanted["grads"])
            mine = slice(number * batch, (number + 1) * batch)
            torch.testing.assert_close(result["alone"], loss(z0[mine], z1[mine]))
