"""TF-C's loss once more, written from the paper, for the conformance kit to compare with."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["loss"]


def loss(model: Any, views: list[Tensor], ctx: Any) -> Tensor:
    """Equations 1 to 4 of arXiv:2206.08496, with a Fourier transform written out."""
    config, heads = model.config, model.heads
    x, noisy = views
    spectrum = _spectrum(x)
    changed = _changed(spectrum, config, ctx)
    h = [model.backbone(x), model.backbone(noisy)]
    f = [heads["frequency_encoder"](spectrum), heads["frequency_encoder"](changed)]
    z_t = [heads["time_projector"](each) for each in h]
    z_f = [heads["frequency_projector"](each) for each in f]
    s = {(i, j): _distance(z_t[i], z_f[j], config.temperature) for i in (0, 1) for j in (0, 1)}
    together: Tensor = s[0, 0]
    if config.consistency == "triplets":
        together = 3 * s[0, 0] - s[0, 1] - s[1, 0] - s[1, 1] + 3 * config.margin
    alone = _distance(h[0], h[1], config.temperature) + _distance(f[0], f[1], config.temperature)
    weight: float = config.time_frequency_weight
    return weight * alone + (1 - weight) * together


def _spectrum(x: Tensor) -> Tensor:
    steps = x.shape[2]
    angle = torch.outer(torch.arange(steps), torch.arange(steps)).to(x.dtype) * (2 * math.pi / steps)
    return ((x @ angle.cos()) ** 2 + (x @ angle.sin()) ** 2).sqrt() / math.sqrt(steps)


def _changed(spectrum: Tensor, config: Any, ctx: Any) -> Tensor:
    steps = spectrum.shape[2]
    shape = (*spectrum.shape[:2], steps // 2 + 1)
    removed, added, share = (torch.rand(shape, generator=ctx.generator) for _ in range(3))
    found = spectrum.clone()
    for place in range(shape[2]):
        kept = (removed[..., place] >= config.frequency_rate).to(spectrum.dtype)
        more = (added[..., place] < config.frequency_rate) * share[..., place] * config.frequency_strength
        for twin in {place, (steps - place) % steps}:
            found[..., twin] = spectrum[..., twin] * kept + more * spectrum.amax(2)
    return found


def _distance(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Equation 1: NT-Xent over the 2N vectors."""
    every = torch.cat([a, b])
    every = every / every.norm(dim=1, keepdim=True)
    similar = every @ every.T / temperature
    total, rows = torch.zeros((), dtype=a.dtype), len(a)
    for i in range(2 * rows):
        others = [k for k in range(2 * rows) if k != i]
        total = total - similar[i, (i + rows) % (2 * rows)] + torch.logsumexp(similar[i, others], 0)
    return total / (2 * rows)
