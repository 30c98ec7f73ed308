"""The method: a student matches its slow average, on class tokens of all views and on patches that it does not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    linear_schedule,
    masked_entropy,
    update_momentum,
    view_block_masks,
)
from ssl_registry.views import ViewPolicy, multi_crop_views, small_view_size

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule

LARGE = 2  # views that the teacher sees
BLOCK_SHARE = 3  # a block has at least a third of the grid's shorter side in height and width, BEiT's 16 of 14 x 14


class IBOT:
    """Image BERT pre-training with online tokenizer (Zhou et al., 2022), arXiv:2111.07832, with multi-crop.

    The teacher (``model.heads["target"]``) is the student's moving average and sees the two large views alone. The
    student sees all views; of half of the large ones blocks of patches are masked. With the teacher's distributions t,
    centered and sharpened, and the student's s,

        loss = mean over pairs of different views of -t . log s of their class tokens (equation 3, DINO's)
             + patch_weight * mean over masked patches of -t . log s of the same patch of the same view (equation 2).

    Class and patch tokens share a head, unless ``shared_head`` is off; each has a center of its own, which moves once
    an optimizer step, over all ranks. The teacher's temperature warms up over epochs, its momentum rises to 1 along
    half a cosine over optimizer steps, and so does the weight decay to its end; last layers rest in the first epochs.
    The product is the teacher's backbone (section 4).

    The backbone is a vision transformer of timm, which takes the small views with ``dynamic_img_size``, a Swin of one
    size without them, or a module of yours whose method ``tokens`` can mask patches. Without a class token its patches'
    mean takes the place.

    Heads: ``projection_head``, ``last_layer``, ``mask_token``, ``target``, ``center``, ``patch_center``; untied also
    ``patch_projection_head``, ``patch_last_layer``. All but the centers can be given.
    """

    needs = Needs(
        batch="64 and more: the centers are the batch's means",
        memory="a second backbone and head; views of two sizes; prototypes of all masked patches",
        modalities=("image",),
        tokens="mask",
        backbone="vit_small_patch16_224",
        backbone_kwargs={"dynamic_img_size": True, "drop_path_rate": 0.1},
    )

    class Config(MethodConfig):
        """Options of iBOT."""

        learning_rate: float = Field(5e-4, gt=0, description="The authors': 0.0005 * batch size / 256.")
        weight_decay: float = Field(0.04, ge=0, description="At the first step; biases, norms and tokens are excluded.")
        final_weight_decay: float | None = Field(0.4, ge=0, description="At the last step, along half a cosine.")
        hidden_dim: int = Field(2048, ge=1, description="Width inside the projection head.")
        projection_layers: int = Field(3, ge=1, description="Linear layers in front of the last layer.")
        bottleneck_dim: int = Field(256, ge=1, description="Width in front of the last layer.")
        prototypes: int = Field(8192, ge=2, description="Width of the last layer.")
        shared_head: bool = Field(True, description="One head for class and patch tokens, or one for each.")
        patch_weight: float = Field(1.0, ge=0, description="Weight of the loss of masked patches.")
        mask_probability: float = Field(0.5, gt=0, le=1, description="Share of the large views that is masked.")
        min_mask_ratio: float = Field(0.1, gt=0, lt=1, description="Least share of a masked view's patches.")
        max_mask_ratio: float = Field(0.5, gt=0, lt=1, description="Largest share of a masked view's patches.")
        temperature: float = Field(0.1, gt=0, description="The student's softmax temperature.")
        teacher_temperature: float = Field(0.07, gt=0, description="The teacher's, after its warm-up.")
        warmup_teacher_temperature: float = Field(0.04, gt=0, description="The teacher's at the start.")
        warmup_teacher_epochs: int = Field(30, ge=0, description="Epochs of that warm-up.")
        momentum: float = Field(0.996, ge=0, le=1, description="The teacher's momentum at the first step.")
        final_momentum: float = Field(1.0, ge=0, le=1, description="The teacher's momentum at the last step.")
        center_momentum: float = Field(0.9, ge=0, le=1, description="The momentum of both centers.")
        frozen_epochs: int = Field(1, ge=0, description="Epochs in which last layers rest.")
        local_views: int = Field(10, ge=0, description="Small views.")
        local_size: int | None = Field(None, ge=1, description="Their side in pixels; default: 96 at 224.")

    declares = Declares(
        fails={"run_lengths": "the weight decay rises until the run's end, so a run without one is refused in words"},
        small={"hidden_dim": 16, "bottleneck_dim": 8, "prototypes": 12, "local_views": 2, "warmup_teacher_epochs": 2},
        by_epochs="last layers rest in the first epoch (the authors' code, as DINO's)",
        reference="ssl_registry_ibot.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @hookimpl
    def build_heads(
        self, backbone: nn.Module, token_dim: int, token_grid: tuple[int, ...], overrides: Overrides
    ) -> dict[str, nn.Module]:
        """Build the student's heads, the mask token, the teacher as a frozen copy, and the centers."""
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
        centers = {name: Center(config.prototypes, config.center_momentum) for name in ("center", "patch_center")}
        return {**heads, "mask_token": mask_token, "target": target, **centers}

    @hookimpl
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """DINO's views, with the paper's shares of the area."""
        config = self.config
        size = config.local_size or small_view_size(image_size)
        views = multi_crop_views(
            image_size, large=(0.25, 1.0), small=(0.05, 0.25), copies=config.local_views, size=size
        )
        return ViewPolicy(views=views, image_size=image_size)

    @hookimpl
    def frozen_modules(self, model: SSLModule, ctx: Context) -> set[str]:
        """Let last layers rest in the first epochs."""
        return {"last_layer", "patch_last_layer"} & {*model.heads} if ctx.epoch < self.config.frozen_epochs else set()

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> dict[str, Tensor]:
        """Compare class tokens across views, and masked patches within them."""
        config, heads, grid = self.config, model.heads, model.token_grid
        assert grid is not None  # it was asked for
        chosen = self.masks(len(views[0]), grid, ctx)
        student = forward_token_crops(model.backbone, views, mask=chosen.mask, mask_token=heads["mask_token"]())
        with torch.no_grad():
            network, *target_heads = heads["target"]
            teacher = forward_token_crops(network, views[:LARGE])
            wanted, wanted_patches = class_and_patch_outputs(target_heads, teacher, chosen.places)
            sharp = self.teacher_temperature_at(ctx.epoch)
            targets = F.softmax(heads["center"](wanted) / sharp, dim=2)
            patch_targets = F.softmax(heads["patch_center"](wanted_patches) / sharp, dim=1)
        heads["center"].collect(wanted)
        heads["patch_center"].collect(wanted_patches)
        outputs, patch_outputs = class_and_patch_outputs(self.own_heads(heads), student, chosen.places)
        classes = cross_view_entropy(targets, outputs, temperature=config.temperature)
        patches = masked_entropy(patch_targets, patch_outputs, chosen.weights, temperature=config.temperature)
        return {"loss": classes + config.patch_weight * patches, "class_loss": classes, "patch_loss": patches}

    def masks(self, batch_size: int, grid: tuple[int, ...], ctx: Context | None = None) -> ViewMasks:
        """Draw blocks for the large views of a batch (section 3.1, and BEiT's blocks)."""
        config = self.config
        return view_block_masks(
            LARGE,
            batch_size,
            grid,
            probability=config.mask_probability,
            ratio=(config.min_mask_ratio, config.max_mask_ratio),
            min_patches=max(1, min(grid) // BLOCK_SHARE) ** 2,
            first=0 if ctx is None else ctx.rank * batch_size,
            generator=None if ctx is None else ctx.generator,
        )

    def own_heads(self, heads: Any) -> list[nn.Module]:
        """Return the student's projection heads and last layers: of class tokens, and then of patches if untied."""
        prefixes = ("",) if self.config.shared_head else ("", "patch_")
        return [heads[f"{prefix}{name}"] for prefix in prefixes for name in ("projection_head", "last_layer")]

    @hookimpl
    def on_step_end(self, model: SSLModule, ctx: Context) -> None:
        """Move the teacher towards the student, and the centers towards the teacher's outputs."""
        config, heads = self.config, model.heads
        momentum = cosine_schedule(ctx.step - 1, ctx.max_steps, config.momentum, config.final_momentum)
        ctx.log("momentum", momentum)
        update_momentum((model.backbone, *self.own_heads(heads)), heads["target"], momentum)
        heads["center"].update()
        heads["patch_center"].update()

    @hookimpl
    def product(self, model: SSLModule) -> nn.Module:
        """Return the teacher's backbone, which the paper evaluates."""
        network: nn.Module = model.heads["target"][0]
        return network

    def teacher_temperature_at(self, epoch: int) -> float:
        """Return the teacher's temperature in an epoch, counted from 0: linear over the warm-up, then constant."""
        first, last = self.config.warmup_teacher_temperature, self.config.teacher_temperature
        return linear_schedule(epoch, self.config.warmup_teacher_epochs, first, last)
