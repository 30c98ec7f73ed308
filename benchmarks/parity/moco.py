"""Ten steps of MoCo v2 and v3 beside a composition of lightly's parts, on equal weights and views.

Theirs moves the momentum network at a step's start, as lightly's examples do, and ours at its end; so theirs is moved
at the end here. lightly lets a batch into the memory bank before its second direction is computed; so v2 is compared
in one direction. v3 is multiplied by 2 * temperature here, as in the authors' code, and lightly's loss, which has the
queries' own view among the negatives, is none of v3's: theirs is written with torch's cross-entropy.
"""

from __future__ import annotations

import torch
from lightly.loss import NTXentLoss
from lightly.models.utils import update_momentum
from steps import STEPS, context_free_step, model_of, network, report, twin, views
from torch import nn
from torch.nn import functional as F


def heads() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(1)
    return (
        nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8)).double(),
        nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8)).double(),
    )


def v2() -> None:
    projection, _ = heads()
    theirs = nn.Sequential(network(), twin(projection))
    average = twin(theirs)
    model = model_of(
        "moco", queue_size=24, key_group=0, temperature=0.2, momentum=0.9, projection_dim=8, projection_head=projection
    )
    loss = NTXentLoss(temperature=0.2, memory_bank_size=(24, 8))
    loss.memory_bank.bank = model.heads["queue"].values.clone()
    trained = [*model.backbone.parameters(), *model.heads["projection_head"].parameters()]
    ours, other = torch.optim.SGD(trained, lr=0.1), torch.optim.SGD(theirs.parameters(), lr=0.1)
    losses = []
    for step in range(STEPS):
        x = views(step, (16, 16))
        mine = context_free_step(model, ours, x, step)
        value = loss(theirs(x[0]), average(x[1]).detach())
        other.zero_grad()
        value.backward()
        other.step()
        update_momentum(theirs, average, 0.9)
        losses.append((mine, float(value)))
    report("moco v2", losses, [(model.backbone, theirs[0]), (model.heads["target"], average)])


def v3() -> None:
    projection, prediction = heads()
    theirs, predictor = nn.Sequential(network(), twin(projection)), twin(prediction)
    average = twin(theirs)
    model = model_of(
        "moco",
        version="v3",
        temperature=0.2,
        momentum=0.9,
        projection_dim=8,
        projection_head=projection,
        prediction_head=prediction,
    )
    trained = [*model.backbone.parameters(), *projection.parameters(), *prediction.parameters()]
    ours = torch.optim.SGD(trained, lr=0.1)
    other = torch.optim.SGD([*theirs.parameters(), *predictor.parameters()], lr=0.1)
    losses = []
    for step in range(STEPS):
        x = views(step, (16, 16))
        mine = context_free_step(model, ours, x, step)
        value = torch.zeros((), dtype=torch.float64)
        for first, second in ((0, 1), (1, 0)):
            q = F.normalize(predictor(theirs(x[first])), dim=1)
            k = F.normalize(average(x[second]).detach(), dim=1)
            value = value + 2 * 0.2 * F.cross_entropy(q @ k.T / 0.2, torch.arange(len(q)))
        other.zero_grad()
        value.backward()
        other.step()
        update_momentum(theirs, average, model.method.momentum_at(step, STEPS))
        losses.append((mine, float(value)))
    report("moco v3", losses, [(model.backbone, theirs[0]), (prediction, predictor), (model.heads["target"], average)])


if __name__ == "__main__":
    v2()
    v3()
