"""The method: find a view's key among many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.nn import (
    MLP,
    MomentumTeacher,
    Queue,
    cosine_schedule,
    deactivate_requires_grad,
    info_nce,
    update_momentum,
)
from ssl_registry.views import ViewPolicy, augmented_view

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule

# What the papers set, by version: v2 section 3 and 1911.05722 section 3.3; v3 section 4.
DEFAULTS = {
    "v2": {"momentum": 0.999, "projection_dim": 128, "projection_layers": 2},
    "v3": {"momentum": 0.99, "projection_dim": 256, "projection_layers": 3, "hidden_dim": 4096},
}


class MoCo:
    """Momentum contrast: v2 (Chen et al., 2020), arXiv:2003.04297; v3 (Chen et al., 2021), arXiv:2104.02057.

    A query q, made by the trained network from one view, must find the key k+ that the moving average
    (``model.heads["target"]``) makes of the other view, among other samples' keys (InfoNCE, equation 1):

        loss = -log( exp(q . k+ / temperature) / sum over k of exp(q . k / temperature) ).

    In v2 the other keys come from a queue of past batches of all ranks, which moves with the optimizer step, not with
    the micro-batch. In v3 they come from the batch over all ranks, both views serve as query and as key, a prediction
    head follows the projection, the loss is multiplied by 2 * temperature (v3, algorithm 1), the momentum rises to 1
    along half a cosine over optimizer steps, and a vision transformer keeps the patch embedding that it was built with
    (v3, section 4.2).

    BatchNorm lets v2 cheat: keys that were normalised with the query's own batch tell themselves from the queue's
    (1911.05722, section 3.3, where samples change their GPU for that). So v2's keys are computed in groups that are
    drawn at random from this rank's batch, each with statistics of its own.

    Heads: ``projection_head``, ``prediction_head``, ``target``, ``queue``; the first three can be given.
    """

    needs = Needs(
        batch="v2 32 and more, negatives come from the queue; v3 256 and more", memory="a second backbone; v2 the queue"
    )

    class Config(MethodConfig):
        """Options of MoCo."""

        optimizer: str = Field("momentum", min_length=1, description="A timm optimizer name.")
        learning_rate: float = Field(0.03, gt=0, description="The paper, v2: 0.03 * batch size / 256.")
        weight_decay: float = Field(1e-4, ge=0, description="Weight decay; biases and norms are excluded.")
        version: Literal["v2", "v3"] = Field("v2", description="v2 has a queue, v3 a prediction head.")
        queue_size: int = Field(65536, ge=1, description="Keys in v2's queue.")
        key_group: int = Field(
            32, ge=0, description="v2: samples whose keys share BatchNorm's statistics, drawn at random; 0: all."
        )
        symmetric: bool = Field(False, description="v2: each view is query and key, half of the loss each; v3 always.")
        temperature: float = Field(0.2, gt=0, description="Softmax temperature; v3 on a ResNet: 1.")
        momentum: float | None = Field(
            None, ge=0, le=1, description="The target's momentum at the first step; default: v2 0.999, v3 0.99."
        )
        hidden_dim: int | None = Field(
            None, ge=1, description="Width inside the heads; default: v2 the backbone's, v3 4096."
        )
        projection_dim: int | None = Field(
            None, ge=1, description="Width of queries and keys; default: v2 128, v3 256."
        )
        projection_layers: int | None = Field(
            None, ge=1, description="Layers of the projection head; default: v2 2, v3 3."
        )
        freeze_patch_embed: bool = Field(True, description="v3: a vision transformer's patch embedding stays as drawn.")

    declares = Declares(
        fails={
            "accumulation": "three micro-batches bring three times the keys into v2's queue, as a larger batch does",
        },
        small={"queue_size": 100, "hidden_dim": 16, "projection_dim": 8, "optimizer": "adamw", "learning_rate": 1e-3},
        options={"freeze_patch_embed": "it acts in v3 on a vision transformer alone (v3, section 4.2)"},
        reference="ssl_registry_moco.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, backbone: nn.Module, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the heads, the moving average as a frozen copy, and what v2 remembers."""
        hidden, out = self._chosen("hidden_dim", feature_dim), self._chosen("projection_dim")
        layers = self._chosen("projection_layers")
        v3 = self.config.version == "v3"
        build = _normalized_mlp if v3 else _plain_mlp
        projection = overrides.take("projection_head", lambda: build(feature_dim, hidden, out, layers))
        target = overrides.take("target", lambda: MomentumTeacher(backbone, projection))
        deactivate_requires_grad(target)
        heads = {"projection_head": projection, "target": target}
        if v3:
            prediction = overrides.take("prediction_head", lambda: _normalized_mlp(out, hidden, out, 2))
            return heads | {"prediction_head": prediction}
        return heads | {"queue": Queue(self.config.queue_size, out)}

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Two views alike in v2 (section 3): SimCLR's, with weaker color; two unequal ones in v3: BYOL's."""
        if self.config.version == "v3":
            first = augmented_view(image_size, blur=1.0)
            second = augmented_view(image_size, blur=0.1, solarize=0.2)
            return ViewPolicy(views=(first, second), image_size=image_size)
        view = augmented_view(image_size, blur=0.5, crop_scale=(0.2, 1.0), saturation=0.4, copies=2)
        return ViewPolicy(views=(view,), image_size=image_size)

    @hookimpl
    def frozen_modules(self, model: SSLModule) -> set[str]:
        """Let v3's patch projection rest (section 4.2), where the backbone has one as vision transformers have it."""
        projection = getattr(getattr(model.backbone, "patch_embed", None), "proj", None)
        rests = self.config.version == "v3" and self.config.freeze_patch_embed
        return {"backbone.patch_embed.proj"} if rests and isinstance(projection, nn.Conv2d | nn.Linear) else set()

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Compute InfoNCE: of the first view's queries in v2, in both directions in v3 or if it is asked for."""
        first, second = views
        temperature = self.config.temperature
        if self.config.version == "v3":
            there = info_nce(self.query(model, first), self.key(model, second), temperature=temperature)
            back = info_nce(self.query(model, second), self.key(model, first), temperature=temperature)
            return 2 * temperature * (there + back)
        queue = model.heads["queue"]
        pairs = [(first, second), (second, first)] if self.config.symmetric else [(first, second)]
        losses = []
        for x, y in pairs:
            keys = self._keys_in_groups(model, y, ctx)
            losses.append(info_nce(self.query(model, x), keys, temperature=temperature, negatives=queue.values))
            queue.collect(keys)
        return torch.stack(losses).mean()

    @hookimpl
    def on_step_end(self, model: SSLModule, ctx: Context) -> None:
        """Move the target, and let this step's keys, of all ranks, into the queue."""
        momentum = self.momentum_at(ctx.step - 1, ctx.max_steps)
        ctx.log("momentum", momentum)
        update_momentum((model.backbone, model.heads["projection_head"]), model.heads["target"], momentum)
        if self.config.version == "v2":
            model.heads["queue"].update()

    def momentum_at(self, step: int, max_steps: int | None) -> float:
        """Return the momentum of optimizer step ``step``, counted from 0: constant in v2, rising to 1 in v3."""
        start: float = self._chosen("momentum")
        return cosine_schedule(step, max_steps, start, 1.0 if self.config.version == "v3" else start)

    @staticmethod
    def query(model: SSLModule, x: Tensor) -> Tensor:
        """Return the queries [batch, projection_dim] of a view."""
        z: Tensor = model.heads["projection_head"](model(x))
        return model.heads["prediction_head"](z) if "prediction_head" in model.heads else z

    @staticmethod
    @torch.no_grad()
    def key(model: SSLModule, x: Tensor) -> Tensor:
        """Return the keys [batch, projection_dim] of a view, of length 1, without gradient."""
        z = model.heads["target"](x)
        # In float32 at least: half precision is too coarse for the temperature.
        return F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)

    def _keys_in_groups(self, model: SSLModule, x: Tensor, ctx: Context) -> Tensor:
        """Return the keys of a view in the order of its samples, computed in random groups where that matters."""
        size = self.config.key_group
        groups = min(max(2, len(x) // size), len(x) // 2) if size else 1
        norms = (part for part in model.heads["target"].modules() if isinstance(part, _BatchNorm))
        if groups < 2 or not any(norm.training for norm in norms):
            return self.key(model, x)
        order = torch.randperm(len(x), generator=ctx.generator, device=x.device)
        keys = torch.cat([self.key(model, part) for part in x[order].tensor_split(groups)])
        return torch.empty_like(keys).index_copy_(0, order, keys)

    def _chosen(self, name: str, fallback: int | None = None) -> Any:
        """Return an option's value, or what the version's paper has in its place."""
        value = getattr(self.config, name)
        return DEFAULTS[self.config.version].get(name, fallback) if value is None else value


def _plain_mlp(in_dim: int, hidden_dim: int, out_dim: int, layers: int) -> nn.Module:
    """Build a head without BatchNorm, as v2's."""
    return MLP(in_dim, hidden_dim, out_dim, num_layers=layers, batch_norm=False)


def _normalized_mlp(in_dim: int, hidden_dim: int, out_dim: int, layers: int) -> nn.Module:
    """Build a head with BatchNorm behind each layer, the last without scale and shift, as in v3's authors' code."""
    mlp = MLP(in_dim, hidden_dim, out_dim, num_layers=layers, final_bias=False)
    return nn.Sequential(*mlp, nn.BatchNorm1d(out_dim, affine=False))
