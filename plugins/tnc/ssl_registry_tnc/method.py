"""The method: tell windows that are near each other in time from all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.errors import BackboneError, BatchError, ConfigError
from ssl_registry.nn import evaluating
from ssl_registry_tnc.loss import neighborhood_loss
from ssl_registry_tnc.windows import cut_windows, far_starts, near_starts, share_of

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class TNC:
    """Unsupervised representation learning for time series with temporal neighborhood coding (Tonekaboni et al., 2021).

    arXiv:2106.00750. Of each signal a window is cut, and ``pairs`` others that begin near it: its neighbors. A
    discriminator tells from the backbone's features of two windows whether they are neighbors, beside ``pairs`` windows
    of other signals, or of the same signal far away, which are unlabeled rather than negative (equation 1).

    The width of a neighborhood is an option; the paper finds it for each window by a test of stationarity.

    Heads: ``discriminator``, from two windows' features [pairs, 2 * feature_dim] to a logit [pairs, 1]; it can be
    given.
    """

    needs = Needs(
        modalities=("signal",),
        backbone="signal_resnet",
        batch="8 and more: windows of other samples are told from neighbors",
        memory="one network, which sees 1 + pairs windows of each sample",
    )

    class Config(MethodConfig):
        """Options of TNC."""

        optimizer: str = Field("adam", min_length=1, description="A timm optimizer name.")
        window: int | None = Field(
            None, ge=1, description="Moments of a window; default: a quarter of the signal's, rounded up."
        )
        neighborhood: float = Field(0.5, gt=0, description="Deviation of the distance between neighbors, in windows.")
        pairs: int = Field(5, ge=1, description="Neighbors of each window, and other windows.")
        unlabeled: Literal["samples", "time"] = Field(
            "samples",
            description="Other windows: of other samples, or of the same one, more than two deviations away.",
        )
        weight: float = Field(0.05, ge=0, le=1, description="w: how much another window counts as a neighbor.")
        dropout: float = Field(0.5, ge=0, lt=1, description="Inside the discriminator.")

    declares = Declares(
        small={"pairs": 2, "dropout": 0.0},
        reference="ssl_registry_tnc.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(
        self, backbone: nn.Module, feature_dim: int, input_shape: tuple[int, ...], overrides: Overrides
    ) -> dict[str, nn.Module]:
        """Build the discriminator, and see that windows fit into signals and into the backbone."""
        channels, length = input_shape
        self._check_room(length)
        parameter = next(backbone.parameters(), torch.zeros(()))
        x = torch.zeros(2, channels, self.window(length), device=parameter.device, dtype=parameter.dtype)
        try:
            with torch.no_grad(), evaluating(backbone):
                width = backbone(x).shape[1]
        except (RuntimeError, ValueError, AssertionError, BackboneError) as error:
            raise BackboneError(
                f"tnc shows windows of {x.shape[2]} moments, which this backbone refuses: {error}"
            ) from error
        if width != feature_dim:
            raise BackboneError(
                f"{type(backbone).__name__} has {feature_dim} features of {length} moments and {width} of a window of "
                f"{x.shape[2]}; tnc needs a network whose width does not depend on the length, such as "
                "backbone='signal_resnet' or 'signal_dilated'"
            )
        return {"discriminator": overrides.take("discriminator", lambda: self._discriminator(feature_dim))}

    def _discriminator(self, dim: int) -> nn.Module:
        """Two layers, the first twice as wide as its input, as in the authors' code."""
        return nn.Sequential(
            nn.Linear(2 * dim, 4 * dim), nn.ReLU(inplace=True), nn.Dropout(self.config.dropout), nn.Linear(4 * dim, 1)
        )

    def window(self, length: int) -> int:
        """Return the moments of a window of signals of this length."""
        return self.config.window or -(-length // 4)

    def _check_room(self, length: int) -> None:
        window = self.window(length)
        room, distance = length - window, self._distance(length)
        if room < 1:
            raise ConfigError(
                f"window={window} leaves a signal of {length} moments no second window; give window={length // 4 or 1}"
            )
        if self.config.unlabeled == "time" and room <= 2 * distance:
            raise ConfigError(
                f"unlabeled='time' wants windows more than {distance} moments from any other, and signals of {length} "
                f"with window={window} have not all of them; give a smaller window or neighborhood, or "
                "unlabeled='samples'"
            )

    def _distance(self, length: int) -> int:
        return round(2 * self.config.neighborhood * self.window(length))

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor:
        """Let the discriminator tell neighbors from unlabeled windows."""
        x, config = views[0], self.config
        batch, length = len(x), x.shape[2]
        window, last = self.window(length), length - self.window(length)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=ctx.generator, device=x.device)

        starts = share_of(uniform(batch), last + 1)
        normal = torch.randn(config.pairs, batch, generator=ctx.generator, device=x.device)
        near = near_starts(starts, normal, width=config.neighborhood * window, last=last)
        z = model(cut_windows(x, starts[None], window))  # [batch, dim]
        neighbors = model(cut_windows(x, near, window))  # [pairs * batch, dim]
        if config.unlabeled == "time":
            far = far_starts(starts, uniform(config.pairs, batch), distance=self._distance(length), last=last)
            others = model(cut_windows(x, far, window))
        else:
            others = self.of_other_samples(z, ctx)
        return neighborhood_loss(self.tell(model, z, neighbors), self.tell(model, z, others), weight=config.weight)

    def of_other_samples(self, z: Tensor, ctx: Context) -> Tensor:
        """Return windows of other samples of all ranks, [shifts * batch, dim]: each sample has one from each shift.

        A shift goes from every sample to the one so many places further on, so that none meets itself.
        """
        everyone = ctx.gather(z)
        total, batch = len(everyone), len(z)
        if total < 2:
            raise BatchError("tnc tells a sample's windows from those of others, and this batch holds one sample")
        shifts = 1 + torch.randperm(total - 1, generator=ctx.shared_generator, device=z.device)[: self.config.pairs]
        own = torch.arange(batch, device=z.device) + ctx.rank * batch
        return everyone[((own + shifts[:, None]) % total).flatten()]

    @staticmethod
    def tell(model: SSLModule, z: Tensor, others: Tensor) -> Tensor:
        """Return logits of each window [batch, dim] with its others [pairs * batch, dim], pair by pair."""
        pairs = len(others) // len(z)
        logits: Tensor = model.heads["discriminator"](torch.cat([z.repeat(pairs, 1), others], 1))
        return logits
