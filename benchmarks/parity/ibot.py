"""iBOT beside lightly's parts: ten steps from equal weights, views and masks, in float64.

Loss of class tokens and of masked patches, centers, multi-crop and teacher are lightly's: ``DINOLoss``,
``IBOTPatchLoss``, ``DINOProjectionHead``, ``MaskedVisionTransformerTIMM``. The masks are ours, which lightly draws at
other counts, and the teacher moves at a step's end. Run it as ``python benchmarks/parity/ibot.py``; it needs lightly
(extra ``bench``).
"""

from __future__ import annotations

import torch
from distillation import OPTIONS, SIZES, Distillation, views_of
from lightly.loss import DINOLoss, IBOTPatchLoss
from token_steps import build, compare
from torch import Tensor


def main() -> None:
    model, encoder = build("ibot", {"dynamic_img_size": True}, **OPTIONS)
    parts = Distillation(model, encoder)
    class_loss = DINOLoss(SIZES[-1], teacher_temp=0.0625, warmup_teacher_temp_epochs=0).double()
    patch_loss = IBOTPatchLoss(SIZES[-1], teacher_temp=0.0625).double()

    def theirs(x: Tensor, generator: torch.Generator) -> Tensor:
        mask, wanted, _, given = parts.outputs(x, generator)
        classes = class_loss(wanted[:-1], given[:-1], teacher_temp=0.0625)
        return classes + patch_loss(wanted[-1], given[-1], mask)

    compare(model, encoder, parts.parameters(), theirs, parts.after_step, views_of)


if __name__ == "__main__":
    main()
