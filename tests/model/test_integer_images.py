"""Images of any integer type are what they are as uint8; what is neither that nor in [0, 1] is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ssl_registry import registry
from ssl_registry.errors import BatchError
from ssl_registry.model.module import SSLModule

IMAGES = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> SSLModule:
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return registry.create("simclr", backbone=backbone, input_shape=(3, 8, 8)).eval()


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.int16])
def test_wider_integers(model: SSLModule, kind: torch.dtype) -> None:
    """As a loader of Hugging Face's torch format gives them: features and views are the same."""
    assert torch.equal(model.embed(IMAGES.to(kind)), model.embed(IMAGES))
    assert torch.equal(model.batch_loss(IMAGES.to(kind), 0)[0], model.batch_loss(IMAGES, 0)[0])
    ready = [IMAGES.to(kind), IMAGES.to(kind)]
    assert torch.equal(model.batch_loss((ready, None), 0)[0], model.batch_loss(([IMAGES, IMAGES], None), 0)[0])


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES.float(), "float32 from 0 to 255"),
        (IMAGES.double(), "float64 from 0 to 255"),
        (IMAGES.float() / 128 - 1, "float32 from -1 to 0.992"),
        (IMAGES.long() * 257, "int64 from 0 to 6.55e"),
        (torch.full_like(IMAGES, 1).float() * float("nan"), "NaN or infinity"),
    ],
)
def test_other_ranges_are_refused(model: SSLModule, images: Tensor, words: str) -> None:
    """By what they are, with what is taken."""
    for call in (model.embed, lambda x: model.batch_loss(x, 0)):
        model._checked_range = False
        with pytest.raises(BatchError, match=words):
            call(images)


def test_float64_by_default() -> None:
    """Views of uint8 are drawn where tensors are of 64 bits."""
    torch.set_default_dtype(torch.float64)
    try:
        backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        made = registry.create("simclr", backbone=backbone, input_shape=(3, 8, 8))
        assert made.batch_loss(IMAGES, 0)[0].isfinite()
    finally:
        torch.set_default_dtype(torch.float32)
