"""Spectra of signals as a backbone takes them, and what may be changed in them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["changed_magnitudes", "magnitudes"]


def magnitudes(x: Tensor) -> Tensor:
    """Return the magnitudes of the discrete Fourier transform over time, as many as there are moments.

    It is scaled to keep a signal's energy, so that its values are of the signal's size. The second half is the mirror
    image of the first, as of every real signal.

    Args:
        x: [batch, channels, time].

    Returns:
        [batch, channels, time], of the type of ``x``.

    Example:
        >>> magnitudes(torch.ones(1, 1, 4))
        tensor([[[2., 0., 0., 0.]]])
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # there is no transform in half precision on CPUs
    return _mirrored(torch.fft.rfft(wide, norm="ortho").abs(), x.shape[-1]).to(x.dtype)


def changed_magnitudes(
    spectrum: Tensor, *, rate: float, strength: float, generator: torch.Generator | None = None
) -> Tensor:
    """Remove some frequencies from spectra and add to others; of each channel its own.

    Each frequency is removed with probability ``rate``, and with the same probability it is then given a magnitude
    more, drawn evenly between 0 and ``strength`` of the channel's largest one. The mirror image is changed with it.

    Source: TF-C (Zhang et al., 2022), arXiv:2206.08496, section 4.2 (removing and adding components), with the numbers
    that the authors' code has.

    Args:
        spectrum: from `magnitudes`, [batch, channels, time].
        rate: from 0 to 1.
        strength: at least 0.
        generator: of the draw, on the spectrum's device.

    Example:
        >>> changed_magnitudes(torch.tensor([[[2.0, 1.0, 0.0, 1.0]]]), rate=1, strength=0)
        tensor([[[0., 0., 0., 0.]]])
    """
    length = spectrum.shape[-1]
    half = spectrum[..., : length // 2 + 1]

    def share() -> Tensor:
        return torch.rand(half.shape, generator=generator, device=half.device)

    removed, added = share() < rate, share() < rate
    more = strength * half.amax(-1, keepdim=True) * share().to(half.dtype)
    return _mirrored(half.masked_fill(removed, 0) + more.masked_fill(~added, 0), length)


def _mirrored(half: Tensor, length: int) -> Tensor:
    place = torch.arange(length, device=half.device)
    return half[..., torch.minimum(place, length - place)]
