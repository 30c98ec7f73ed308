"""The method: DINO's and iBOT's losses, with Sinkhorn-Knopp, KoLeo and untied heads; DINOv3's Gram anchoring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.errors import ConfigError
from ssl_registry.nn import (
    Center,
    MaskToken,
    MomentumTeacher,
    Prototypes,
    ViewMasks,
    bottleneck_mlp,
    class_and_patch_outputs,
    cosine_schedule,
    cross_view_entropy,
    deactivate_requires_grad,
    embedding_dim,
    forward_token_crops,
    gram_loss,
    koleo_loss,
    linear_schedule,
    masked_entropy,
    resize_patches,
    sinkhorn,
    tokens,
    update_momentum,
    view_block_masks,
)
from ssl_registry.views import ViewPolicy, multi_crop_views, small_view_size

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule

LARGE = 2  # views that the teacher sees
MIN_BLOCK = 4  # patches (the authors' code)
GRAM_SCALE = 2  # how much larger the Gram teacher's views are (DINOv3, section 4.3)


class DINOv2:
    """DINOv2 (Oquab et al., 2023), arXiv:2304.07193, and the Gram anchoring of DINOv3 (2025), arXiv:2508.10104.

    The teacher (``model.heads["target"]``) is the student's moving average and sees the two large views alone. The
    student sees all views; of half of the large ones blocks of patches are masked. With the teacher's distributions t
    and the student's s (section 4),

        loss = mean over pairs of different views of -t . log s of their class tokens (DINO's)
             + patch_weight * mean over masked patches of -t . log s of the same patch of the same view (iBOT's)
             + koleo_weight * KoLeo of the student's class tokens, summed over the large views
             + gram_weight * distance of the patches' Gram matrix from that of a Gram teacher, from ``gram_start`` on.

    The teacher's distributions come from Sinkhorn-Knopp over all ranks, or from centers as in DINO. Class and patch
    tokens have a head each, unless ``shared_head`` is on. The student's stochastic depth is the backbone's
    ``drop_path_rate``; the teacher has none. The product is the teacher's backbone.

    With ``gram`` a third network, the Gram teacher, is the teacher as it was at step ``gram_start``, and is taken anew
    every ``gram_every`` steps. It sees the large views at twice the size, and its tokens are brought to the student's
    grid; student and teacher see these views at half of that size. It is a head, so a checkpoint has it.

    The backbone is a vision transformer of timm, with ``dynamic_img_size`` for the views' sizes, or a module of yours
    whose method ``tokens`` can mask patches. Without a class token its patches' mean takes the place.

    Heads: ``projection_head``, ``last_layer``, ``patch_projection_head``, ``patch_last_layer``, ``mask_token``,
    ``target``; by options ``center``, ``patch_center``, ``gram_teacher``. All but the centers can be given.
    """

    needs = Needs(
        batch="64 and more: Sinkhorn-Knopp and KoLeo compare its samples",
        memory="a second backbone and heads; prototypes of all masked patches; with gram a third backbone",
        modalities=("image",),
        tokens="mask",
        backbone="vit_small_patch16_224",
        # The authors' LayerScale, which their code has in all networks, and stochastic depth, 0.3 in their ViT-L/16.
        backbone_kwargs={"dynamic_img_size": True, "init_values": 1e-5, "drop_path_rate": 0.1},
    )

    class Config(MethodConfig):
        """Options of DINOv2."""

        learning_rate: float = Field(1e-3, gt=0, description="The authors': 0.004 * sqrt(batch size / 1024).")
        weight_decay: float = Field(0.04, ge=0, description="At the first step; biases, norms and tokens are excluded.")
        final_weight_decay: float | None = Field(0.4, ge=0, description="At the last step, along half a cosine.")
        hidden_dim: int = Field(2048, ge=1, description="Width inside the projection head.")
        projection_layers: int = Field(3, ge=1, description="Linear layers in front of the last layer.")
        bottleneck_dim: int = Field(256, ge=1, description="Width in front of the last layer.")
        prototypes: int = Field(65536, ge=2, description="Width of the last layer.")
        shared_head: bool = Field(False, description="One head for class and patch tokens, or one for each.")
        patch_weight: float = Field(1.0, ge=0, description="Weight of the loss of masked patches.")
        koleo_weight: float = Field(0.1, ge=0, description="Weight of KoLeo on the large views' class tokens.")
        centering: Literal["sinkhorn", "center"] = Field(
            "sinkhorn", description="What keeps the teacher's outputs apart: Sinkhorn-Knopp, or DINO's centers."
        )
        mask_probability: float = Field(0.5, gt=0, le=1, description="Share of the large views that is masked.")
        min_mask_ratio: float = Field(0.1, gt=0, lt=1, description="Least share of a masked view's patches.")
        max_mask_ratio: float = Field(0.5, gt=0, lt=1, description="Largest share of a masked view's patches.")
        temperature: float = Field(0.1, gt=0, description="The student's softmax temperature.")
        teacher_temperature: float = Field(0.07, gt=0, description="The teacher's, after its warm-up.")
        warmup_teacher_temperature: float = Field(0.04, gt=0, description="The teacher's at the start.")
        warmup_teacher_epochs: int = Field(30, ge=0, description="Epochs of that warm-up.")
        momentum: float = Field(0.992, ge=0, le=1, description="The teacher's momentum at the first step.")
        final_momentum: float = Field(1.0, ge=0, le=1, description="The teacher's momentum at the last step.")
        center_momentum: float = Field(
            0.9, ge=0, le=1, description="The momentum of both centers, with centering=center."
        )
        frozen_epochs: int = Field(1, ge=0, description="Epochs in which last layers rest.")
        local_views: int = Field(8, ge=0, description="Small views.")
        local_size: int | None = Field(None, ge=1, description="Their side in pixels; default: 96 at 224.")
        gram: bool = Field(False, description="Anchor the patches' Gram matrix (DINOv3).")
        gram_weight: float = Field(2.0, ge=0, description="Weight of that loss.")
        gram_start: int = Field(1_000_000, ge=0, description="Optimizer step from which on it counts.")
        gram_every: int = Field(10_000, ge=1, description="Steps after which the Gram teacher is taken anew.")

    declares = Declares(
        fails={"run_lengths": "the weight decay rises until the run's end, so a run without one is refused in words"},
        small={"hidden_dim": 16, "bottleneck_dim": 8, "prototypes": 12, "local_views": 2, "warmup_teacher_epochs": 2}
        | {"gram_start": 0, "gram_every": 2},
        by_epochs="last layers rest in the first epoch (the authors' code, as DINO's)",
        reference="ssl_registry_dinov2.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(
        self, backbone: nn.Module, token_dim: int, token_grid: tuple[int, ...], overrides: Overrides
    ) -> dict[str, nn.Module]:
        """Build the student's heads, the mask token, the teachers as frozen copies, and the centers."""
        config = self.config
        try:
            self.masks(1, token_grid)
        except ValueError as error:
            raise ConfigError(f"min_mask_ratio and max_mask_ratio do not suit this backbone: {error}") from error
        hidden, bottleneck, layers = config.hidden_dim, config.bottleneck_dim, config.projection_layers
        heads: dict[str, nn.Module] = {}
        for prefix in ("",) if config.shared_head else ("", "patch_"):
            projection, last = f"{prefix}projection_head", f"{prefix}last_layer"
            heads[projection] = overrides.take(
                projection, lambda: bottleneck_mlp(token_dim, hidden, bottleneck, num_layers=layers)
            )
            heads[last] = overrides.take(last, lambda: Prototypes(bottleneck, config.prototypes, weight_norm=True))
        target = overrides.take("target", lambda: MomentumTeacher(backbone, *heads.values()))
        deactivate_requires_grad(target)  # the user's own, too
        mask_token = overrides.take("mask_token", lambda: MaskToken(embedding_dim(backbone, token_dim)))
        heads |= {"mask_token": mask_token, "target": target}
        if config.centering == "center":
            heads |= {name: Center(config.prototypes, config.center_momentum) for name in ("center", "patch_center")}
        if config.gram:
            heads["gram_teacher"] = overrides.take("gram_teacher", lambda: MomentumTeacher(backbone))
            deactivate_requires_grad(heads["gram_teacher"])
        return heads

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """DINO's views, with the authors' shares of the area; with `gram` the large ones at twice the size."""
        config = self.config
        if config.gram and image_size is None:
            raise ConfigError("gram needs views at twice the images' size, which is not known; give image_size")
        large = GRAM_SCALE * image_size if config.gram and image_size else None
        size = config.local_size or small_view_size(image_size)
        views = multi_crop_views(
            image_size, large=(0.32, 1.0), small=(0.05, 0.32), copies=config.local_views, size=size, large_size=large
        )
        return ViewPolicy(views=views, image_size=image_size)

    @hookimpl
    def on_fit_start(self, ctx: Context) -> None:
        """Refuse a run that ends before the Gram loss begins, which would be another method without a word."""
        start = self.config.gram_start
        if self.config.gram and ctx.max_steps is not None and ctx.max_steps <= start:
            raise ConfigError(
                f"gram begins at step gram_start={start}, and the run ends at {ctx.max_steps}; give a smaller one"
            )

    @hookimpl
    def frozen_modules(self, model: SSLModule, ctx: Context) -> set[str]:
        """Let last layers rest in the first epochs."""
        return {"last_layer", "patch_last_layer"} & {*model.heads} if ctx.epoch < self.config.frozen_epochs else set()

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> dict[str, Tensor]:
        """Add up the losses of class tokens, masked patches, KoLeo and, late in a run, the Gram matrix."""
        config, heads, grid = self.config, model.heads, model.token_grid
        assert grid is not None  # it was asked for
        sharp_views = views[:LARGE]
        if config.gram:
            views = [*(F.avg_pool2d(view, GRAM_SCALE) for view in sharp_views), *views[LARGE:]]
        chosen = self.masks(len(views[0]), grid, ctx)
        student = forward_token_crops(model.backbone, views, mask=chosen.mask, mask_token=heads["mask_token"]())
        targets, patch_targets = self.targets(heads, views[:LARGE], chosen, self.teacher_temperature_at(ctx.epoch))
        outputs, patch_outputs = class_and_patch_outputs(self.own_heads(heads), student, chosen.places)
        classes = cross_view_entropy(targets, outputs, temperature=config.temperature)
        patches = masked_entropy(patch_targets, patch_outputs, chosen.weights, temperature=config.temperature)
        # Neighbors are sought among the samples of all ranks.
        koleo = torch.stack([koleo_loss(ctx.gather(view)) for view in student.classes[:LARGE]]).sum()
        loss = classes + config.patch_weight * patches + config.koleo_weight * koleo
        values = {"class_loss": classes, "patch_loss": patches, "koleo_loss": koleo}
        if config.gram and ctx.step >= config.gram_start:
            with torch.no_grad():
                anchor = tokens(heads["gram_teacher"][0], torch.cat(sharp_views))
                wanted = resize_patches(anchor.patches, anchor.grid, grid)
            values["gram_loss"] = gram_loss(student.patches, wanted)
            loss = loss + config.gram_weight * values["gram_loss"]
        return {"loss": loss, **values}

    @torch.no_grad()
    def targets(self, heads: Any, views: list[Tensor], chosen: ViewMasks, temperature: float) -> tuple[Tensor, Tensor]:
        """Return the teacher's distributions of class tokens [large views, batch, K] and masked patches [M, K]."""
        network, *target_heads = heads["target"]
        classes, patches = class_and_patch_outputs(target_heads, forward_token_crops(network, views), chosen.places)
        if self.config.centering == "sinkhorn":
            assigned = sinkhorn(classes.flatten(0, 1), epsilon=temperature)
            return assigned.view_as(classes), sinkhorn(patches, epsilon=temperature)
        center, patch_center = heads["center"], heads["patch_center"]
        center.collect(classes)
        patch_center.collect(patches)
        return F.softmax(center(classes) / temperature, dim=2), F.softmax(patch_center(patches) / temperature, dim=1)

    def masks(self, batch_size: int, grid: tuple[int, ...], ctx: Context | None = None) -> ViewMasks:
        """Draw blocks for the large views of a batch (section 4)."""
        config = self.config
        return view_block_masks(
            LARGE,
            batch_size,
            grid,
            probability=config.mask_probability,
            ratio=(config.min_mask_ratio, config.max_mask_ratio),
            min_patches=MIN_BLOCK,
            first=0 if ctx is None else ctx.rank * batch_size,
            generator=None if ctx is None else ctx.generator,
        )

    def own_heads(self, heads: Any) -> list[nn.Module]:
        """Return the student's projection heads and last layers: of class tokens, and then of patches if untied."""
        prefixes = ("",) if self.config.shared_head else ("", "patch_")
        return [heads[f"{prefix}{name}"] for prefix in prefixes for name in ("projection_head", "last_layer")]

    @hookimpl
    def on_step_end(self, model: SSLModule, ctx: Context) -> None:
        """Move the teacher and the centers, and take the Gram teacher when it is time."""
        config, heads = self.config, model.heads
        momentum = cosine_schedule(ctx.step - 1, ctx.max_steps, config.momentum, config.final_momentum)
        ctx.log("momentum", momentum)
        update_momentum((model.backbone, *self.own_heads(heads)), heads["target"], momentum)
        if config.centering == "center":
            heads["center"].update()
            heads["patch_center"].update()
        # A function of the step alone, so a resumed run takes it when the other would have.
        if config.gram and ctx.step >= config.gram_start and (ctx.step - config.gram_start) % config.gram_every == 0:
            update_momentum(heads["target"][0], heads["gram_teacher"], 0.0)

    @hookimpl
    def product(self, model: SSLModule) -> nn.Module:
        """Return the teacher's backbone."""
        network: nn.Module = model.heads["target"][0]
        return network

    def teacher_temperature_at(self, epoch: int) -> float:
        """Return the teacher's temperature in an epoch, counted from 0: linear over the warm-up, then constant."""
        first, last = self.config.warmup_teacher_temperature, self.config.teacher_temperature
        return linear_schedule(epoch, self.config.warmup_teacher_epochs, first, last)
