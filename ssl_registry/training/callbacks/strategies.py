"""What a callback may do under which of Lightning's strategies."""

from __future__ import annotations

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

__all__ = ["keeps_weights_whole"]


def keeps_weights_whole(trainer: Trainer) -> bool:
    """Tell whether a rank has all weights, and can run the network by itself: not so where they are sharded."""
    return isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)
