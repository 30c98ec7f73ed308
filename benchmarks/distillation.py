"""A step of iBOT, ours and lightly's parts put together as its example does, on equal weights, views and masks."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import timm
import torch
from harness import Work
from torch import Tensor, nn

from ssl_registry import Context, SSLModule, registry
from ssl_registry.nn import view_block_masks

LARGE, SMALL, PROTOTYPES = 2, 4, 8192
MOMENTUM = 0.996


def ibot_step(name: str, batch: int, device: str, section: str) -> Work:
    """Return iBOT's steps with two views of 224 pixels and four of 96: loss, gradient, AdamW, teacher and centers.

    Raises:
        SystemExit: if the two have other first losses.
    """
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0, dynamic_img_size=True)
    options = {"prototypes": PROTOTYPES, "local_views": SMALL, "momentum": MOMENTUM, "final_momentum": MOMENTUM}
    shape = (3, 224, 224)
    model = registry.create("ibot", backbone=network, input_shape=shape, seed=0, **options).to(device).train()
    sides = [224] * LARGE + [96] * SMALL
    views = [torch.randn(batch, 3, side, side, device=device) for side in sides]
    lightlys = _lightlys_step(copy.deepcopy(model), views)
    ours = _our_step(model, views)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = float(ours()), float(lightlys())
    if abs(first[0] - first[1]) > 1e-4 * first[0]:
        raise SystemExit(f"the first losses are {first[0]} and {first[1]}")
    return Work(
        f"iBOT's step, {name}, 2 x 224 and {SMALL} x 96 pixels, batch {batch}",
        {"ssl-registry": ours, "lightly's parts": lightlys},
        section,
        rounds=7,
    )


def _our_step(model: SSLModule, views: list[Tensor]) -> Callable[[], Tensor]:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)

    def context(step: int) -> Context:
        # The same masks at every step, as lightly's parts have them.
        generator = torch.Generator(views[0].device).manual_seed(0)
        return Context(0, step, None, rank=0, world_size=1, generator=generator, log=lambda name, value: None)

    def step() -> Tensor:
        loss: Tensor = model.hook.compute_loss(model=model, views=views, ctx=context(0))["loss"]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        model.hook.on_step_end(model=model, ctx=context(1))
        return loss.detach()

    return step


def _lightlys_step(model: SSLModule, views: list[Tensor]) -> Callable[[], Tensor]:
    from lightly.loss import DINOLoss, IBOTPatchLoss
    from lightly.models.modules import DINOProjectionHead, MaskedVisionTransformerTIMM
    from lightly.models.utils import update_momentum

    device, grid = views[0].device, (14, 14)
    weights = copy.deepcopy(model.backbone.state_dict())
    student = MaskedVisionTransformerTIMM(model.backbone, weight_initialization="skip").to(device)
    student.vit.load_state_dict(weights)  # theirs has put fixed positions in place of the learned ones
    student.vit.pos_embed.requires_grad_(True)
    projection, last = model.heads["projection_head"], model.heads["last_layer"]

    def head() -> nn.Module:
        found = DINOProjectionHead(projection[0].in_features, 2048, 256, PROTOTYPES, norm_last_layer=True).to(device)
        found.layers.load_state_dict(projection.state_dict())
        with torch.no_grad():
            found.last_layer.weight_v.copy_(last.weight)
            student.mask_token.copy_(model.heads["mask_token"].weight)
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a form of weight_norm that will go
        student_head, teacher_head = head(), head().requires_grad_(False)
    teacher = copy.deepcopy(student).requires_grad_(False)
    class_loss = DINOLoss(PROTOTYPES, teacher_temp=0.04, warmup_teacher_temp_epochs=0).to(device)
    patch_loss = IBOTPatchLoss(PROTOTYPES, teacher_temp=0.04).to(device)
    trained = [*student.parameters(), *student_head.parameters()]
    optimizer = torch.optim.AdamW([p for p in trained if p.requires_grad], lr=1e-5)
    generator = torch.Generator(device).manual_seed(0)
    chosen = view_block_masks(LARGE, len(views[0]), grid, min_patches=16, generator=generator).mask
    mask = torch.cat([torch.zeros(len(chosen), 1, dtype=torch.bool, device=device), chosen], 1)

    def step() -> Tensor:
        large, small = torch.cat(views[:LARGE]), torch.cat(views[LARGE:])
        with torch.no_grad():
            whole = teacher.encode(large)
            wanted, wanted_patches = teacher_head(whole[:, 0]), teacher_head(whole[mask])
        seen = student.encode(large, mask=mask)
        given = torch.cat([student_head(seen[:, 0]), student_head(student.encode(small)[:, 0])])
        loss: Tensor = class_loss(wanted.chunk(LARGE), given.chunk(len(views)), teacher_temp=0.04)
        loss = loss + patch_loss(wanted_patches, student_head(seen[mask]), chosen.view(-1, *grid))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        update_momentum(student, teacher, MOMENTUM)
        update_momentum(student_head, teacher_head, MOMENTUM)
        return loss.detach()

    return step
