"""The terms of LeJEPA: views near the mean of the large ones, and embeddings that are an isotropic Gaussian."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ssl_registry.nn import all_sum

__all__ = ["prediction_error", "random_directions", "sigreg"]


def prediction_error(z: Tensor, global_views: int) -> Tensor:
    """Return the mean squared distance of each view's embedding from the mean of the global views' embeddings.

    Args:
        z: embeddings [views, batch, dim], the global views first.
        global_views: how many of the views are global; the gradient flows through their mean too.

    Returns:
        A scalar in float32 (float64 for float64).

    Raises:
        ValueError: if ``z`` has another shape, or fewer views than ``global_views``.

    Example:
        >>> prediction_error(torch.tensor([[[1.0]], [[3.0]], [[5.0]]]), global_views=2)  # 1, 1 and 9
        tensor(3.6667)
    """
    if z.ndim != 3 or not 1 <= global_views <= len(z):
        raise ValueError(f"z has shape {list(z.shape)}, which is not [views, batch, dim] with {global_views} of them")
    with torch.autocast(z.device.type, enabled=False):
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        return (z - z[:global_views].mean(0)).square().mean()


def random_directions(
    dim: int, number: int, *, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Draw directions evenly from the unit sphere.

    Args:
        dim: of the embeddings.
        number: of directions.
        generator: whose device the directions are on. In a method it is ``ctx.shared_generator``: the ranks add up
            their embeddings along the same directions.
        dtype: of the directions.

    Returns:
        [dim, number], columns of length 1.

    Example:
        >>> random_directions(3, 2).shape
        torch.Size([3, 2])
    """
    device = None if generator is None else generator.device
    return F.normalize(torch.randn(dim, number, generator=generator, device=device, dtype=dtype), dim=0)


def sigreg(z: Tensor, directions: Tensor, *, knots: int = 17, t_max: float = 3.0) -> Tensor:
    """Tell how far embeddings are from a standard Gaussian in all directions (SIGReg).

    Along each direction a, it is Epps and Pulley's statistic of the N samples x_n = a . z_n of all ranks,

        N * integral of |mean_n exp(i t x_n) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt,

    by the trapezoidal rule on ``knots`` points of [0, t_max], twice, since the integrand is even in t. The result is
    the mean over directions and views. Sums over samples are exact over ranks, also where batches differ in size, and
    each direction keeps one number for each sample, not one for each knot. A second derivative is not available.

    Source: Balestriero and LeCun, 2025, arXiv:2511.08544, section 4; knots and range are those of the authors' code
    (rbalestr-lab/lejepa, MINIMAL.md).

    Args:
        z: embeddings [views, batch, dim], or [batch, dim].
        directions: unit columns [dim, number], equal on all ranks; see `random_directions`.
        knots: points of the quadrature, 0 and ``t_max`` among them.
        t_max: the highest frequency.

    Returns:
        A scalar in float32 (float64 for float64), also under autocast; the same on every rank.

    Raises:
        ValueError: for other shapes, ``knots`` below 2 or ``t_max`` not above 0.

    Example:
        >>> directions = torch.eye(2)
        >>> far, near = torch.full((512, 2), 3.0), torch.randn(512, 2, generator=torch.Generator().manual_seed(0))
        >>> bool(sigreg(far, directions) > 500 * sigreg(near, directions))
        True
    """
    if z.ndim not in (2, 3) or directions.ndim != 2 or z.shape[-1] != len(directions):
        raise ValueError(
            f"z has shape {list(z.shape)} and directions {list(directions.shape)}; "
            "they must be [views, batch, dim] or [batch, dim], and [dim, number]"
        )
    if knots < 2 or not t_max > 0:
        raise ValueError(f"knots={knots} must be at least 2, and t_max={t_max} above 0")
    with torch.autocast(z.device.type, enabled=False):
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        x = z @ directions.to(z.dtype)  # [..., batch, number]
        step = t_max / (knots - 1)
        waves: Tensor = _SummedWaves.apply(x, step, knots - 1)
        # Sums and count travel together: one message. The count is not read, which would wait for the device.
        total = all_sum(torch.cat([waves.flatten(), waves.new_full((1,), x.shape[-2])]))
        samples = total[-1]
        cosines, sines = (total[:-1] / samples).view(waves.shape)  # each [knots - 1, ..., number]
        t = step * torch.arange(1, knots, device=z.device, dtype=z.dtype).view(-1, *[1] * (cosines.ndim - 1))
        gaussian = torch.exp(-t.square() / 2)
        errors = ((cosines - gaussian).square() + sines.square()) * gaussian
        # At t = 0 both functions are 1, so that knot adds nothing; the last one counts half, and both sides twice.
        statistic: Tensor = 2 * step * samples * (errors.sum(0) - errors[-1] / 2).mean()
        return statistic


class _SummedWaves(torch.autograd.Function):
    """The sums over samples of cos(t x) and sin(t x) at t = step, 2 step, ...: [2, count, ..., number].

    The waves of all knots would be ``count`` times the size of x, and autograd would keep several of them. Each knot's
    are made from those of the one before, by a rotation.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: float, count: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.step = step
        sums = x.new_empty((2, count, *x.shape[:-2], x.shape[-1]))
        for k, (cos, sin) in enumerate(_waves(x, step, count)):
            sums[0, k] = cos.sum(-2)
            sums[1, k] = sin.sum(-2)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        out = torch.zeros_like(x)
        for k, (cos, sin) in enumerate(_waves(x, ctx.step, grad.shape[1])):
            t = (k + 1) * ctx.step
            out.addcmul_(cos, grad[1, k].unsqueeze(-2), value=t).addcmul_(sin, grad[0, k].unsqueeze(-2), value=-t)
        return out, None, None


def _waves(x: Tensor, step: float, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield cos(t x) and sin(t x) at each knot."""
    first = x * step
    cos_step, sin_step = first.cos(), first.sin()
    cos, sin = cos_step, sin_step
    yield cos, sin
    for _ in range(count - 1):
        cos, sin = (
            torch.addcmul(cos * cos_step, sin, sin_step, value=-1),
            torch.addcmul(sin * cos_step, cos, sin_step),
        )
        yield cos, sin
