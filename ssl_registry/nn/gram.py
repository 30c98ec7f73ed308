"""`gram_loss`: patches keep their similarities to each other, whatever their features become."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["gram_loss", "resize_patches"]


def gram_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the Gram matrices of two networks' patch tokens, image by image.

    With the unit vectors of an image's N patches as rows of X_S and X_G,

        loss = |X_S X_S^T - X_G X_G^T|_F^2 / N^2, averaged over images.

    Source: Siméoni et al., 2025, arXiv:2508.10104 (DINOv3), section 4.2, equation 2; the division by N^2, the mean in
    place of the sum, is the authors' code.

    Args:
        student: [batch, N, dim].
        teacher: [batch, N, any dim]; it gets no gradient.

    Returns:
        A scalar in float32 (float64 for float64), also under autocast.

    Raises:
        ValueError: if the two differ in batch or number of patches.

    Example:
        >>> apart = torch.eye(2).unsqueeze(0)  # two patches at a right angle
        >>> gram_loss(torch.ones(1, 2, 2), apart), gram_loss(3 * apart, apart)
        (tensor(0.5000), tensor(0.))
    """
    if student.ndim != 3 or teacher.ndim != 3 or student.shape[:2] != teacher.shape[:2]:
        raise ValueError(
            f"patch tokens have shapes {list(student.shape)} and {list(teacher.shape)}; they must be [batch, N, dim] "
            "with as many patches in both: resize_patches"
        )
    dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    with torch.autocast(student.device.type, enabled=False):
        ours, theirs = (F.normalize(x.to(dtype), dim=2) for x in (student, teacher.detach()))
        return (ours @ ours.mT - theirs @ theirs.mT).square().mean()


def resize_patches(patches: Tensor, grid: Sequence[int], size: Sequence[int]) -> Tensor:
    """Resize a map of patch tokens by bicubic interpolation, without antialiasing.

    Source: Siméoni et al., 2025, arXiv:2508.10104 (DINOv3), section 4.3: the tokens of an image at twice the size,
    brought to the student's grid; the authors' code for the filter.

    Args:
        patches: [batch, N, dim], row by row.
        grid: their rows and columns.
        size: the wanted ones.

    Returns:
        [batch, rows * columns, dim], in float32 (float64 for float64).

    Raises:
        ValueError: if there are not as many patches as the grid has.

    Example:
        >>> resize_patches(torch.ones(2, 16, 3), (4, 4), (2, 2)).shape
        torch.Size([2, 4, 3])
    """
    rows, columns = grid
    if patches.shape[1] != rows * columns:
        raise ValueError(f"{patches.shape[1]} patches are no grid of {tuple(grid)}")
    x = patches.to(torch.promote_types(patches.dtype, torch.float32)).mT.reshape(len(patches), -1, rows, columns)
    return F.interpolate(x, tuple(size), mode="bicubic", align_corners=False).flatten(2).mT
