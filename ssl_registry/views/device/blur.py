"""Gaussian blur of a batch, with a width for each image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["gaussian_blur", "kernel_size"]


def kernel_size(side: int) -> int:
    """Return the odd number of pixels nearest below a tenth of the image's side, at least 3 (SimCLR, appendix A).

    >>> kernel_size(224), kernel_size(32)
    (23, 3)
    """
    return max(3, round(side / 10) // 2 * 2 + 1)


def gaussian_blur(images: Tensor, sigma: Tensor, size: int) -> Tensor:
    """Blur each image by its own Gaussian, separably, with reflected borders as torchvision does.

    Args:
        images: float [B, C, H, W].
        sigma: [B], in pixels.
        size: of the kernel, odd, in pixels; reduced where the image is too small to reflect.
    """
    batch, channels, height, width = images.shape
    half = min(size // 2, height - 1, width - 1)
    offset = torch.arange(-half, half + 1, device=images.device)
    kernel = torch.exp(-0.5 * (offset / sigma[:, None]).square())
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0).to(images.dtype)  # [B * C, size]
    # A group for each image and channel gives each its own kernel in one call.
    x = F.pad(images.reshape(1, batch * channels, height, width), [half] * 4, mode="reflect")
    x = F.conv2d(x, kernel[:, None, :, None], groups=batch * channels)
    x = F.conv2d(x, kernel[:, None, None, :], groups=batch * channels)
    return x.view(batch, channels, height, width)
