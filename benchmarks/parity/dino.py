"""Ten steps of DINO with small views beside a composition of lightly's parts, on equal weights and views.

Neither network nor head has BatchNorm: lightly passes view by view, and here views of one size go together. Theirs
moves the teacher at a step's start, as lightly's examples do, and ours at its end; so theirs is moved at the end here.
The teacher's temperature is one that float32 holds exactly, as lightly makes it a tensor of that type.
"""

from __future__ import annotations

import torch
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from lightly.models.utils import update_momentum
from steps import STEPS, context_free_step, model_of, network, report, twin, views
from torch import nn


def main() -> None:
    torch.manual_seed(1)
    student, teacher = (nn.Sequential(network(), DINOProjectionHead(16, 12, 8, 10)).double() for _ in range(2))
    teacher.load_state_dict(student.state_dict())  # weight_norm forbids a deep copy
    head = student[1]
    sizes = {"hidden_dim": 12, "bottleneck_dim": 8, "prototypes": 10, "local_views": 3}
    model = model_of("dino", momentum=0.9, teacher_temperature=0.0625, projection_head=twin(head.layers), **sizes)
    with torch.no_grad():
        for last in (model.heads["last_layer"], model.heads["target"][2]):
            last.weight.copy_(head.last_layer.weight_v)
    loss = DINOLoss(10, teacher_temp=0.0625, warmup_teacher_temp_epochs=0).double()
    parts = [model.backbone, model.heads["projection_head"], model.heads["last_layer"]]
    ours = torch.optim.SGD([p for part in parts for p in part.parameters()], lr=0.1)
    other = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for step in range(STEPS):
        x = views(step, (16, 16, 8, 8, 8))
        mine = context_free_step(model, ours, x, step)
        with torch.no_grad():
            wanted = [teacher(view) for view in x[:2]]
        value = loss(wanted, [student(view) for view in x], teacher_temp=0.0625)
        other.zero_grad()
        value.backward()
        other.step()
        momentum = 1 - 0.1 * (1 + torch.cos(torch.tensor(torch.pi * step / STEPS, dtype=torch.float64)).item()) / 2
        update_momentum(student, teacher, momentum)
        losses.append((mine, value.item()))
    pairs = [(model.backbone, student[0]), (model.heads["projection_head"], head.layers)]
    report("dino", losses, [*pairs, (model.heads["target"][0], teacher[0])])


if __name__ == "__main__":
    main()
