"""Patches of images, signals and tables as vectors: cutting, putting together, normalizing, choosing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ssl_registry.errors import BackboneError

__all__ = [
    "denormalize_patches",
    "normalize_patches",
    "patch_sides",
    "patchify",
    "replace_patches",
    "select_patches",
    "unpatchify",
]


def patch_sides(shape: Sequence[int], grid: Sequence[int]) -> tuple[int, ...]:
    """Return the size of the patches that a backbone has on a grid.

    Args:
        shape: of one sample, (channels, height, width), (channels, time) or (features,): ``input_shape`` of
            `build_heads`.
        grid: patches along each axis: ``token_grid`` of `build_heads`.

    Returns:
        (height, width) or (steps,) of a patch, as `patchify` takes it; () for a table, whose patches are its features
        one by one.

    Raises:
        BackboneError: if such patches do not fill the sample.

    Example:
        >>> patch_sides((3, 224, 320), (14, 20))
        (16, 16)
    """
    if len(shape) == 1:
        if tuple(grid) != tuple(shape):
            raise BackboneError(
                f"a grid of {' x '.join(map(str, grid))} tokens is not one for each of {shape[0]} features; use "
                "backbone='table_transformer', or a module of your own with a token for each feature"
            )
        return ()
    sides = tuple(shape[1:])
    if len(sides) != len(grid) or any(side % steps for side, steps in zip(sides, grid, strict=True)):
        raise BackboneError(
            f"a grid of {' x '.join(map(str, grid))} tokens does not fill samples of {' x '.join(map(str, sides))}; "
            + (
                "give an image_size that is a multiple of the backbone's patches"
                if len(sides) == 2
                else "give signals whose length is a multiple of the backbone's patches"
            )
        )
    return tuple(side // steps for side, steps in zip(sides, grid, strict=True))


def patchify(x: Tensor, patch_size: int | Sequence[int]) -> Tensor:
    """Cut images, signals or tables into patches, in the order of a vision transformer's patch tokens.

    Within a patch, values run over its positions first and its channels last, as in MAE (He et al., 2021,
    arXiv:2111.06377, the authors' code).

    Args:
        x: images [batch, channels, height, width], signals [batch, channels, time], or tables [batch, features].
        patch_size: of each axis, or one number for all; it must divide the axis. Of a table (): its features, which
            have no order, are patches of one value.

    Returns:
        [batch, N, values], with ``values`` the product of ``patch_size`` and the channels; 1 for tables.

    Raises:
        ValueError: if ``patch_size`` does not fit.

    Example:
        >>> import torch
        >>> patchify(torch.zeros(2, 3, 32, 48), 16).shape, patchify(torch.zeros(2, 9, 128), 8).shape
        (torch.Size([2, 6, 768]), torch.Size([2, 16, 72]))
        >>> patchify(torch.zeros(2, 14), ()).shape
        torch.Size([2, 14, 1])
    """
    if x.ndim == 2:
        if _is_size(patch_size):
            raise ValueError(f"patch_size={patch_size!r} does not fit a table, whose patches have no sides; give ()")
        return x.unsqueeze(-1)
    size = _per_axis(patch_size, x.ndim - 2)
    batch, channels, *sides = x.shape
    if any(side % part for side, part in zip(sides, size, strict=True)):
        raise ValueError(f"patches of {size} do not fill {tuple(sides)}; give a patch_size that divides each side")
    grid = [side // part for side, part in zip(sides, size, strict=True)]
    # [B, C, rows, height of a patch, columns, width of a patch] for images
    cut = x.reshape(batch, channels, *(n for pair in zip(grid, size, strict=True) for n in pair))
    axes = range(len(grid))
    order = (0, *(2 + 2 * axis for axis in axes), *(3 + 2 * axis for axis in axes), 1)
    return cut.permute(order).reshape(batch, math.prod(grid), -1)


def unpatchify(patches: Tensor, grid: Sequence[int], patch_size: int | Sequence[int]) -> Tensor:
    """Put patches together again: the inverse of `patchify`.

    Args:
        patches: [batch, N, values].
        grid: patches along each axis, (rows, columns) or (steps,); their product is N.
        patch_size: as in `patchify`.

    Returns:
        [batch, channels, height, width], [batch, channels, time], or for a ``patch_size`` of () [batch, features].

    Raises:
        ValueError: if the sizes do not fit together.

    Example:
        >>> import torch
        >>> images = torch.rand(2, 3, 32, 48)
        >>> torch.equal(unpatchify(patchify(images, 16), (2, 3), 16), images)
        True
    """
    batch, number, values = patches.shape
    if not _is_size(patch_size):
        if (number,) != tuple(grid) or values != 1:
            raise ValueError(
                f"{number} patches of {values} values are no table with a grid of {tuple(grid)}; its patches are as "
                "many as its features, of one value"
            )
        return patches.squeeze(-1)
    size = _per_axis(patch_size, len(grid))
    if number != math.prod(grid) or values % math.prod(size):
        raise ValueError(
            f"{number} patches of {values} values are no grid of {tuple(grid)} with patches of {size}; give the grid "
            "and the patch_size that patchify had"
        )
    cut = patches.reshape(batch, *grid, *size, -1)
    axes = range(len(grid))
    order = (0, cut.ndim - 1, *(n for axis in axes for n in (1 + axis, 1 + len(grid) + axis)))
    return cut.permute(order).reshape(batch, -1, *(n * part for n, part in zip(grid, size, strict=True)))


def normalize_patches(patches: Tensor, eps: float = 1e-6) -> Tensor:
    """Give the values of each patch mean 0 and variance 1: MAE's targets.

    The variance is the unbiased one (divided by n - 1), as in the authors' code, ``forward_loss`` of
    ``models_mae.py`` (He et al., 2021, arXiv:2111.06377, section 3, reconstruction target).

    Args:
        patches: [..., values], at least two values.
        eps: added to the variance.

    Returns:
        The same shape.

    Raises:
        ValueError: if a patch has fewer than two values.

    Example:
        >>> import torch
        >>> normalize_patches(torch.tensor([1.0, 2.0, 3.0]))
        tensor([-1.0000,  0.0000,  1.0000])
    """
    if patches.shape[-1] < 2:
        raise ValueError("a patch of one value has no variance; give patches of at least two")
    variance = patches.var(-1, correction=1, keepdim=True)
    return (patches - patches.mean(-1, keepdim=True)) / (variance + eps).sqrt()


def denormalize_patches(values: Tensor, patches: Tensor, eps: float = 1e-6) -> Tensor:
    """Give predicted patches mean and variance of the true ones: the inverse of `normalize_patches`, for pictures.

    Args:
        values: predictions of normalized values, [..., values].
        patches: the true patches, of the same shape.
        eps: as in `normalize_patches`.

    Returns:
        The same shape.

    Example:
        >>> import torch
        >>> patches = torch.tensor([1.0, 2.0, 6.0])
        >>> denormalize_patches(normalize_patches(patches), patches)
        tensor([1.0000, 2.0000, 6.0000])
    """
    deviation = (patches.var(-1, correction=1, keepdim=True) + eps).sqrt()
    return values * deviation + patches.mean(-1, keepdim=True)


def replace_patches(patches: Tensor, indices: Tensor, values: Tensor) -> Tensor:
    """Return patches with others in the place of some: what `select_patches` takes out goes in again.

    Args:
        patches: [batch, N, values].
        indices: which are replaced, [batch, K] int64.
        values: [batch, K, values], in the order of ``indices``.

    Returns:
        [batch, N, values], in the type of ``patches``; a copy.

    Example:
        >>> import torch
        >>> replace_patches(torch.zeros(1, 3, 1), torch.tensor([[2]]), torch.ones(1, 1, 1)).flatten()
        tensor([0., 0., 1.])
    """
    return patches.scatter(1, indices.unsqueeze(-1).expand_as(values), values.to(patches.dtype))


def select_patches(patches: Tensor, indices: Tensor) -> Tensor:
    """Choose patches by their indices, for each sample its own.

    Args:
        patches: [batch, N, values].
        indices: [batch, K] int64, such as ``keep`` and ``masked`` of a `PatchMask`.

    Returns:
        [batch, K, values], in the order of ``indices``.

    Example:
        >>> import torch
        >>> select_patches(torch.arange(6.0).view(2, 3, 1), torch.tensor([[2], [0]])).flatten()
        tensor([2., 3.])
    """
    return patches.gather(1, indices.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))


def _is_size(patch_size: int | Sequence[int]) -> bool:
    """Whether patches have sides, as those of tables have not."""
    return isinstance(patch_size, int) or len(patch_size) > 0


def _per_axis(patch_size: int | Sequence[int], axes: int) -> tuple[int, ...]:
    size = (patch_size,) * axes if isinstance(patch_size, int) else tuple(patch_size)
    if len(size) != axes or axes < 1 or min(size) < 1:
        raise ValueError(f"patch_size={patch_size!r} does not fit {axes} axes; give one number of at least 1 for each")
    return size
