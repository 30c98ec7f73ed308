"""The method: any backbone learns the features of a frozen one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, create_backbone, hookimpl
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.nn import Queue, gather
from ssl_registry.views import ViewPolicy, augmented_view
from ssl_registry_distill.loss import mix, similarity_loss
from ssl_registry_distill.teacher import Teacher

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule

LARGEST_QUEUE = 8192


class Distill:
    """Distillation without labels, after lightly-train's default method and Beyer et al., 2022, arXiv:2106.05237.

    A frozen teacher and the student see the same view, in which two samples are mixed. A linear layer takes the
    student's features to the width of the teacher's, and the loss is one of

    - ``similarity``: the divergence of the student's similarities to a set of teacher's features from the teacher's
      own: those of the batch and of past batches (lightly-train's version 1; the global part of its version 3);
    - ``features``: the mean squared error of the features (as lightly-train's version 2, which compares patches).

    The teacher is a network of timm's. Its weights are timm's own, or from a run, an export or a file, and are loaded
    when training begins. It is in evaluation mode and not in the optimizer; a checkpoint holds it once, as a head.

    Heads: ``projection_head``, ``teacher_model``, which can be replaced by name: a module that gives [batch, dim] needs
    no weights from elsewhere. ``queue`` holds the features of past batches.
    """

    class Config(MethodConfig):
        """Options of the distillation."""

        teacher: str = Field("vit_base_patch14_dinov2", min_length=1, description="The teacher: a name of timm's.")
        teacher_weights: str = Field(
            "pretrained",
            min_length=1,
            description="The teacher's weights: pretrained (timm fetches them), random (for tests), or the path of a "
            "run, an export or a file.",
        )
        teacher_network: str | None = Field(
            None, description="Which network of that file teaches, where it has several: a part of its name."
        )
        loss: Literal["similarity", "features"] = Field(
            "similarity", description="Compare similarities to a queue of teacher's features, or the features."
        )
        temperature: float = Field(0.07, gt=0, description="Of the similarities.")
        queue_size: int | None = Field(
            None, ge=1, description="Features of past batches; None: a quarter of the training samples, at most 8192."
        )
        mixup: bool = Field(True, description="Mix each view with that of another sample of the batch.")

    needs = Needs(
        modalities=("image",),
        batch="any; similarity 128 and more, or its queue",
        memory="the teacher; a queue",
    )
    declares = Declares(
        fails={
            "accumulation": "three micro-batches bring three times the features into the queue, as a larger batch does",
        },
        small={"teacher": "test_resnet", "teacher_weights": "random"},
        reference="ssl_registry_distill.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(
        self, feature_dim: int, input_shape: tuple[int, ...], num_samples: int | None, overrides: Overrides
    ) -> dict[str, nn.Module]:
        """Build the teacher, without weights yet, the linear layer to its width, and the queue."""
        given = overrides.take(
            "teacher_model", lambda: Teacher(create_backbone(self.config.teacher, input_shape).module)
        )
        teacher = given if isinstance(given, Teacher) else Teacher(given, loaded=True)
        dim = teacher(torch.zeros(2, *input_shape)).shape[-1]

        def build() -> nn.Module:
            layer = nn.Linear(feature_dim, dim)
            nn.init.trunc_normal_(layer.weight, std=0.02)
            return layer

        heads: dict[str, nn.Module] = {
            "teacher_model": teacher,
            "projection_head": overrides.take("projection_head", build),
        }
        if self.config.loss == "similarity":
            quarter = LARGEST_QUEUE if num_samples is None else max(1, num_samples // 4)
            heads["queue"] = Queue(self.config.queue_size or min(LARGEST_QUEUE, quarter), dim)
        return heads

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """One view, as lightly-train draws it; its blur is too narrow to be seen, and left out."""
        return ViewPolicy(views=(augmented_view(image_size, crop_scale=(0.14, 1.0)),), image_size=image_size)

    @hookimpl
    def on_fit_start(self, model: SSLModule, sample: Callable[[int], Tensor], ctx: Context) -> None:
        """Load the teacher's weights, once in a model's life: a checkpoint has them."""
        teacher, weights = model.heads["teacher_model"], self.config.teacher_weights
        if weights == "random" or teacher.loaded:
            return
        pretrained = weights == "pretrained"
        try:
            found = create_backbone(
                self.config.teacher,
                model.input_shape,
                pretrained=pretrained,
                weights=None if pretrained else weights,
                weights_network=self.config.teacher_network,
            )
        except BackboneError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            raise ConfigError(
                f"distill: the pretrained weights of {self.config.teacher} cannot be fetched "
                f"({type(error.__cause__).__name__}); without a network give teacher_weights=PATH of a run, an export "
                "or a file, or teacher_weights=random for a test"
            ) from error
        teacher.load(found.module)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Compare what both make of the same view."""
        x = mix(views[0], ctx.generator) if self.config.mixup else views[0]
        wanted = model.heads["teacher_model"](x)
        given = model.heads["projection_head"](model(x))
        dtype = torch.promote_types(given.dtype, torch.float32)
        wanted, given = wanted.to(dtype), given.to(dtype)
        if self.config.loss == "features":
            with torch.autocast(given.device.type, enabled=False):
                return F.mse_loss(given, wanted)
        queue = model.heads["queue"]
        wanted = F.normalize(wanted, dim=1)
        batch = gather(wanted)
        anchors = torch.cat([batch, queue.values.to(dtype)])
        used = torch.cat([torch.ones(len(batch), dtype=torch.bool, device=batch.device), queue.filled])
        queue.collect(wanted)
        return similarity_loss(given, wanted, anchors, self.config.temperature, used)

    @hookimpl
    def on_step_end(self, model: SSLModule) -> None:
        """Take the step's features into the queue."""
        if "queue" in model.heads:
            model.heads["queue"].update()
