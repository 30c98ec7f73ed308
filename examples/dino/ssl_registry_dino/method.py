"""The method: a student that sees small crops matches what a teacher makes of large ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Context, Field, MethodConfig, Overrides, SSLModule, hookimpl
from ssl_registry.nn import (
    Center,
    MomentumTeacher,
    Prototypes,
    cosine_schedule,
    deactivate_requires_grad,
    linear_schedule,
    update_momentum,
)
from ssl_registry.views import ViewPolicy, augmented_view

GLOBAL_VIEWS = 2


class DINO:
    """Self-distillation with no labels (Caron et al., 2021), arXiv:2104.14294, with multi-crop.

    The teacher (``model.heads["target"]``) is the student's moving average and sees the two large views alone. The
    student sees all views, and for every pair of different views its distribution over prototypes must match the
    teacher's, which is centered and sharpened (equation 3):

        loss = mean over pairs of -softmax((t - center) / teacher_temperature) . log_softmax(s / temperature).

    The last layer rests in the first epochs, the teacher's temperature warms up over epochs, the teacher's momentum
    rises to 1 along half a cosine over optimizer steps, and the center moves once an optimizer step. The paper's rising
    weight decay is left out.

    A vision transformer takes the small views with ``backbone_kwargs={"dynamic_img_size": True}``.

    Heads: ``projection_head``, ``last_layer``, ``target``, ``center``; all but the center can be given.
    """

    class Config(MethodConfig):
        """Options of DINO."""

        learning_rate: float = Field(5e-4, gt=0, description="The paper: 0.0005 * batch size / 256.")
        weight_decay: float = Field(0.04, ge=0, description="Weight decay; biases and norms are excluded.")
        hidden_dim: int = Field(2048, ge=1, description="Width inside the projection head.")
        bottleneck_dim: int = Field(256, ge=1, description="Width in front of the last layer.")
        prototypes: int = Field(65536, ge=2, description="Width of the last layer.")
        temperature: float = Field(0.1, gt=0, description="The student's softmax temperature.")
        teacher_temperature: float = Field(0.04, gt=0, description="The teacher's, after its warm-up.")
        warmup_teacher_temperature: float = Field(0.04, gt=0, description="The teacher's at the start.")
        warmup_teacher_epochs: int = Field(0, ge=0, description="Epochs of that warm-up.")
        momentum: float = Field(0.996, ge=0, le=1, description="The teacher's momentum at the first step.")
        center_momentum: float = Field(0.9, ge=0, le=1, description="The center's momentum.")
        frozen_epochs: int = Field(1, ge=0, description="Epochs in which the last layer rests.")
        local_views: int = Field(8, ge=0, description="Small views.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, backbone: nn.Module, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the student's head (section 3, appendix C), the teacher as a frozen copy, and the center."""
        hidden, bottleneck = self.config.hidden_dim, self.config.bottleneck_dim
        projection = overrides.take(
            "projection_head",
            lambda: nn.Sequential(
                nn.Linear(feature_dim, hidden),
                nn.GELU(),
                nn.Linear(hidden, hidden),
                nn.GELU(),
                nn.Linear(hidden, bottleneck),
            ),
        )
        last = overrides.take("last_layer", lambda: Prototypes(bottleneck, self.config.prototypes, weight_norm=True))
        target = overrides.take("target", lambda: MomentumTeacher(backbone, projection, last))
        deactivate_requires_grad(target)
        center = Center(self.config.prototypes, self.config.center_momentum)
        return {"projection_head": projection, "last_layer": last, "target": target, "center": center}

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two large views, unequal as BYOL's, and small ones of 96 pixels at 224 (section 3, multi-crop)."""
        views = [
            augmented_view(image_size, blur=1.0, crop_scale=(0.4, 1.0)),
            augmented_view(image_size, blur=0.1, crop_scale=(0.4, 1.0), solarize=0.2),
        ]
        if self.config.local_views:
            size = max(1, round(image_size * 96 / 224)) if image_size else None
            copies = self.config.local_views
            views.append(augmented_view(image_size, blur=0.5, crop_scale=(0.05, 0.4), size=size, copies=copies))
        return ViewPolicy(views=tuple(views), image_size=image_size)

    @hookimpl
    def frozen_modules(self, ctx: Context) -> set[str]:
        """Let the last layer rest in the first epochs (appendix C)."""
        return {"last_layer"} if ctx.epoch < self.config.frozen_epochs else set()

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Average the cross-entropy over all pairs of a teacher's and another student's view."""
        student = [self.forward(model, view).float() for view in views]
        teacher = [self.forward_momentum(model, view).float() for view in views[:GLOBAL_VIEWS]]
        center = model.heads["center"]
        sharp = self.teacher_temperature_at(ctx.epoch)
        with torch.autocast(student[0].device.type, enabled=False):
            wanted = [F.softmax(center(t) / sharp, dim=1) for t in teacher]
            given = [F.log_softmax(s / self.config.temperature, dim=1) for s in student]
            pairs = [
                -(wanted[i] * given[j]).sum(1).mean() for i in range(len(wanted)) for j in range(len(given)) if i != j
            ]
        center.collect(torch.cat(teacher))
        return torch.stack(pairs).mean()

    @hookimpl
    def on_step_end(self, model: SSLModule, ctx: Context) -> None:
        """Move the teacher towards the student, and the center towards the teacher's outputs."""
        momentum = cosine_schedule(ctx.step - 1, ctx.max_steps, self.config.momentum, 1.0)
        student = model.backbone, model.heads["projection_head"], model.heads["last_layer"]
        update_momentum(student, model.heads["target"], momentum)
        model.heads["center"].update()

    def teacher_temperature_at(self, epoch: int) -> float:
        """Return the teacher's temperature in an epoch, counted from 0: linear over the warm-up, then constant."""
        first, last = self.config.warmup_teacher_temperature, self.config.teacher_temperature
        return linear_schedule(epoch, self.config.warmup_teacher_epochs, first, last)

    @staticmethod
    def forward(model: SSLModule, x: Tensor) -> Tensor:
        """Return the student's outputs [batch, prototypes] for one view."""
        outputs: Tensor = model.heads["last_layer"](model.heads["projection_head"](model(x)))
        return outputs

    @staticmethod
    @torch.no_grad()
    def forward_momentum(model: SSLModule, x: Tensor) -> Tensor:
        """Return the teacher's outputs [batch, prototypes] for one view, without gradient."""
        outputs: Tensor = model.heads["target"](x)
        return outputs
