"""The method: of a corrupted row, tell which features were replaced and what all of them were."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.nn import Marginals

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class VIME:
    """VIME: self- and semi-supervised learning on tables (Yoon et al., 2020), its self-supervised part.

    https://proceedings.neurips.cc/paper/2020/hash/7d97667a3e056acab9aaf653807b4a03-Abstract.html

    Each feature of a row x is replaced with a probability by a draw from the feature's marginal distribution
    (equation 3). From what the backbone makes of the corrupted row x~, one layer estimates which of the d features were
    replaced, another what all of them were (equations 4 to 6):

        loss = 1/d sum_j BCE(m_j, m^_j) + feature_weight * 1/d sum_j (x_j - x^_j)^2.

    As in the authors' code, m_j = 1 where x_j and x~_j differ: a draw may be the value that was there.

    The marginal distributions are those of ``marginal_size`` training rows, which are read once when training starts
    and are kept in a checkpoint (``model.heads["marginals"]``).

    Heads: ``mask_estimator``, ``feature_estimator``, ``marginals``; the first two can be given.
    """

    needs = Needs(
        modalities=("table",),
        batch="any: samples are not compared",
        memory="one network; marginal_size rows of the table",
    )

    class Config(MethodConfig):
        """Options of VIME."""

        optimizer: str = Field("rmsprop", min_length=1, description="A timm optimizer name.")
        optimizer_kwargs: dict[str, Any] = Field(
            default_factory=lambda: {"alpha": 0.9, "momentum": 0.0},
            description="Further optimizer arguments; the default is Keras's RMSprop.",
        )
        mask_probability: float = Field(0.3, gt=0, lt=1, description="Probability that a feature is replaced.")
        feature_weight: float = Field(
            2.0, ge=0, description="Weight of the features' squared error, beside the mask's cross-entropy."
        )
        marginal_size: int = Field(
            4096, ge=1, description="Training rows whose values take the place of replaced features."
        )

    declares = Declares(small={"marginal_size": 24}, reference="ssl_registry_vime.reference:loss")

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim: int, input_shape: tuple[int, ...], overrides: Overrides) -> dict[str, nn.Module]:
        """Build the two estimators, a layer each as in the authors' code, and room for the marginal distributions."""
        features = input_shape[0]
        return {
            "mask_estimator": overrides.take("mask_estimator", lambda: nn.Linear(feature_dim, features)),
            "feature_estimator": overrides.take("feature_estimator", lambda: nn.Linear(feature_dim, features)),
            "marginals": Marginals(features, self.config.marginal_size),
        }

    @hookimpl
    def on_fit_start(self, model: SSLModule, sample: Callable[[int], Tensor], ctx: Context) -> None:
        """Read the marginal distributions; a run that is resumed has them from its checkpoint."""
        if ctx.step == 0:
            model.heads["marginals"].fill(sample(self.config.marginal_size))

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> dict[str, Tensor]:
        """Estimate mask and features from the corrupted row (equation 4)."""
        x = views[0]  # [batch, d]
        corrupted = self.corrupt(model, x, ctx)
        features = model(corrupted)
        logits, guess = (model.heads[name](features) for name in ("mask_estimator", "feature_estimator"))
        dtype = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            mask = F.binary_cross_entropy_with_logits(logits.to(dtype), (corrupted != x).to(dtype))
            squares = F.mse_loss(guess.to(dtype), x.to(dtype))
            loss = mask + self.config.feature_weight * squares
        return {"loss": loss, "mask": mask, "features": squares}

    def corrupt(self, model: SSLModule, x: Tensor, ctx: Context) -> Tensor:
        """Replace each feature of rows [batch, d] with the given probability, in each step anew."""
        draws = torch.rand(x.shape, generator=ctx.generator, device=x.device)
        chosen = draws < self.config.mask_probability
        corrupted: Tensor = model.heads["marginals"].corrupt(x, chosen, generator=ctx.generator)
        return corrupted
