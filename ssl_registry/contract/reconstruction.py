"""`Reconstruction`: what a method's hook `reconstruct` returns, for people to look at."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Reconstruction"]


class Reconstruction(NamedTuple):
    """What a method makes of samples a part of which it hid from the network.

    Args:
        output: the whole samples as the method sees them now, on the scale of what the hook was given,
            [batch, *input_shape]: where nothing is hidden, usually the sample itself.
        mask: True where a patch was hidden, bool [batch, rows, columns] or [batch, steps]. The patches are of one size
            and fill the sample.
        note: a sentence for those who look at it, on what ``output`` is not: pixels that were predicted but for their
            mean, for instance.
    """

    output: Tensor
    mask: Tensor
    note: str = ""
