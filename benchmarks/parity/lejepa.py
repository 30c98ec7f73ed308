"""Ten steps of LeJEPA and of lightly's composition, from equal weights, views and directions: how far apart they end.

    python benchmarks/parity/lejepa.py          # the steps
    python benchmarks/parity/lejepa.py time     # SIGReg forward and backward on one core, beside lightly's

In float64, on a small network: what remains is rounding. lightly's quadrature is set to float64 too, which it has in
float32. Statistics of BatchNorm are those of each view in both.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch
from lightly.loss.lejepa_loss import LeJEPALoss, SIGReg
from lightly.models.modules.heads import LeJEPAProjectionHead
from ssl_registry_lejepa import random_directions, sigreg
from torch import Tensor, nn

from ssl_registry import registry

STEPS, BATCH, DIM, DIRECTIONS = 10, 24, 16, 32
LARGEST = 1e-9


def network() -> nn.Module:
    """Two convolutions and a pooling."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 12, 3, stride=2), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def main() -> int:
    """Train both and compare."""
    torch.manual_seed(0)
    parts = {"backbone": network(), "projection_head": LeJEPAProjectionHead(12, 2 * DIM, DIM)}
    model = registry.create("lejepa", input_shape=(1, 16, 16), directions=DIRECTIONS, seed=0, **copy.deepcopy(parts))
    model.double()
    other = nn.ModuleDict(copy.deepcopy(parts)).double()
    criterion = LeJEPALoss(sigreg_num_vectors=DIRECTIONS).double()
    t = torch.linspace(0, 3, 17, dtype=torch.float64)
    criterion.sigreg.t, criterion.sigreg.phi = t, torch.exp(-t.square() / 2)
    criterion.sigreg.weights = torch.full((17,), 2 * 3 / 16, dtype=torch.float64) * criterion.sigreg.phi
    criterion.sigreg.weights[[0, -1]] /= 2
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.01, momentum=0.9) for m in (model, other)]
    generator = torch.Generator().manual_seed(1)
    losses: list[tuple[Tensor, Tensor]] = []
    for step in range(STEPS):
        x = torch.randn(BATCH, 1, 16, 16, dtype=torch.float64, generator=generator)
        views = [x + 0.3 * torch.randn(x.shape, dtype=torch.float64, generator=generator) for _ in range(4)]
        ctx = SimpleNamespace(shared_generator=torch.Generator().manual_seed(step))
        same = torch.Generator().manual_seed(step)
        drawn = random_directions(DIM, DIRECTIONS, generator=same, dtype=torch.float64)
        criterion.sigreg._generate_unit_vectors = lambda *_, drawn=drawn: drawn
        mine = model.hook.compute_loss(model=model, views=views, ctx=ctx)["loss"]
        z = torch.stack([other["projection_head"](other["backbone"](view)) for view in views])
        theirs = criterion(global_proj=z[:2], local_proj=z[2:])
        for loss, optimizer in zip((mine, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append((mine.detach(), theirs.detach()))
    ours = {name.removeprefix("heads."): value for name, value in model.state_dict().items()}
    pairs = [(ours[name], value) for name, value in other.state_dict().items() if value.is_floating_point()]
    apart, size = max(float((a - b).abs().max()) for a, b in pairs), max(float(a.abs().max()) for a, _ in pairs)
    print(f"lejepa loss {losses[0][0]:.4f} .. {losses[-1][0]:.4f}; weights up to {size:.2f}, apart {apart:.1e}")
    return not apart < LARGEST * size


def seconds(work: Callable[[], None]) -> float:
    """Return the least of five."""
    found = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def times() -> int:
    """Eight views of 64 samples of 128 dimensions along 1024 directions, drawn within the time."""
    torch.set_num_threads(1)
    z, theirs = torch.randn(8, 64, 128, requires_grad=True), SIGReg()
    mine = seconds(lambda: sigreg(z, random_directions(128, 1024)).backward())
    print(f"SIGReg {mine:.3f} s, lightly's {seconds(lambda: theirs(z).backward()):.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(times() if sys.argv[1:] == ["time"] else main())
