"""Ten steps of our methods and lightly's, from equal weights, views and optimizer: how far apart they end.

    python benchmarks/parity/vectors.py              # all of them
    python benchmarks/parity/vectors.py vicreg dcl   # some

In float64, on a small network: what remains is rounding. Where the two differ by intent, ours is told to do as lightly
does, and the plugin's README says what it does by itself.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Iterator

import torch
from lightly.loss import BarlowTwinsLoss, DCLLoss, DCLWLoss, NegativeCosineSimilarity, VICRegLoss
from lightly.models.modules import heads
from torch import Tensor, nn

from ssl_registry import registry

STEPS, BATCH, DIM = 10, 24, 16
LARGEST = 1e-9
Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[nn.Module, Callable[[Tensor, Tensor], Tensor]]


def network() -> nn.Module:
    """Two convolutions and a pooling."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 12, 3, stride=2), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def ours(method: str, parts: dict[str, nn.Module], **options: object) -> Pair:
    """Our method around copies of lightly's backbone and heads."""
    parts = copy.deepcopy(parts)
    model = registry.create(method, input_shape=(1, 16, 16), seed=0, **parts, **options).double()

    def loss(a: Tensor, b: Tensor) -> Tensor:
        found = model.hook.compute_loss(model=model, views=[a, b], ctx=None)
        return found["loss"] if isinstance(found, dict) else found

    return model, loss


def theirs(parts: dict[str, nn.Module], criterion: Loss) -> Pair:
    """Backbone, projection head and criterion, as lightly's examples put them together."""
    parts = copy.deepcopy(parts)
    backbone, head = parts["backbone"], parts["projection_head"]

    def loss(a: Tensor, b: Tensor) -> Tensor:
        return criterion(head(backbone(a)), head(backbone(b)))

    return nn.ModuleDict(parts), loss


def barlow_twins(backbone: nn.Module) -> tuple[Pair, Pair]:
    parts = {"backbone": backbone, "projection_head": heads.BarlowTwinsProjectionHead(12, DIM, DIM)}
    return ours("barlow-twins", parts, lambd=5e-3, loss_scale=1.0), theirs(parts, BarlowTwinsLoss())


def vicreg(backbone: nn.Module) -> tuple[Pair, Pair]:
    parts = {"backbone": backbone, "projection_head": heads.VICRegProjectionHead(12, DIM, DIM)}
    return ours("vicreg", parts, variance=12.5), theirs(parts, VICRegLoss())


def dcl(backbone: nn.Module) -> tuple[Pair, Pair]:
    parts = {"backbone": backbone, "projection_head": heads.SimCLRProjectionHead(12, DIM, DIM)}
    return ours("simclr", parts, loss="dcl", temperature=0.1), theirs(parts, DCLLoss())


def dclw(backbone: nn.Module) -> tuple[Pair, Pair]:
    parts = {"backbone": backbone, "projection_head": heads.SimCLRProjectionHead(12, DIM, DIM)}
    return ours("simclr", parts, loss="dclw", temperature=0.1), theirs(parts, DCLWLoss())


def simsiam(backbone: nn.Module) -> tuple[Pair, Pair]:
    parts = {
        "backbone": backbone,
        "projection_head": heads.SimSiamProjectionHead(12, DIM, DIM),
        "prediction_head": heads.SimSiamPredictionHead(DIM, 4, DIM),
    }
    own = copy.deepcopy(parts)
    criterion = NegativeCosineSimilarity()

    def loss(a: Tensor, b: Tensor) -> Tensor:
        z0, z1 = (own["projection_head"](own["backbone"](x)) for x in (a, b))
        p0, p1 = (own["prediction_head"](z) for z in (z0, z1))
        return 0.5 * (criterion(z0.detach(), p1) + criterion(z1.detach(), p0))

    return ours("simsiam", parts), (nn.ModuleDict(own), loss)


METHODS = {
    "barlow-twins": barlow_twins,
    "vicreg": vicreg,
    "simsiam": simsiam,
    "simclr, dcl": dcl,
    "simclr, dclw": dclw,
}


def train(model: nn.Module, loss: Loss) -> Iterator[float]:
    """Make the steps, on views that do not depend on who trains, and yield each loss."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
    for _ in range(STEPS):
        x = torch.randn(BATCH, 1, 16, 16, dtype=torch.float64, generator=generator)
        a, b = (x + 0.3 * torch.randn(x.shape, dtype=torch.float64, generator=generator) for _ in range(2))
        value = loss(a, b)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        yield value.item()


def apart(one: nn.Module, other: nn.Module) -> tuple[float, float]:
    """Return the largest difference of weights and statistics, and the largest that a weight has."""
    a = {name.removeprefix("heads."): value for name, value in one.state_dict().items()}
    pairs = [(a[name], value) for name, value in other.state_dict().items() if value.is_floating_point()]
    return max(float((x - y).abs().max()) for x, y in pairs), max(float(x.abs().max()) for x, _ in pairs)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "To copy construct from a tensor")  # lightly's, in each step of DCLW
    chosen = {name: build for name, build in METHODS.items() if not sys.argv[1:] or name in sys.argv[1:]}
    failed = False
    for name, build in chosen.items():
        torch.manual_seed(0)
        (mine, my_loss), (other, their_loss) = build(network())
        other.double()
        losses = list(train(mine, my_loss)), list(train(other, their_loss))
        distance, size = apart(mine, other)
        failed |= not distance < LARGEST * size
        first, last = losses[0][0], losses[0][-1]
        print(f"{name:14} loss {first:9.4f} .. {last:9.4f}; weights up to {size:.2f}, apart {distance:.1e}")
    sys.exit(failed)
