"""`Sound`: a small method that passes every check. The mutants break it, each in one place."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn
from torch.nn import functional as F

from ssl_registry import Declares, Field, MethodConfig, hookimpl
from ssl_registry.nn import MLP, FrozenModuleList, deactivate_requires_grad, update_momentum
from ssl_registry.views import ImageView, ViewPolicy

GUIDES, CHOSEN, GUIDE_DIM = 4, 2, 6


class State(nn.Module):
    """What must survive a restart."""

    def __init__(self):
        super().__init__()
        self.register_buffer("chosen", torch.zeros(CHOSEN, dtype=torch.long))
        self.register_buffer("is_chosen", torch.tensor(False))
        self.register_buffer("center", torch.zeros(8))


class Sound:
    """Contrast with a momentum target, an alive variance and fixed random guides (after arXiv:2104.02057)."""

    class Config(MethodConfig):
        """Options."""

        learning_rate: float = Field(0.003, gt=0, description="Peak learning rate.")
        projection_dim: int = Field(8, ge=1, description="Width of projections.")
        momentum: float = Field(0.9, ge=0, le=1, description="Of the target.")

    declares = Declares(by_epochs="the guides' head rests in every other epoch")

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self, backbone, feature_dim, input_shape, overrides):
        """Online heads, a target, guides and state."""
        out = self.config.projection_dim
        projection = self.projection_head(overrides, feature_dim, out)
        inputs = torch.Size(input_shape).numel()
        return {
            "projection_head": projection,
            "prediction_head": overrides.take("prediction_head", lambda: nn.Linear(out, out)),
            "target": self.target(backbone, projection),
            "guides": self.guides(
                nn.Sequential(nn.Flatten(), nn.Linear(inputs, GUIDE_DIM), nn.BatchNorm1d(GUIDE_DIM))
                for _ in range(GUIDES)
            ),
            "guide_head": nn.Linear(self.width(feature_dim), CHOSEN * GUIDE_DIM),
            "state": self.state(),
        }

    @hookimpl
    def build_views(self, image_size):
        """Two views with a little noise."""
        return ViewPolicy(views=(ImageView(noise=0.1, copies=2),), image_size=image_size)

    @hookimpl
    def on_fit_start(self, model, sample):
        """Choose the guides that scatter most, once."""
        state = model.heads["state"]
        if state.is_chosen:
            return
        x = sample(16)
        scatter = torch.stack([guide[1](guide[0](x)).std(0).mean() for guide in model.heads["guides"]])
        state.chosen.copy_(scatter.argsort(descending=True)[:CHOSEN])
        state.is_chosen.fill_(True)

    @hookimpl
    def frozen_modules(self, ctx):
        """The guides' head rests in every other epoch."""
        return {"guide_head"} if ctx.epoch % 2 else set()

    @hookimpl
    def compute_loss(self, model, views, ctx):
        """Contrast, variance and guidance."""
        features = [self.features(model, view) for view in views]
        z0, z1 = (model.heads["projection_head"](each) for each in features)
        contrast = self.contrast(model.heads["prediction_head"](z0), self.keys(model, views[1]), ctx)
        spread = (1 - self.everyone(z1, ctx).float().std(0)).relu().mean()
        return contrast + spread + self.guidance(model, features[0], views[0])

    def contrast(self, queries, keys, ctx):
        """Each query finds its key among those of all ranks."""
        q, k = F.normalize(queries.double(), dim=1), F.normalize(ctx.gather(keys.double()), dim=1)
        return F.cross_entropy(q @ k.T / 0.2, self.labels(len(q), ctx)).to(torch.get_default_dtype())

    def guidance(self, model, features, view):
        """Predict the chosen guides' outputs, picked without a wait for the device."""
        with torch.no_grad():
            outputs = torch.stack([guide(self.flat(view)) for guide in model.heads["guides"]], 1)
            wanted = outputs.index_select(1, model.heads["state"].chosen).flatten(1)
        return F.mse_loss(model.heads["guide_head"](features).float(), wanted.float())

    @hookimpl
    def on_step_end(self, model, ctx):
        """Move the target."""
        self.move_target(model, self.momentum_at(model, ctx))

    def move_target(self, model, momentum):
        """By the moving average of the online network."""
        update_momentum(nn.Sequential(model.backbone, model.heads["projection_head"]), model.heads["target"], momentum)

    # What follows are the places where mutants differ.

    def projection_head(self, overrides, feature_dim, out):
        """The user's, or an MLP."""
        return overrides.take("projection_head", lambda: MLP(feature_dim, 16, out))

    def target(self, backbone, projection):
        """A copy that is never trained."""
        target = nn.Sequential(deepcopy(backbone), deepcopy(projection))
        deactivate_requires_grad(target)
        return target

    def guides(self, networks):
        """Networks that never train."""
        return FrozenModuleList(networks)

    def width(self, feature_dim):
        """Of the features."""
        return feature_dim

    def state(self):
        """Buffers."""
        return State()

    def features(self, model, view):
        """Of one view."""
        return model(view)

    @torch.no_grad()
    def keys(self, model, view):
        """What the target makes of a view."""
        return model.heads["target"](view)

    def labels(self, count, ctx):
        """Where each query's key is among all keys."""
        return torch.arange(count, device=ctx.generator.device) + ctx.rank * count

    def everyone(self, z, ctx):
        """Projections of all ranks, with gradient."""
        return ctx.gather(z)

    def flat(self, view):
        """What the guides see."""
        return view

    def momentum_at(self, model, ctx):
        """From the configured one to 1 over the run."""
        if ctx.max_steps is None:
            return self.config.momentum
        return 1 - (1 - self.config.momentum) * (1 - min(1, (ctx.step - 1) / ctx.max_steps))


class SharesNumbers(Sound):
    """Random numbers that all ranks share, drawn where the model is."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        """Add noise that is the same on all ranks."""
        noise = torch.rand(3, generator=ctx.shared_generator, device=views[0].device)
        return super().compute_loss(model, views, ctx) * noise.mean()


class BySteps(Sound):
    """The same, with nothing that rests (arXiv:2104.02057)."""

    declares = Declares()

    @hookimpl
    def frozen_modules(self, ctx):
        """Nothing."""
        return set()


class Referred(Sound):
    """The same, with a formula of its loss (arXiv:2104.02057)."""

    declares = Declares(by_epochs=Sound.declares.by_epochs, reference="tests.testing.sound:reference")


def reference(model, views, ctx):
    """What `Sound` computes, in plain terms."""
    heads = model.heads
    features = [model.backbone(view) for view in views]
    z0, z1 = (heads["projection_head"](each) for each in features)
    q, k = heads["prediction_head"](z0), heads["target"](views[1]).detach()
    cosines = (q @ k.T) / q.norm(dim=1)[:, None] / k.norm(dim=1)[None]
    chances = torch.softmax(cosines / 0.2, dim=1)
    contrast = -sum(torch.log(chances[i, i]) for i in range(len(q))) / len(q)
    deviation = ((z1 - z1.mean(0)).square().sum(0) / (len(z1) - 1)).sqrt()
    spread = torch.clamp(1 - deviation, min=0).mean()
    wanted = torch.cat([heads["guides"][int(i)](views[0]) for i in heads["state"].chosen], dim=1).detach()
    guidance = (heads["guide_head"](features[0]) - wanted).square().mean()
    return contrast + spread + guidance
