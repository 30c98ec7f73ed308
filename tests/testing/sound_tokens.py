"""`SoundTokens`: a small method on tokens, with something for each sample, that passes every check."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn
from torch.nn import functional as F

from ssl_registry import Field, MethodConfig, Needs, Reconstruction, hookimpl
from ssl_registry.nn import MaskToken, deactivate_requires_grad, tokens, update_momentum
from ssl_registry.views import ImageView, ViewPolicy


class SoundTokens:
    """Predict a teacher's tokens from visible ones, and each sample's code (after arXiv:2111.07832)."""

    needs = Needs(modalities=("image",), tokens=True)

    class Config(MethodConfig):
        """Options."""

        learning_rate: float = Field(0.003, gt=0, description="Peak learning rate.")

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self, backbone, feature_dim, num_samples):
        """A mask token, a predictor, a teacher, and a code for each sample."""
        teacher = deepcopy(backbone)
        deactivate_requires_grad(teacher)
        self.prepare(backbone)
        codes = nn.Embedding(1000, feature_dim)  # more than any check numbers
        return {
            "mask_token": MaskToken(feature_dim),
            "predictor": nn.Linear(feature_dim, feature_dim),
            "codes": codes.requires_grad_(False),
            "teacher": teacher,
        }

    @hookimpl
    def build_views(self, image_size):
        """One view with a little noise."""
        return ViewPolicy(views=(ImageView(noise=0.1),), image_size=image_size)

    @hookimpl
    def compute_loss(self, model, views, ctx):
        """Masked tokens, dropped tokens, and a code."""
        (x,) = views
        with torch.no_grad():
            wanted = tokens(model.heads["teacher"], x)
        count = wanted.patches.shape[1]
        # The same patches for all samples and steps, so that the place in a batch does not matter.
        mask = (torch.arange(count, device=x.device) % 2 == 0).expand(len(x), -1)
        masked = tokens(model.backbone, x, mask=mask, mask_token=model.heads["mask_token"]())
        difference = F.mse_loss(model.heads["predictor"](masked.patches), wanted.patches)
        keep = torch.arange(0, count, 2, device=x.device).expand(len(x), -1)
        visible = tokens(model.backbone, x, keep=keep)
        code = model.heads["codes"](self.rows(ctx))
        return difference + F.mse_loss(model.heads["predictor"](visible.patches.mean(1)), code)

    @hookimpl
    def on_step_end(self, model):
        """Move the teacher."""
        update_momentum(model.backbone, model.heads["teacher"], 0.9)

    @hookimpl
    def product(self, model):
        """The teacher."""
        return model.heads["teacher"]

    @hookimpl
    def reconstruct(self, model, x, ctx):
        """Every second patch hidden, at random the even or the odd ones, and nothing predicted."""
        rows, columns = tokens(model.backbone, x).grid
        mask = (torch.arange(rows * columns) + self.coin(ctx)) % 2 == 0
        return Reconstruction(torch.zeros_like(x), mask.view(1, rows, columns).expand(len(x), -1, -1))

    # What follows are the places where mutants differ.

    def prepare(self, backbone):
        """Leave the backbone as it is."""

    def coin(self, ctx):
        """Draw 0 or 1."""
        return int(torch.randint(2, (1,), generator=ctx.generator))

    def rows(self, ctx):
        """Where each sample's code is."""
        return ctx.indices
