"""The method: from what is behind each step of a signal, tell the steps to come from others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry_cpc.loss import future_info_nce

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class CPC:
    """Representation learning with contrastive predictive coding (van den Oord et al., 2018), arXiv:1807.03748.

    The backbone's tokens z(t) are the steps of a signal; a GRU reads them in their order, and from its state c(t) a
    matrix W_k for each k = 1, ..., K predicts the step k ahead, which must be found among negatives by products
    z(t + k)^T W_k c(t) (equations 3 and 4).

    Heads: ``context``, from tokens [batch, steps, token_dim] to what `nn.GRU` returns, a pair of which the first is
    [batch, steps, context_dim]; ``predictors``, one layer that holds all W_k. Both can be given.
    """

    needs = Needs(
        modalities=("signal",),
        tokens=True,
        backbone="signal_encoder",
        batch="8, as in the paper, and more: steps of other samples are negatives",
        memory="one network; products of all steps with num_negatives others",
    )

    class Config(MethodConfig):
        """Options of CPC."""

        optimizer: str = Field("adam", min_length=1, description="A timm optimizer name.")
        learning_rate: float = Field(2e-4, gt=0, description="Peak learning rate.")
        prediction_steps: int = Field(12, ge=1, description="K: steps ahead that are predicted; fewer than tokens.")
        context_dim: int = Field(256, ge=1, description="Width of the GRU.")
        negatives: Literal["mixed", "others", "sample"] = Field(
            "mixed", description="Steps of all samples, of all but the own one, or of the own one alone (table 2)."
        )
        num_negatives: int = Field(
            1024, ge=1, description="Steps that are drawn from all samples of all ranks; not for negatives=sample."
        )

    declares = Declares(
        small={"prediction_steps": 3, "context_dim": 8, "num_negatives": 40},
        reference="ssl_registry_cpc.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, token_dim: int, token_grid: tuple[int, ...], overrides: Overrides) -> dict[str, nn.Module]:
        """Build the GRU, and all matrices W_k in one layer without bias."""
        ahead, width, steps = self.config.prediction_steps, self.config.context_dim, token_grid[0]
        if steps < 2:
            raise BackboneError("cpc predicts steps from those behind them, and this backbone gives one token")
        if ahead >= steps:
            raise ConfigError(
                f"prediction_steps={ahead} looks beyond the {steps} tokens that the backbone gives; the most is "
                f"prediction_steps={steps - 1}"
            )
        return {
            "context": overrides.take("context", lambda: nn.GRU(token_dim, width, batch_first=True)),
            "predictors": overrides.take("predictors", lambda: nn.Linear(width, ahead * token_dim, bias=False)),
        }

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Predict the tokens to come from each step's context."""
        config = self.config
        tokens = model.tokens(views[0]).patches  # [batch, steps, token_dim]
        context, _ = model.heads["context"](tokens)
        predictions = model.heads["predictors"](context).unflatten(-1, (config.prediction_steps, -1))
        return future_info_nce(
            predictions,
            tokens,
            among=config.negatives,
            num_negatives=config.num_negatives,
            generator=ctx.shared_generator,
        )
