"""Ten steps of SwAV with small views beside a composition of lightly's parts, on equal weights and views.

Neither network nor head has BatchNorm: lightly passes view by view, and here views of one size go together. lightly's
prototypes have a bias, which the paper's have not: it is taken away.
"""

from __future__ import annotations

import torch
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVPrototypes
from steps import STEPS, context_free_step, model_of, network, report, twin, views
from torch import nn
from torch.nn import functional as F


def main() -> None:
    torch.manual_seed(1)
    projection = nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8)).double()
    theirs = nn.Sequential(network(), twin(projection))
    model = model_of("swav", projection_dim=8, prototypes=10, local_views=3, projection_head=projection)
    model.heads["prototypes"].normalize()  # they were drawn in float32
    prototypes = SwaVPrototypes(8, 10).double()
    prototypes.heads[0].bias = None
    with torch.no_grad():
        prototypes.heads[0].weight.copy_(model.heads["prototypes"].weight)
    loss = SwaVLoss()
    trained = [*model.backbone.parameters(), *projection.parameters(), *model.heads["prototypes"].parameters()]
    ours = torch.optim.SGD(trained, lr=0.1)
    other = torch.optim.SGD([*theirs.parameters(), *prototypes.parameters()], lr=0.1)
    losses = []
    for step in range(STEPS):
        x = views(step, (16, 16, 8, 8, 8))
        mine = context_free_step(model, ours, x, step)
        prototypes.normalize()
        scores = [prototypes(F.normalize(theirs(view), dim=1)) for view in x]
        value = loss(scores[:2], scores[2:]).squeeze()
        other.zero_grad()
        value.backward()
        other.step()
        losses.append((mine, value.item()))
    prototypes.normalize()  # ours are behind the step
    report(
        "swav", losses, [(model.backbone, theirs[0]), (projection, theirs[1]), (model.heads["prototypes"], prototypes)]
    )


if __name__ == "__main__":
    main()
