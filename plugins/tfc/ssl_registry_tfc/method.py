"""The method: a signal and its spectrum belong together, and each with its changed version."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.nn import MLP, nt_xent
from ssl_registry.views import SignalView, ViewPolicy
from ssl_registry_tfc.spectrum import changed_magnitudes, magnitudes

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule


class TFC:
    """Self-supervised contrastive pre-training for time series via time-frequency consistency (Zhang et al., 2022).

    arXiv:2206.08496. One encoder takes signals, the backbone, and another of the same architecture takes the magnitudes
    of their spectra; a projector behind each brings both into one space. With d = NT-Xent over the batch of all ranks,
    h of the encoders, z of the projectors, T for time, F for frequency and ' for the changed version,

        L_T = d(h_T, h_T'),  L_F = d(h_F, h_F'),
        L_C = sum over the pairs (z_T, z_F'), (z_T', z_F), (z_T', z_F') of d(z_T, z_F) - d(pair) + margin,
        loss = time_frequency_weight (L_T + L_F) + (1 - time_frequency_weight) L_C.

    Heads: ``frequency_encoder``, ``time_projector``, ``frequency_projector``; each can be given.
    """

    needs = Needs(
        modalities=("signal",),
        batch="128 and more: other samples are negatives",
        memory="a second backbone, for spectra",
    )

    class Config(MethodConfig):
        """Options of TF-C."""

        optimizer: str = Field("adam", min_length=1, description="A timm optimizer name.")
        learning_rate: float = Field(3e-4, gt=0, description="Peak learning rate.")
        temperature: float = Field(0.2, gt=0, description="Softmax temperature of NT-Xent.")
        time_frequency_weight: float = Field(
            0.2, ge=0, le=1, description="Weight of the losses in time and in frequency; consistency has the rest."
        )
        consistency: Literal["triplets", "pair"] = Field(
            "triplets", description="L_C of the paper, or d(z_T, z_F) alone, as the authors' code trains."
        )
        margin: float = Field(1.0, description="Added to each triplet: it moves the loss, and no gradient.")
        hidden_dim: int = Field(256, ge=1, description="Width inside the projectors.")
        projection_dim: int = Field(128, ge=1, description="Width of the projections.")
        jitter: float = Field(0.8, ge=0, description="Deviation of the noise that is added to signals.")
        frequency_rate: float = Field(
            0.1, ge=0, le=1, description="Probability that a frequency is removed, and that one is added to."
        )
        frequency_strength: float = Field(
            0.1, ge=0, description="The most that is added, as a share of the channel's largest magnitude."
        )

    declares = Declares(
        small={"hidden_dim": 16, "projection_dim": 8},
        reference="ssl_registry_tfc.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(self, backbone: nn.Module, feature_dim: int, overrides: Overrides) -> dict[str, nn.Module]:
        """Build the encoder of spectra, as the backbone is and with weights of its own, and both projectors."""
        widths = feature_dim, self.config.hidden_dim, self.config.projection_dim
        return {
            "frequency_encoder": overrides.take("frequency_encoder", lambda: fresh_copy(backbone)),
            "time_projector": overrides.take("time_projector", lambda: MLP(*widths)),
            "frequency_projector": overrides.take("frequency_projector", lambda: MLP(*widths)),
        }

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """The signal itself, and with noise, as the authors' code has it; spectra are changed in the loss."""
        return ViewPolicy(views=(SignalView(), SignalView(jitter=self.config.jitter)))

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> dict[str, Tensor]:
        """Compute the three losses of section 4.4."""
        config, heads = self.config, model.heads
        spectrum = magnitudes(views[0])
        changed = changed_magnitudes(
            spectrum, rate=config.frequency_rate, strength=config.frequency_strength, generator=ctx.generator
        )
        h_t, h_t2 = (model(view) for view in views)
        h_f, h_f2 = (heads["frequency_encoder"](view) for view in (spectrum, changed))
        z_t, z_t2 = (heads["time_projector"](h) for h in (h_t, h_t2))
        z_f, z_f2 = (heads["frequency_projector"](h) for h in (h_f, h_f2))

        def distance(a: Tensor, b: Tensor) -> Tensor:
            return nt_xent(a, b, temperature=config.temperature)

        time, frequency, consistency = distance(h_t, h_t2), distance(h_f, h_f2), distance(z_t, z_f)
        if config.consistency == "triplets":
            pairs = ((z_t, z_f2), (z_t2, z_f), (z_t2, z_f2))
            own = consistency
            consistency = sum((own - distance(*pair) + config.margin for pair in pairs), own.new_zeros(()))
        weight = config.time_frequency_weight
        loss = weight * (time + frequency) + (1 - weight) * consistency
        return {"loss": loss, "time": time, "frequency": frequency, "consistency": consistency}


def fresh_copy(network: nn.Module) -> nn.Module:
    """Return a copy of a network whose layers draw their weights anew, where they have ``reset_parameters``."""
    twin = copy.deepcopy(network)
    for part in twin.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
    return twin
