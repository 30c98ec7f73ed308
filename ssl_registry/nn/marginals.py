"""`Marginals`: the values that each feature of a table takes, and draws from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Marginals"]


class Marginals(nn.Module):
    """The empirical marginal distribution of each feature of a table, from a sample of its rows.

    `corrupt` replaces chosen features of each row by draws from these distributions, each feature for itself, so that
    a new value is a usual one of its column, but independent of the rest of its row. So do SCARF (Bahri et al., 2022,
    arXiv:2106.15147, algorithm 1) and VIME (Yoon et al., 2020, NeurIPS, equation 3).

    Give it rows once, in `on_fit_start`. Its values are a buffer: a checkpoint holds them, and a resumed run draws from
    the same ones. Each feature is sorted for itself, so a checkpoint does not tell which values made up a row. Until it
    is given rows, all features have a standard normal distribution: tables are standardized. No method waits for the
    device.

    Args:
        num_features: columns of the table.
        size: values that are kept of each feature.

    Raises:
        ValueError: if one of them is below 1.

    Example:
        >>> marginals = Marginals(2, size=4)
        >>> marginals.fill(torch.tensor([[3.0, 30.0], [1.0, 10.0]]))
        >>> marginals.values.T
        tensor([[ 1.,  1.,  3.,  3.],
                [10., 10., 30., 30.]])
        >>> marginals.corrupt(torch.zeros(1, 2), torch.tensor([[True, False]])).ne(0)
        tensor([[ True, False]])
    """

    values: Tensor  # [size, num_features], ascending in each column

    def __init__(self, num_features: int, size: int = 4096) -> None:
        super().__init__()
        for name, number in {"num_features": num_features, "size": size}.items():
            if number < 1:
                raise ValueError(f"{name}={number} must be at least 1")
        normal = torch.special.ndtri((torch.arange(size) + 0.5) / size)
        self.register_buffer("values", normal.unsqueeze(1).repeat(1, num_features))

    @torch.no_grad()
    def fill(self, rows: Tensor) -> None:
        """Take the values of these rows in place of those before.

        Args:
            rows: [number, num_features], any number from 1 on. Of more than ``size`` rows each feature keeps values at
                equal distances in their order; those of fewer rows stand there several times.

        Raises:
            ValueError: for another shape.
        """
        size, features = self.values.shape
        if rows.ndim != 2 or rows.shape[1] != features or not len(rows):
            raise ValueError(f"rows must be [number, {features}] with at least one, not {list(rows.shape)}")
        # In the midst of each of `size` equal parts: the smallest and the largest values count as the others do.
        places = ((torch.arange(size, device=rows.device) * 2 + 1) * len(rows)).div(2 * size, rounding_mode="floor")
        self.values.copy_(rows.sort(dim=0).values[places])

    @torch.no_grad()
    def corrupt(self, x: Tensor, chosen: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Replace the chosen features by draws from their marginal distributions.

        Args:
            x: rows [batch, num_features].
            chosen: which features of each row are replaced, bool [batch, num_features]. A draw may be the value that
                was there.
            generator: of the random numbers, on the device of ``x``.

        Returns:
            [batch, num_features] in the dtype of ``x``, without gradient.

        Raises:
            ValueError: if the shapes do not fit.
        """
        size, features = self.values.shape
        if x.ndim != 2 or x.shape[1] != features or chosen.shape != x.shape:
            raise ValueError(f"x {list(x.shape)} and chosen {list(chosen.shape)} must both be [batch, {features}]")
        places = torch.rand(len(x), features, generator=generator, device=x.device)  # in [0, 1)
        return torch.where(chosen, self.values.gather(0, (places * size).long()).to(x.dtype), x)

    def extra_repr(self) -> str:
        """Show the arguments."""
        size, features = self.values.shape
        return f"num_features={features}, size={size}"
