"""The method: a row of a table finds its own corrupted copy among those of all rows of the batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.errors import ConfigError
from ssl_registry.nn import MLP, Marginals, info_nce, random_mask

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class SCARF:
    """Self-supervised contrastive learning using random feature corruption (Bahri et al., 2021), arXiv:2106.15147.

    Of each row x a random subset of its features, floor(corruption_rate * features) of them, is replaced by draws from
    the features' marginal distributions. The projection z of the row must find that of its corrupted copy, z~, among
    the copies of all rows in the batch of all ranks (algorithm 1):

        loss = -log( exp(cos(z_i, z~_i) / temperature) / sum over k of exp(cos(z_i, z~_k) / temperature) ).

    The paper divides the sum by the number of rows N, which takes log N from the loss and changes no gradient.

    The marginal distributions are those of ``marginal_size`` training rows, which are read once when training starts
    and are kept in a checkpoint (``model.heads["marginals"]``).

    Heads: ``projection_head``, ``marginals``; the first can be given.
    """

    needs = Needs(
        modalities=("table",),
        batch="128 and more: other samples are negatives",
        memory="one network; marginal_size rows of the table",
    )

    class Config(MethodConfig):
        """Options of SCARF."""

        optimizer: str = Field("adam", min_length=1, description="A timm optimizer name.")
        corruption_rate: float = Field(
            0.6, gt=0, lt=1, description="Share of a row's features that is replaced; the number is rounded down."
        )
        temperature: float = Field(1.0, gt=0, description="Softmax temperature of the loss.")
        hidden_dim: int = Field(256, ge=1, description="Width inside the projection head.")
        projection_dim: int = Field(256, ge=1, description="Width of the projections.")
        marginal_size: int = Field(
            4096, ge=1, description="Training rows whose values take the place of replaced features."
        )

    declares = Declares(
        small={"hidden_dim": 16, "projection_dim": 8, "marginal_size": 24},
        reference="ssl_registry_scarf.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim: int, input_shape: tuple[int, ...], overrides: Overrides) -> dict[str, nn.Module]:
        """Build the projection head of two layers (section 4), and room for the marginal distributions."""
        config, features = self.config, input_shape[0]
        if not self.replaced(features):
            raise ConfigError(
                f"scarf: corruption_rate={config.corruption_rate} of {features} features replaces none of them; give "
                f"a table with more, or a rate of at least 1/{features} and below 1"
            )
        widths = feature_dim, config.hidden_dim, config.projection_dim
        return {
            "projection_head": overrides.take("projection_head", lambda: MLP(*widths, batch_norm=False)),
            "marginals": Marginals(features, config.marginal_size),
        }

    @hookimpl
    def on_fit_start(self, model: SSLModule, sample: Callable[[int], Tensor], ctx: Context) -> None:
        """Read the marginal distributions; a run that is resumed has them from its checkpoint."""
        if ctx.step == 0:
            model.heads["marginals"].fill(sample(self.config.marginal_size))

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Let each row's projection find that of its corrupted copy."""
        x = views[0]
        copy = self.corrupt(model, x, ctx)
        # One after the other: together, the two would share the statistics of a backbone with BatchNorm.
        return info_nce(self.forward(model, x), self.forward(model, copy), temperature=self.config.temperature)

    def corrupt(self, model: SSLModule, x: Tensor, ctx: Context) -> Tensor:
        """Replace as many features of each row [batch, features] as of the others, chosen for each row anew."""
        features = x.shape[1]
        choice = random_mask(len(x), (features,), self.replaced(features) / features, generator=ctx.generator)
        corrupted: Tensor = model.heads["marginals"].corrupt(x, choice.mask, generator=ctx.generator)
        return corrupted

    def replaced(self, features: int) -> int:
        """Return how many of a row's features are replaced (algorithm 1, line 3)."""
        return math.floor(self.config.corruption_rate * features + 1e-9)  # 0.29 * 100 is 28.999999999999996

    @staticmethod
    def forward(model: SSLModule, x: Tensor) -> Tensor:
        """Return the projections [batch, projection_dim] of rows."""
        projection: Tensor = model.heads["projection_head"](model(x))
        return projection
