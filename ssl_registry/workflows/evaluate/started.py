"""What a run is compared with beside random weights: the raw input, and the weights that training started from."""

from __future__ import annotations

from torch import Tensor, nn

from ssl_registry._system.terminal import one_line
from ssl_registry.errors import SSLRegistryError
from ssl_registry.measures.features import raw_input
from ssl_registry.model.backbones import BackboneSpec
from ssl_registry.runs.opened import OpenedRun, RawNetwork

__all__ = ["RawInput", "start_of"]


class RawInput(nn.Module):
    """The samples themselves as features; see `ssl_registry.measures.features.raw_input`."""

    def forward(self, x: Tensor) -> Tensor:
        """Map samples [batch, ...] to [batch, features]."""
        return raw_input(x)


def start_of(run: OpenedRun) -> RawNetwork | str | None:
    """Return the network as training began with it; None where it began with random weights.

    Returns:
        The network, or a line that says why it cannot be had any more.
    """
    settings = None if run.settings is None or run.classifier is not None else run.settings.run
    if settings is None or settings.start_from is None:
        return None
    record = run.model.backbone_record
    if record.name is None or ".py:" in record.name:
        return "not compared with its start: the backbone is a module that only its own process can build"
    try:
        built = BackboneSpec(
            record.name,
            input_shape=run.model.input_shape,
            weights=settings.start_from,
            weights_network=settings.from_network,
            low_resolution=record.low_resolution,
            pooling=record.pooling,
            kwargs=dict(record.kwargs),
        ).build()
    except SSLRegistryError as error:
        return f"not compared with its start: {one_line(error)[:300]}"
    return RawNetwork(built.module, run.model.view_policy, run.model.input_shape, run.model.feature_dim)
