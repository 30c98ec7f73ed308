"""The method: supervised classification, in which each sample is a class of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.errors import ConfigError
from ssl_registry.views import ViewPolicy, augmented_view

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class DIET:
    """Datum index as its target (Balestriero, 2023), arXiv:2302.10260.

    With f(x) the features of one view of sample i, out of N in the training source, and W a linear layer to N classes,

        loss = cross-entropy(W f(x), i), with label smoothing.

    There is no projection head, no second view, no teacher and no negatives of the batch: sample i is told from all
    others of the source by the row i of W, which has N x feature_dim weights.

    The samples' numbers are ``ctx.indices``, so a loader must give them, as `ssl_registry.train` does; N is
    ``num_samples``, which `ssl_registry.train` gives too. Held-out samples have no class: there is no validation loss.

    Heads: ``classifier``, which can be replaced by name.
    """

    needs = Needs(batch="any: samples are not compared", memory="a linear layer with a row for each sample")

    class Config(MethodConfig):
        """Options of DIET."""

        learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate; the paper: 0.001 * batch size / 256.")
        weight_decay: float = Field(0.05, ge=0, description="Weight decay; biases and norms are excluded.")
        label_smoothing: float = Field(
            0.8, ge=0, lt=1, description="Share of the target that all classes have in equal parts."
        )

    declares = Declares(reference="ssl_registry_diet.reference:loss")

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim: int, num_samples: int | None, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the linear layer, without a bias: a sample is not more likely than another."""

        def build() -> nn.Module:
            if num_samples is None:
                raise ConfigError(
                    "diet has a class for each training sample, and their number is not known; give "
                    "num_samples=len(dataset), or train on a source that has a length (a stream has none)"
                )
            return nn.Linear(feature_dim, num_samples, bias=False)

        return {"classifier": overrides.take("classifier", build)}

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """One view (algorithm 1), without its random erasing."""
        view = augmented_view(image_size, blur=0.2, color_jitter=0.3, saturation=0.4, hue=0.2)
        return ViewPolicy(views=(view,), image_size=image_size)

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Compare the scores of all samples with the sample that it is."""
        scores = model.heads["classifier"](model(views[0]))  # [batch, num_samples]
        with torch.autocast(scores.device.type, enabled=False):
            scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
            return F.cross_entropy(scores, ctx.indices, label_smoothing=self.config.label_smoothing)
