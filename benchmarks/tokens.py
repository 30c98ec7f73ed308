"""What dropping patches saves: a vision transformer on a quarter of its patches beside all, forward and backward."""

from __future__ import annotations

import timm
import torch
from harness import Work, arguments, run

from ssl_registry.nn import random_mask, tokens

SECTION = "Tokens"
# A quarter of 196 patches and the class token are 50 of 197 tokens. With the patch embedding, which sees all patches,
# 0.4 of the time is the most that is wanted.
GOAL = {"all 196 patches": 1 / 0.4}


def contenders(name: str, batch: int, device: str) -> Work:
    """Return steps of a network in training mode on a quarter of the patches, and on all."""
    network = timm.create_model(name, num_classes=0).to(device).train()
    images = torch.randn(batch, 3, 224, 224, device=device)
    keep = random_mask(batch, (14, 14), 0.75, device=device).keep

    def step(**request: torch.Tensor) -> None:
        tokens(network, images, **request).patches.square().mean().backward()
        network.zero_grad()

    def plain() -> None:
        network.forward_features(images).square().mean().backward()
        network.zero_grad()

    return Work(
        f"{name}, batch {batch}, forward and backward",
        {
            "a quarter of 196 patches": lambda: step(keep=keep),
            "all 196 patches": step,
            "all, timm's forward_features": plain,
        },
        SECTION,
        goal=GOAL,
    )


if __name__ == "__main__":
    options = arguments(__doc__, batch=8)
    run([contenders("vit_small_patch16_224", options.batch, options.device)], options)
