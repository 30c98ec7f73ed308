"""DINOv2 beside lightly's parts: ten steps from equal weights, views and masks, in float64.

lightly has no Sinkhorn-Knopp for these losses, so ours takes centers here (``centering="center"``); the heads are
untied, and ``KoLeoLoss`` sees the class tokens of each large view. Its ``eps`` is made so small that it does not show:
it is added to each difference there, and to the square of the distance here. No peer has Gram anchoring. Run it as
``python benchmarks/parity/dinov2.py``; it needs lightly (extra ``bench``).
"""

from __future__ import annotations

import torch
from distillation import LARGE, OPTIONS, SIZES, Distillation, views_of
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss
from token_steps import build, compare
from torch import Tensor


def main() -> None:
    model, encoder = build("dinov2", {"dynamic_img_size": True}, centering="center", **OPTIONS)
    parts = Distillation(model, encoder)
    class_loss = DINOLoss(SIZES[-1], teacher_temp=0.0625, warmup_teacher_temp_epochs=0).double()
    patch_loss = IBOTPatchLoss(SIZES[-1], teacher_temp=0.0625).double()
    koleo_loss = KoLeoLoss(eps=1e-16)

    def theirs(x: Tensor, generator: torch.Generator) -> Tensor:
        mask, wanted, classes, given = parts.outputs(x, generator)
        loss = class_loss(wanted[:-1], given[:-1], teacher_temp=0.0625) + patch_loss(wanted[-1], given[-1], mask)
        koleo = torch.stack([koleo_loss(view) for view in classes.chunk(LARGE)]).sum()
        return loss + 0.1 * koleo

    compare(model, encoder, parts.parameters(), theirs, parts.after_step, views_of)


if __name__ == "__main__":
    main()
