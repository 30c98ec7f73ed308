"""The method: what two crops of a signal say of the moments they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, hookimpl
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.nn import embedding_dim
from ssl_registry_ts2vec.crops import cut, draw_crops
from ssl_registry_ts2vec.loss import hierarchical_contrast

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class TS2Vec:
    """TS2Vec: towards universal representation of time series (Yue et al., 2021), arXiv:2106.10466.

    Two crops that overlap are cut out of each signal, in each of them moments are masked by chance, and at the moments
    that both crops have, the backbone's features of one must find those of the other: among other samples at the same
    moment, and among other moments of the same sample, again and again for maxima over twice as many moments.

    It has no heads: the backbone's features themselves are compared, and those of each moment are `nn.tokens` of it.
    """

    needs = Needs(
        modalities=("signal",),
        tokens="mask",
        backbone="signal_dilated",
        batch="8, as in the paper, and more: other samples are negatives, and so are other moments",
        memory="one network; products of all pairs of moments of a sample, and of samples at each moment",
    )

    class Config(MethodConfig):
        """Options of TS2Vec."""

        weight_decay: float = Field(0.01, ge=0, description="Weight decay; biases are excluded.")
        mask_ratio: float = Field(0.5, ge=0, lt=1, description="Probability that a moment of a crop is masked.")
        alpha: float = Field(
            0.5, ge=0, le=1, description="Weight of the loss over samples; that over time has the rest."
        )

    declares = Declares(symmetric=False, reference="ssl_registry_ts2vec.reference:loss")

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(
        self, backbone: nn.Module, input_shape: tuple[int, ...], token_grid: tuple[int, ...]
    ) -> dict[str, nn.Module]:
        """Build nothing: see that the backbone has features of each moment, of which a crop has two or more."""
        length = input_shape[1]
        if token_grid != (length,):
            raise BackboneError(
                f"ts2vec compares moments, and {type(backbone).__name__} gives {token_grid[0]} tokens for {length} of "
                "them; use a network with one for each, such as backbone='signal_dilated'"
            )
        if length < 2:
            raise ConfigError("ts2vec cuts crops in time, and these signals have one moment; is time the last axis?")
        return {}

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Cut two crops of each signal, and contrast what their features say of the moments in common."""
        x = views[0]
        # Lengths are alike on all ranks; the seed of what ranks share is known on the host.
        crops = draw_crops(x.shape[2], ctx.shared_generator.initial_seed())
        room = x.shape[2] - crops.end_2 + 1
        start = (torch.rand(len(x), generator=ctx.generator, device=x.device) * room).long().clamp(max=room - 1)
        first = self.moments(model, cut(x, start, crops.start_1, crops.end_1), ctx)
        second = self.moments(model, cut(x, start, crops.start_2, crops.end_2), ctx)
        shared = first[:, -crops.overlap :], second[:, : crops.overlap]
        return hierarchical_contrast(*shared, alpha=self.config.alpha)

    def moments(self, model: SSLModule, x: Tensor, ctx: Context) -> Tensor:
        """Return features of each moment [batch, moments, dim] of crops in which moments are masked by chance.

        A masked moment is zero behind the backbone's first layer (section 3.2, timestamp masking): not in the signal
        itself, where zero is a value like any other.
        """
        mask = torch.rand(len(x), x.shape[2], generator=ctx.generator, device=x.device) < self.config.mask_ratio
        assert model.token_dim is not None  # it was asked for
        zero = x.new_zeros(embedding_dim(model.backbone, model.token_dim))
        return model.tokens(x, mask=mask, mask_token=zero).patches
