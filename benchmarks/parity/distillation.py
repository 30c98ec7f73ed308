"""What the parity scripts of iBOT and DINOv2 share: lightly's student and teacher beside ours, from equal weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from lightly.models.modules import DINOProjectionHead
from lightly.models.utils import update_momentum
from token_steps import GRID, SIDE, arguments, number_of_steps
from torch import Tensor, nn

from ssl_registry import Context, SSLModule

LARGE = 2
# Of heads: hidden width, bottleneck, prototypes; on digits wide enough to learn.
SIZES = (128, 64, 256) if arguments().digits else (12, 8, 10)
# Of the teacher: so low that ten steps show that it moves; digits need a slower one.
MOMENTUM = 0.99 if arguments().digits else 0.9
# A teacher's temperature that float32 holds exactly, as lightly makes it a tensor of that type.
OPTIONS: dict[str, Any] = {
    "hidden_dim": SIZES[0],
    "bottleneck_dim": SIZES[1],
    "prototypes": SIZES[2],
    "local_views": 2,
    "local_size": SIDE // 2,
    "momentum": MOMENTUM,
    "teacher_temperature": 0.0625,
    "warmup_teacher_temperature": 0.0625,
}


def views_of(x: Tensor) -> list[Tensor]:
    """Two views of the whole, and two of a quarter."""
    half = SIDE // 2
    return [x, x.flip(3), x[..., :half, :half], x[..., half:, half:]]


def lightly_head(projection: Any, last: Any) -> nn.Module:
    """Return lightly's head with the weights of ours."""
    theirs = DINOProjectionHead(projection[0].in_features, *SIZES, norm_last_layer=True).double()
    theirs.layers.load_state_dict(projection.state_dict())
    with torch.no_grad():
        theirs.last_layer.weight_v.copy_(last.weight)
    return theirs


class Distillation:
    """Lightly's parts, put together as its examples do."""

    def __init__(self, model: SSLModule, encoder: Any) -> None:
        self.model = model
        self.student = encoder
        with torch.no_grad():
            encoder.mask_token.copy_(model.heads["mask_token"].weight)
        self.teacher = copy.deepcopy(encoder)
        prefixes = ("",) if model.config.shared_head else ("", "patch_")
        pairs = [(model.heads[f"{name}projection_head"], model.heads[f"{name}last_layer"]) for name in prefixes]
        self.heads = [lightly_head(*pair) for pair in pairs]
        self.teacher_heads = [lightly_head(*pair) for pair in pairs]

    def parameters(self) -> list[nn.Parameter]:
        """Return those of the student's heads."""
        return [p for head in self.heads for p in head.parameters()]

    def outputs(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, list[Tensor], Tensor, list[Tensor]]:
        """Return the mask, teacher's and student's outputs of class tokens by view, and those of masked patches.

        Returns:
            mask [large * batch, rows, columns]; the teacher's class outputs by view, then those of masked patches;
            the student's class tokens of large views [large * batch, dim]; the student's as the teacher's.
        """
        views = views_of(x)
        ctx = Context(0, 0, number_of_steps(), rank=0, world_size=1, generator=generator, log=lambda name, value: None)
        chosen = self.model.method.masks(len(x), GRID, ctx).mask
        mask = torch.cat([torch.zeros(len(chosen), 1, dtype=torch.bool), chosen], 1)
        large, small = torch.cat(views[:LARGE]), torch.cat(views[LARGE:])
        with torch.no_grad():
            whole = self.teacher.encode(large)
            wanted = [*self.teacher_heads[0](whole[:, 0]).chunk(LARGE), self.teacher_heads[-1](whole[mask])]
        seen = self.student.encode(large, mask=mask)
        classes = torch.cat([seen[:, 0], self.student.encode(small)[:, 0]])
        given = [*self.heads[0](classes).chunk(len(views)), self.heads[-1](seen[mask])]
        return chosen.view(-1, *GRID), wanted, seen[:, 0], given

    def after_step(self, step: int) -> None:
        """Move the teacher."""
        momentum = 1 - (1 - MOMENTUM) * (1 + math.cos(math.pi * step / number_of_steps())) / 2
        update_momentum(self.student, self.teacher, momentum)
        for head, target in zip(self.heads, self.teacher_heads, strict=True):
            update_momentum(head, target, momentum)
