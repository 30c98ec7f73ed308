"""What the parity scripts of the methods on patch tokens share: ten steps of two compositions side by side.

With ``--digits STEPS`` the steps are of real images, from other masks for each, and what both backbones have learned is
judged by k-NN beside what they began with.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterable
from typing import Any

import timm
import torch
from lightly.models.modules import MaskedVisionTransformerTIMM
from torch import Tensor, nn

from ssl_registry import Context, SSLModule, registry
from ssl_registry.data import open_source
from ssl_registry.measures.knn import knn_accuracy

STEPS, BATCH, SIDE, PATCH = 10, 8, 32, 8
GRID = (SIDE // PATCH, SIDE // PATCH)
TOLERANCE = 1e-9  # rounding in float64; Adam's first steps divide by gradients near zero


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--digits", type=int, metavar="STEPS", help="learn from so many batches of digits")
    parser.add_argument("--seed", type=int, default=0, help="of the weights, the batches and the masks")
    return parser.parse_args()


def number_of_steps() -> int:
    """Return how many steps there are, for schedules."""
    return arguments().digits or STEPS


def build(method: str, backbone: dict[str, Any], **options: Any) -> tuple[SSLModule, Any]:
    """Return our model and lightly's encoder, in float64, with equal weights; both learn their positions."""
    seed = arguments().seed
    torch.manual_seed(seed)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=SIDE, patch_size=PATCH, depth=2, num_classes=0, **backbone)
    model = registry.create(method, backbone=vit, input_shape=(3, SIDE, SIDE), seed=seed, **options).double()
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
        SystemExit: if they differ by more than rounding; on digits they may.
    """
    options, total = arguments(), number_of_steps()
    images = digits() if options.digits else None

    def context(step: int, generator: torch.Generator) -> Context:
        return Context(0, step, total, rank=0, world_size=1, generator=generator, log=lambda name, value: None)

    def ours(x: Tensor, generator: torch.Generator) -> Tensor:
        found = model.hook.compute_loss(model=model, views=views_of(x), ctx=context(0, generator))
        loss: Tensor = found["loss"] if isinstance(found, dict) else found
        return loss

    weights = [list(model.parameters()), [*encoder.parameters(), *rest]]
    optimizers = [torch.optim.AdamW([p for p in part if p.requires_grad], lr=1e-3) for part in weights]
    # On digits each draws masks of its own: two runs of a method, not one made twice.
    generators = [
        torch.Generator().manual_seed(1 + (2 * options.seed + number if options.digits else 0)) for number in range(2)
    ]
    before = None if images is None else judge(encoder.vit, images)
    worst = 0.0
    for step in range(total):
        if images is None:
            x = torch.randn(BATCH, 3, SIDE, SIDE, dtype=torch.float64)
        else:
            x = images[0][torch.randint(len(images[0]), (64,))]
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
        if images is None or step % 20 == 0:
            print(f"step {step}: ours {losses[0]:.12f}, lightly {losses[1]:.12f}", flush=True)
    if images is not None:
        ours_knn, theirs_knn = judge(model.backbone, images), judge(encoder.vit, images)
        print(f"k-NN of digits after {total} steps: ours {ours_knn:.3f}, lightly {theirs_knn:.3f}; before {before:.3f}")
        return
    pairs = zip(model.backbone.parameters(), encoder.vit.parameters(), strict=True)
    weight = max(float((a - b).detach().abs().max()) for a, b in pairs)
    print(f"largest difference: loss {worst:.1e}, weights {weight:.1e}")
    if max(worst, weight) > TOLERANCE:
        raise SystemExit(f"differs by more than {TOLERANCE}")


def digits() -> list[Tensor]:
    """Return images and labels to train on, and to judge by: [N, 3, SIDE, SIDE] in float64, standardized."""
    source = open_source("digits", image_size=SIDE)
    assert source.test is not None
    found = []
    for part in (source.train, source.test):
        x = torch.stack([part[index][0] for index in range(len(part))]).double() / 255
        found += [((x - 0.3) / 0.35).expand(-1, 3, -1, -1), torch.tensor([int(part[i][1]) for i in range(len(part))])]
    return found


@torch.inference_mode()
def judge(network: nn.Module, images: list[Tensor]) -> float:
    """Return the k-NN accuracy of the mean of the patch tokens."""
    x, y, x_test, y_test = images

    def features(part: Tensor) -> Tensor:
        found: Tensor = torch.cat([network.forward_features(some)[:, 1:].mean(1) for some in part.split(256)])  # type: ignore[operator]
        return found.float()

    training = network.training
    network.eval()
    found = knn_accuracy(features(x), y, features(x_test), y_test)
    network.train(training)
    return found
