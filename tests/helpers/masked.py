"""A method on tokens, as MAE is one: it predicts the pixels of masked patches from the others."""

from __future__ import annotations

import torch

from ssl_registry import MethodConfig, Needs, Registry, hookimpl
from ssl_registry.nn import TokenDecoder, normalize_patches, patchify, random_mask, select_patches


class Masked:
    """Half of the patches go through the backbone; a small decoder predicts the others."""

    needs = Needs(modalities=("image",), tokens=True)

    class Config(MethodConfig):
        """Adam, as a transformer wants it."""

        optimizer: str = "adamw"
        learning_rate: float = 1e-3

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self, token_dim, token_grid, input_shape):
        values = input_shape[0] * input_shape[1] * input_shape[2] // (token_grid[0] * token_grid[1])
        return {"decoder": TokenDecoder(token_dim, values, token_grid, dim=32, depth=1, num_heads=2)}

    @hookimpl
    def compute_loss(self, model, views, ctx):
        (x,) = views
        # Of the batch of all ranks, so that two processes mask as one does.
        generator = torch.Generator().manual_seed(ctx.step)
        choice = random_mask(len(x) * ctx.world_size, model.token_grid, 0.5, generator=generator)
        own = slice(ctx.rank * len(x), (ctx.rank + 1) * len(x))
        keep, masked = choice.keep[own].to(x.device), choice.masked[own].to(x.device)
        out = model.tokens(x, keep=keep)
        found = model.heads["decoder"](out.patches, keep, masked, prefix=out.prefix)
        patches = normalize_patches(patchify(x, x.shape[-1] // model.token_grid[-1]))
        return (found - select_patches(patches, masked)).square().mean()


def masked_registry() -> Registry:
    """Return a registry that knows this method alone."""
    registry = Registry(entry_points=False)
    registry.register("masked", Masked)
    return registry
