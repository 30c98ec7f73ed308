"""`Teacher`: a network that never trains, and knows whether it has its weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssl_registry.nn import FrozenModuleList

__all__ = ["Teacher"]


class Teacher(nn.Module):
    """A frozen network: no gradients, and evaluation mode for ever, also after ``.train()``.

    Whether its weights were loaded is a buffer. So a checkpoint, which holds the weights, is reopened without the file
    or the network that they came from.

    Args:
        network: maps [batch, *input_shape] to features [batch, dim]; frozen in place.
        loaded: whether it has the weights that it teaches with.

    Example:
        >>> teacher = Teacher(nn.Sequential(nn.Dropout(), nn.Linear(3, 2)), loaded=True).train()
        >>> teacher.network[0].training, teacher(torch.ones(1, 3)).requires_grad
        (False, False)
    """

    loaded: Tensor  # bool

    def __init__(self, network: nn.Module, *, loaded: bool = False) -> None:
        super().__init__()
        self.network = FrozenModuleList([network])
        self.register_buffer("loaded", torch.tensor(loaded))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return the features [batch, dim], without gradient."""
        features: Tensor = self.network[0](x)
        return features

    def load(self, network: nn.Module) -> None:
        """Take the weights of another network of the same architecture."""
        self.network[0].load_state_dict(network.state_dict())
        self.loaded.fill_(True)
