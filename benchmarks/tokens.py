"""What dropping patches saves, in a network and in MAE's whole step; MAE's and iBOT's steps beside lightly's parts."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import timm
import torch
from distillation import ibot_step
from harness import Work, arguments, run
from mae_peer import PeerMAE
from torch import Tensor, nn

from ssl_registry import Context, SSLModule, registry
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


def mae_step(name: str, batch: int, device: str, **decoder: int) -> Work:
    """Return MAE's steps, decoder and optimizer included: three quarters of the patches dropped, by us and by lightly's
    parts from our backbone's weights, and one patch alone.

    Raises:
        SystemExit: if the first losses of ours and lightly's differ by more than other masks and decoders explain.
    """
    images = torch.randn(batch, 3, 224, 224, device=device)

    def model_of(mask_ratio: float) -> SSLModule:
        return registry.create("mae", backbone=name, mask_ratio=mask_ratio, seed=0, **decoder).to(device).train()

    def stepper(model: nn.Module, loss_of: Callable[[], Tensor]) -> Callable[[], Tensor]:
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

        def step() -> Tensor:
            loss = loss_of()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach()

        return step

    def our_step(model: SSLModule) -> Callable[[], Tensor]:
        generator = torch.Generator(device).manual_seed(0)
        ctx = Context(0, 0, None, rank=0, world_size=1, generator=generator, log=lambda name, value: None)

        def loss_of() -> Tensor:
            loss: Tensor = model.hook.compute_loss(model=model, views=[images], ctx=ctx)
            return loss

        return stepper(model, loss_of)

    model = model_of(0.75)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lightly's decoder will be renamed
        peer = PeerMAE(model).to(device).train()
    steps = {
        "147 of 196 patches dropped": our_step(model),
        "the same, lightly's parts": stepper(peer, lambda: peer.training_step(((images,), None), 0)),
        "1 of 196 dropped": our_step(model_of(1 / 196)),
    }
    ours, theirs, _ = (float(step()) for step in steps.values())
    if abs(ours - theirs) > 0.2 * ours:
        raise SystemExit(f"the first losses are {ours} and {theirs}")
    size = f"decoder {decoder['decoder_depth']} x {decoder['decoder_dim']}"
    goal = {"the same, lightly's parts": 1.0, "1 of 196 dropped": 2.0}
    return Work(f"MAE's step, {name}, {size}, batch {batch}", steps, SECTION, goal=goal, rounds=7)


if __name__ == "__main__":
    options = arguments(__doc__, batch=8)
    rest = options.batch, options.device
    works = [
        contenders("vit_small_patch16_224", *rest),
        # A decoder as light beside the backbone as the paper's is beside ViT-L, and the paper's beside ViT-B.
        mae_step(
            "vit_tiny_patch16_224", options.batch, options.device, decoder_dim=64, decoder_depth=2, decoder_heads=4
        ),
        mae_step(
            "vit_base_patch16_224", options.batch, options.device, decoder_dim=512, decoder_depth=8, decoder_heads=16
        ),
        ibot_step("vit_tiny_patch16_224", options.batch, options.device, SECTION),
    ]
    run(works, options)
