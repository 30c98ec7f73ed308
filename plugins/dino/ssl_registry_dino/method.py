"""The method: a student that sees small crops matches what a teacher makes of large ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.nn import (
    Center,
    MomentumTeacher,
    Prototypes,
    bottleneck_mlp,
    cosine_schedule,
    cross_view_entropy,
    deactivate_requires_grad,
    forward_crops,
    linear_schedule,
    update_momentum,
)
from ssl_registry.views import ViewPolicy, multi_crop_views

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule

GLOBAL_VIEWS = 2  # those that the teacher sees


class DINO:
    """Self-distillation with no labels (Caron et al., 2021), arXiv:2104.14294, with multi-crop.

    The teacher (``model.heads["target"]``) is the student's moving average and sees the two large views alone. The
    student sees all views, and for every pair of different views its distribution over prototypes must match the
    teacher's, which is centered and sharpened (equation 3):

        loss = mean over pairs of -softmax((t - center) / teacher_temperature) . log_softmax(s / temperature).

    The last layer rests in the first epochs, the teacher's temperature warms up over epochs, the teacher's momentum
    rises to 1 along half a cosine over optimizer steps, and so does the weight decay to its end. The center moves once
    an optimizer step, over all ranks. The product is the teacher's backbone (section 3.1).

    Views of one size go through the network together, as in the authors' code. A vision transformer takes the small
    views with ``backbone_kwargs={"dynamic_img_size": True}``.

    Heads: ``projection_head``, ``last_layer``, ``target``, ``center``; all but the center can be given.
    """

    needs = Needs(
        batch="64 and more: the center is the batch's mean", memory="a second backbone and head; views of two sizes"
    )

    class Config(MethodConfig):
        """Options of DINO."""

        learning_rate: float = Field(5e-4, gt=0, description="The paper: 0.0005 * batch size / 256.")
        weight_decay: float = Field(0.04, ge=0, description="At the first step; biases and norms are excluded.")
        final_weight_decay: float | None = Field(0.4, ge=0, description="At the last step, along half a cosine.")
        hidden_dim: int = Field(2048, ge=1, description="Width inside the projection head.")
        projection_layers: int = Field(3, ge=1, description="Linear layers in front of the last layer.")
        batch_norm: bool = Field(False, description="BatchNorm inside the projection head, for convolutional networks.")
        bottleneck_dim: int = Field(256, ge=1, description="Width in front of the last layer.")
        prototypes: int = Field(65536, ge=2, description="Width of the last layer.")
        temperature: float = Field(0.1, gt=0, description="The student's softmax temperature.")
        teacher_temperature: float = Field(0.04, gt=0, description="The teacher's, after its warm-up.")
        warmup_teacher_temperature: float = Field(0.04, gt=0, description="The teacher's at the start.")
        warmup_teacher_epochs: int = Field(0, ge=0, description="Epochs of that warm-up.")
        momentum: float = Field(0.996, ge=0, le=1, description="The teacher's momentum at the first step.")
        final_momentum: float = Field(1.0, ge=0, le=1, description="The teacher's momentum at the last step.")
        center_momentum: float = Field(0.9, ge=0, le=1, description="The center's momentum.")
        frozen_epochs: int = Field(1, ge=0, description="Epochs in which the last layer rests.")
        local_views: int = Field(8, ge=0, description="Small views.")

    declares = Declares(
        fails={
            "run_lengths": "the weight decay rises until the run's end, so a run without one is refused in words",
        },
        small={"hidden_dim": 16, "bottleneck_dim": 8, "prototypes": 12, "local_views": 2},
        options={
            "warmup_teacher_temperature": "it acts with warmup_teacher_epochs, by default none",
            "warmup_teacher_epochs": "it acts where the temperature of the start is another one",
        },
        by_epochs="the last layer rests in the first epoch (appendix C)",
        shared_statistics="views of one size go through the network as one batch (the authors' code)",
        symmetric=True,
        reference="ssl_registry_dino.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, backbone: nn.Module, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the student's head (section 3, appendix C), the teacher as a frozen copy, and the center."""
        bottleneck = self.config.bottleneck_dim
        projection = overrides.take("projection_head", lambda: self._projection_head(feature_dim))
        last = overrides.take("last_layer", lambda: Prototypes(bottleneck, self.config.prototypes, weight_norm=True))
        target = overrides.take("target", lambda: MomentumTeacher(backbone, projection, last))
        deactivate_requires_grad(target)
        center = Center(self.config.prototypes, self.config.center_momentum)
        return {"projection_head": projection, "last_layer": last, "target": target, "center": center}

    def _projection_head(self, feature_dim: int) -> nn.Sequential:
        config = self.config
        return bottleneck_mlp(
            feature_dim,
            config.hidden_dim,
            config.bottleneck_dim,
            num_layers=config.projection_layers,
            batch_norm=config.batch_norm,
        )

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two large views, unequal as BYOL's, and small ones of 96 pixels at 224 (section 3, multi-crop)."""
        size = max(1, round(image_size * 96 / 224)) if image_size else None
        copies = self.config.local_views
        views = multi_crop_views(image_size, large=(0.4, 1.0), small=(0.05, 0.4), copies=copies, size=size)
        return ViewPolicy(views=views, image_size=image_size)

    @hookimpl
    def frozen_modules(self, ctx: Context) -> set[str]:
        """Let the last layer rest in the first epochs (appendix C)."""
        return {"last_layer"} if ctx.epoch < self.config.frozen_epochs else set()

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Average the cross-entropy over all pairs of a teacher's and another student's view."""
        student = self.forward(model, views)
        teacher = self.forward_momentum(model, views[:GLOBAL_VIEWS])
        center = model.heads["center"]
        wanted = F.softmax(center(teacher) / self.teacher_temperature_at(ctx.epoch), dim=2)
        center.collect(teacher)
        return cross_view_entropy(wanted, student, temperature=self.config.temperature)

    @hookimpl
    def product(self, model: SSLModule) -> nn.Module:
        """Return the teacher's backbone, which the paper evaluates (section 3.1)."""
        teacher: nn.Module = model.heads["target"][0]
        return teacher

    @hookimpl
    def on_step_end(self, model: SSLModule, ctx: Context) -> None:
        """Move the teacher towards the student, and the center towards the teacher's outputs."""
        momentum = cosine_schedule(ctx.step - 1, ctx.max_steps, self.config.momentum, self.config.final_momentum)
        ctx.log("momentum", momentum)
        student = model.backbone, model.heads["projection_head"], model.heads["last_layer"]
        update_momentum(student, model.heads["target"], momentum)
        model.heads["center"].update()

    def teacher_temperature_at(self, epoch: int) -> float:
        """Return the teacher's temperature in an epoch, counted from 0: linear over the warm-up, then constant."""
        first, last = self.config.warmup_teacher_temperature, self.config.teacher_temperature
        return linear_schedule(epoch, self.config.warmup_teacher_epochs, first, last)

    @staticmethod
    def forward(model: SSLModule, views: list[Tensor]) -> Tensor:
        """Return the student's outputs [views, batch, prototypes]."""
        outputs: Tensor = model.heads["last_layer"](model.heads["projection_head"](forward_crops(model, views)))
        return outputs.view(len(views), -1, outputs.shape[1])

    @staticmethod
    @torch.no_grad()
    def forward_momentum(model: SSLModule, views: list[Tensor]) -> Tensor:
        """Return the teacher's outputs [views, batch, prototypes], without gradient."""
        outputs = forward_crops(model.heads["target"], views)
        return outputs.view(len(views), -1, outputs.shape[1])
