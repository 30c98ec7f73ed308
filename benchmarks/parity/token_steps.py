"""What the parity scripts of the methods on patch tokens share: ten steps of two compositions side by side."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import timm
import torch
from lightly.models.modules import MaskedVisionTransformerTIMM
from torch import Tensor, nn

from ssl_registry import Context, SSLModule, registry

STEPS, BATCH, SIDE, PATCH = 10, 8, 32, 8
GRID = (SIDE // PATCH, SIDE // PATCH)
TOLERANCE = 1e-9  # rounding in float64; Adam's first steps divide by gradients near zero


def build(method: str, backbone: dict[str, Any], **options: Any) -> tuple[SSLModule, Any]:
    """Return our model and lightly's encoder, in float64, with equal weights; both learn their positions."""
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=SIDE, patch_size=PATCH, depth=2, num_classes=0, **backbone)
    model = registry.create(method, backbone=vit, input_shape=(3, SIDE, SIDE), seed=0, **options).double()
    encoder = MaskedVisionTransformerTIMM(copy.deepcopy(vit), weight_initialization="skip").double()
    encoder.vit.load_state_dict(vit.state_dict())
    encoder.vit.pos_embed.requires_grad_(True)
    return model, encoder


def compare(
    model: SSLModule,
    encoder: Any,
    rest: Iterable[nn.Parameter],
    theirs: Callable[[Tensor, torch.Generator], Tensor],
    after_step: Callable[[int], None] = lambda step: None,
    views_of: Callable[[Tensor], list[Tensor]] = lambda x: [x],
) -> None:
    """Print losses of ten steps of AdamW and the largest differences.

    Args:
        model: ours.
        encoder: lightly's, whose backbone is compared in the end.
        rest: lightly's other parameters.
        theirs: lightly's loss of a batch, with a generator in the state of ours.
        after_step: told the number of each step, from 0, when both have made it.
        views_of: makes our views of a batch.

    Raises:
        SystemExit: if they differ by more than rounding.
    """

    def context(step: int, generator: torch.Generator) -> Context:
        return Context(0, step, STEPS, rank=0, world_size=1, generator=generator, log=lambda name, value: None)

    def ours(x: Tensor, generator: torch.Generator) -> Tensor:
        found = model.hook.compute_loss(model=model, views=views_of(x), ctx=context(0, generator))
        loss: Tensor = found["loss"] if isinstance(found, dict) else found
        return loss

    weights = [list(model.parameters()), [*encoder.parameters(), *rest]]
    optimizers = [torch.optim.AdamW([p for p in part if p.requires_grad], lr=1e-3) for part in weights]
    generators = [torch.Generator().manual_seed(1) for _ in optimizers]
    worst = 0.0
    for step in range(STEPS):
        x = torch.randn(BATCH, 3, SIDE, SIDE, dtype=torch.float64)
        losses = []
        for loss_of, optimizer, generator in zip((ours, theirs), optimizers, generators, strict=True):
            loss = loss_of(x, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.hook.on_step_end(model=model, ctx=context(step + 1, generators[0]))
        after_step(step)
        worst = max(worst, abs(losses[0] - losses[1]))
        print(f"step {step}: ours {losses[0]:.12f}, lightly {losses[1]:.12f}")
    pairs = zip(model.backbone.parameters(), encoder.vit.parameters(), strict=True)
    weight = max(float((a - b).detach().abs().max()) for a, b in pairs)
    print(f"largest difference: loss {worst:.1e}, weights {weight:.1e}")
    if max(worst, weight) > TOLERANCE:
        raise SystemExit(f"differs by more than {TOLERANCE}")
