"""Ten steps of NNCLR beside a composition with lightly's memory bank, on equal weights and views.

lightly's examples use NT-Xent, which has other negatives than the paper's equation 4, and let the second view's
projections into the bank before its own neighbors are used; so the equation is written with torch's cross-entropy
here, and the bank takes in the first view's projections at the step's end.
"""

from __future__ import annotations

import torch
from lightly.models.modules import NNMemoryBankModule
from steps import STEPS, context_free_step, model_of, network, report, twin, views
from torch import nn
from torch.nn import functional as F


def main() -> None:
    torch.manual_seed(1)
    projection = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8)).double()
    prediction = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8)).double()
    theirs, predictor = nn.Sequential(network(), twin(projection)), twin(prediction)
    heads = {"projection_head": projection, "prediction_head": prediction}
    model = model_of("nnclr", queue_size=24, projection_dim=8, temperature=0.2, **heads)
    bank = NNMemoryBankModule(size=(24, 8))
    bank.bank = model.heads["queue"].values.clone()
    trained = [*model.backbone.parameters(), *projection.parameters(), *prediction.parameters()]
    ours = torch.optim.SGD(trained, lr=0.1)
    other = torch.optim.SGD([*theirs.parameters(), *predictor.parameters()], lr=0.1)
    losses = []
    for step in range(STEPS):
        x = views(step, (16, 16))
        mine = context_free_step(model, ours, x, step)
        z = [theirs(view) for view in x]
        p = [F.normalize(predictor(projected), dim=1) for projected in z]
        neighbors = [F.normalize(bank(projected.detach(), update=False), dim=1) for projected in z]
        labels = torch.arange(len(x[0]))
        value = sum(F.cross_entropy(neighbors[i] @ p[1 - i].T / 0.2, labels) for i in (0, 1)) / 2
        other.zero_grad()
        value.backward()
        other.step()
        bank(F.normalize(z[0].detach(), dim=1), update=True)
        losses.append((mine, value.item()))
    report("nnclr", losses, [(model.backbone, theirs[0]), (projection, theirs[1]), (prediction, predictor)])


if __name__ == "__main__":
    main()
