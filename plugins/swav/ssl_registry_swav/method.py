"""The method: a view's assignment to clusters is predicted from the other views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.nn import MLP, Prototypes, Queue, cross_view_entropy, forward_crops, sinkhorn
from ssl_registry.views import ViewPolicy, augmented_view

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule

LARGE_VIEWS = 2  # those that are assigned


class SwAV:
    """Swapping assignments between views (Caron et al., 2020), arXiv:2006.09882, with multi-crop.

    Projections of length 1 are compared with prototypes of length 1. Each large view gets a code, a soft assignment to
    prototypes that uses all of them equally over the batch of all ranks (Sinkhorn-Knopp, section 3.1), and every other
    view must predict it (equations 1 and 2; section 3.3 with small views):

        loss = mean over pairs of a large view i and another view j of -code_i . log_softmax(scores_j / temperature).

    Prototypes rest in the first epoch, and are brought back to length 1 after each optimizer step. With a queue,
    projections of past batches take part in the assignment: they are collected from ``queue_start_epoch`` on, a queue
    for each large view, and used once the queue is full, as in the authors' code.

    Views of one size go through the network together, as in the authors' code. A vision transformer takes the small
    ones with ``backbone_kwargs={"dynamic_img_size": True}``.

    Heads: ``projection_head``, ``prototypes``, ``queues``; the first can be given.
    """

    needs = Needs(
        batch="256 and more, or a queue: samples are shared out over clusters", memory="one network; views of two sizes"
    )

    class Config(MethodConfig):
        """Options of SwAV."""

        optimizer: str = Field("lars", min_length=1, description="A timm optimizer name.")
        learning_rate: float = Field(0.6, gt=0, description="The authors': 0.6 for 256 samples, 4.8 for 4096.")
        weight_decay: float = Field(1e-6, ge=0, description="Weight decay; biases and norms are excluded.")
        hidden_dim: int = Field(2048, ge=1, description="Width inside the projection head.")
        projection_dim: int = Field(128, ge=1, description="Width of projections and prototypes.")
        prototypes: int = Field(3000, ge=2, description="Number of prototypes.")
        temperature: float = Field(0.1, gt=0, description="Softmax temperature of predictions.")
        epsilon: float = Field(0.05, gt=0, description="Sinkhorn's entropy; the smaller, the harder the codes.")
        sinkhorn_iterations: int = Field(3, ge=1, description="Rounds of Sinkhorn-Knopp.")
        frozen_epochs: int = Field(1, ge=0, description="Epochs in which the prototypes rest.")
        queue_size: int = Field(0, ge=0, description="Past projections of each large view, of all ranks; 0: no queue.")
        queue_start_epoch: int = Field(15, ge=0, description="Epoch from which on the queues are filled.")
        local_views: int = Field(6, ge=0, description="Small views.")

    declares = Declares(
        small={
            "hidden_dim": 16,
            "projection_dim": 8,
            "prototypes": 12,
            "local_views": 2,
            "optimizer": "adamw",
            "learning_rate": 1e-3,
        },
        options={"queue_start_epoch": "it acts where there is a queue, by default after 15 epochs (appendix A.1)"},
        by_epochs="the prototypes rest in the first epoch (the authors' code)",
        shared_statistics="views of one size go through the network as one batch (the authors' code)",
        stopped=dict.fromkeys(
            ("backbone", "projection_head", "prototypes"),
            "each large view's scores are codes too, which get no gradient (section 3.1)",
        ),
        symmetric=True,
        reference="ssl_registry_swav.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the projection head of two layers, the prototypes, and a queue for each large view if asked for."""
        config, out = self.config, self.config.projection_dim
        projection = overrides.take("projection_head", lambda: MLP(feature_dim, config.hidden_dim, out))
        heads = {"projection_head": projection, "prototypes": Prototypes(out, config.prototypes)}
        if config.queue_size:
            heads["queues"] = nn.ModuleList(Queue(config.queue_size, out) for _ in range(LARGE_VIEWS))
        return heads

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two large views and small ones of 96 pixels at 224, all with SimCLR's strong color (the authors' code)."""
        color = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
        views = [augmented_view(image_size, blur=0.5, crop_scale=(0.14, 1.0), copies=LARGE_VIEWS, **color)]
        if self.config.local_views:
            small = {"size": max(1, round(image_size * 96 / 224)) if image_size else None, "crop_scale": (0.05, 0.14)}
            views.append(augmented_view(image_size, blur=0.5, copies=self.config.local_views, **small, **color))
        return ViewPolicy(views=tuple(views), image_size=image_size)

    @hookimpl
    def frozen_modules(self, ctx: Context) -> set[str]:
        """Let the prototypes rest in the first epochs (the authors' code)."""
        return {"prototypes"} if ctx.epoch < self.config.frozen_epochs else set()

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Assign the large views, and predict each assignment from all other views."""
        z = self.project(model, views)  # [views, batch, projection_dim]
        scores = model.heads["prototypes"](z)  # [views, batch, prototypes]
        codes = torch.stack([self._codes(model, number, scores[number], ctx) for number in range(LARGE_VIEWS)])
        if "queues" in model.heads and ctx.epoch >= self.config.queue_start_epoch:
            for queue, projections in zip(model.heads["queues"], z, strict=False):
                queue.collect(projections)
        return cross_view_entropy(codes, scores, temperature=self.config.temperature)

    @torch.no_grad()
    def _codes(self, model: SSLModule, number: int, scores: Tensor, ctx: Context) -> Tensor:
        """Return the codes [batch, prototypes] of a large view from its scores and those of its queue."""
        rounds = {"epsilon": self.config.epsilon, "iterations": self.config.sinkhorn_iterations}
        if "queues" not in model.heads or ctx.epoch < self.config.queue_start_epoch:
            return sinkhorn(scores, **rounds)  # type: ignore[arg-type]
        queue = model.heads["queues"][number]
        # All ranks hold the same queue, and Sinkhorn adds them up: each brings its share.
        past = model.heads["prototypes"](queue.values[ctx.rank :: ctx.world_size])
        # What is not full yet takes no part; told on the device, which nobody waits for.
        past = past.masked_fill(~queue.filled.all(), -torch.inf)
        return sinkhorn(torch.cat([past, scores]), **rounds)[len(past) :]  # type: ignore[arg-type]

    @hookimpl
    def on_step_end(self, model: SSLModule) -> None:
        """Bring the prototypes back to the sphere, and let this step's projections into the queues."""
        if "prototypes" not in model.frozen:
            model.heads["prototypes"].normalize()
        if "queues" in model.heads:
            for queue in model.heads["queues"]:
                queue.update()

    @staticmethod
    def project(model: SSLModule, views: list[Tensor]) -> Tensor:
        """Return the projections of length 1, [views, batch, projection_dim], in float32 at least."""
        z: Tensor = model.heads["projection_head"](forward_crops(model, views))
        z = F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
        return z.view(len(views), -1, z.shape[1])
