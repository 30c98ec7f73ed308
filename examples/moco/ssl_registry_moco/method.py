"""The method: find a view's key among many."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Context, Field, MethodConfig, Overrides, SSLModule, hookimpl
from ssl_registry.nn import MLP, MomentumTeacher, Queue, cosine_schedule, deactivate_requires_grad, update_momentum
from ssl_registry.views import ViewPolicy, augmented_view


class MoCo:
    """Momentum contrast: v2 (Chen et al., 2020), arXiv:2003.04297; v3 (Chen et al., 2021), arXiv:2104.02057.

    A query q, made by the trained network from one view, must find the key k+ that the moving average
    (``model.heads["target"]``) makes of the other view, among other samples' keys (InfoNCE, equation 1):

        loss = -log( exp(q . k+ / temperature) / sum over k of exp(q . k / temperature) ).

    In v2 the other keys come from a queue of past batches of all ranks, which moves with the optimizer step, not with
    the micro-batch. In v3 they come from the batch over all ranks, both views serve as query and as key, a prediction
    head follows the projection, and the momentum rises to 1 along half a cosine.

    v2's shuffling of samples between ranks is left out; with several ranks use synchronised BatchNorm, as v3 does.

    Heads: ``projection_head``, ``prediction_head``, ``target``, ``queue``; the first three can be given.
    """

    class Config(MethodConfig):
        """Options of MoCo."""

        optimizer: str = Field("sgd", min_length=1, description="A timm optimizer name.")
        learning_rate: float = Field(0.03, gt=0, description="The paper, v2: 0.03 * batch size / 256.")
        weight_decay: float = Field(1e-4, ge=0, description="Weight decay; biases and norms are excluded.")
        version: Literal["v2", "v3"] = Field("v2", description="v2 has a queue, v3 a prediction head.")
        queue_size: int = Field(65536, ge=1, description="Keys in v2's queue.")
        temperature: float = Field(0.2, gt=0, description="Softmax temperature.")
        momentum: float = Field(0.999, ge=0, le=1, description="The target's momentum; v3 begins with 0.99.")
        hidden_dim: int | None = Field(None, ge=1, description="Width inside the heads; default: the backbone's.")
        projection_dim: int = Field(128, ge=1, description="Width of queries and keys; v3: 256.")

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, backbone: nn.Module, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the heads, the moving average as a frozen copy, and what v2 remembers."""
        hidden, out = self.config.hidden_dim or feature_dim, self.config.projection_dim
        v3 = self.config.version == "v3"
        projection = overrides.take("projection_head", lambda: MLP(feature_dim, hidden, out, batch_norm=v3))
        target = overrides.take("target", lambda: MomentumTeacher(backbone, projection))
        deactivate_requires_grad(target)
        heads = {"projection_head": projection, "target": target}
        if v3:
            return heads | {"prediction_head": overrides.take("prediction_head", lambda: MLP(out, hidden, out))}
        return heads | {"queue": Queue(self.config.queue_size, out)}

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two views alike (v2, section 3): SimCLR's, with weaker colour and a blur where there is something to blur."""
        view = augmented_view(image_size, blur=0.5, crop_scale=(0.2, 1.0), saturation=0.4, copies=2)
        return ViewPolicy(views=(view,), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Compute InfoNCE: of the first view's queries in v2, in both directions in v3."""
        first, second = views
        if self.config.version == "v3":
            there = self._contrast(model, self.query(model, first), self.key(model, second), ctx)
            back = self._contrast(model, self.query(model, second), self.key(model, first), ctx)
            return there + back
        keys = self.key(model, second)
        loss = self._contrast(model, self.query(model, first), keys, ctx)
        model.heads["queue"].collect(keys)
        return loss

    def _contrast(self, model: SSLModule, q: Tensor, k: Tensor, ctx: Context) -> Tensor:
        with torch.autocast(q.device.type, enabled=False):
            if self.config.version == "v3":
                logits = q @ ctx.gather(k).T  # [batch, batch of all ranks]
                labels = torch.arange(len(q), device=q.device) + ctx.rank * len(q)
            else:
                positive = (q * k).sum(1, keepdim=True)
                logits = torch.cat([positive, q @ model.heads["queue"].values.T], dim=1)  # [batch, 1 + queue]
                labels = torch.zeros(len(q), dtype=torch.int64, device=q.device)
            return F.cross_entropy(logits / self.config.temperature, labels)

    @hookimpl
    def on_step_end(self, model: SSLModule, ctx: Context) -> None:
        """Move the target, and let this step's keys, of all ranks, into the queue."""
        online = model.backbone, model.heads["projection_head"]
        update_momentum(online, model.heads["target"], self.momentum_at(ctx.step - 1, ctx.max_steps))
        if self.config.version == "v2":
            model.heads["queue"].update()

    def momentum_at(self, step: int, max_steps: int | None) -> float:
        """Return the momentum of optimizer step ``step``, counted from 0: constant in v2, rising to 1 in v3."""
        end = 1.0 if self.config.version == "v3" else self.config.momentum
        return cosine_schedule(step, max_steps, self.config.momentum, end)

    @staticmethod
    def query(model: SSLModule, x: Tensor) -> Tensor:
        """Return the queries [batch, projection_dim] of a view, of length 1."""
        z = model.heads["projection_head"](model(x))
        if "prediction_head" in model.heads:
            z = model.heads["prediction_head"](z)
        return _unit(z)

    @staticmethod
    @torch.no_grad()
    def key(model: SSLModule, x: Tensor) -> Tensor:
        """Return the keys [batch, projection_dim] of a view, of length 1, without gradient."""
        return _unit(model.heads["target"](x))


def _unit(z: Tensor) -> Tensor:
    """Scale [batch, dim] to length 1, in float32 at least: half precision is too coarse for the temperature."""
    return F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
