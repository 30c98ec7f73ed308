"""The method: predict what frozen random networks make of the input."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from ssl_registry import Context, Declares, Field, MethodConfig, Needs, Overrides, hookimpl
from ssl_registry.errors import ConfigError
from ssl_registry.nn import FrozenModuleList, RepeatedModuleList, gather, world_size
from ssl_registry_lfr.loss import BatchWiseBarlowTwinsLoss
from ssl_registry_lfr.projectors import random_projectors
from ssl_registry_lfr.selection import TargetSelection, select
from ssl_registry_lfr.stacked import apply_each

if TYPE_CHECKING:  # importing it takes seconds, and help is shown without
    from ssl_registry import SSLModule

log = logging.getLogger("ssl_registry.lfr")  # below the core's, whose lines the commands show

# Without a limit, a ResNet-50 would get predictors of 4 million weights for each candidate.
WIDEST_DEFAULT_TARGET = 512


class LFR:
    """Learning from randomness (Sui et al., 2024), arXiv:2310.07756.

    K frozen random projectors map the input to targets; K predictors must reproduce them from the backbone's features.
    No augmentation, so images, signals and tables alike. The K are chosen from N candidates, once, as the most
    diverse on a sample of the data (a greedy determinantal point process). Training alternates: one epoch of the
    backbone, then ``predictor_training_epochs`` of the predictors alone, so count epochs accordingly:

        epochs = (epochs for the backbone) * (predictor_training_epochs + 1)

    Heads: ``projectors`` (a ModuleList of N) and ``predictors`` (one for each target, K, or one for each projector),
    ``adapter`` (between backbone and predictors), ``criterion``; each can be replaced by name. ``selection`` holds the
    choice and the count of backbone steps.
    """

    needs = Needs(
        batch="128 and more: similarities within the batch", memory="small frozen networks and predictors, one a target"
    )

    class Config(MethodConfig):
        """Options of LFR."""

        num_candidates: int = Field(12, ge=1, description="Default projectors to choose from.")
        num_targets: int | None = Field(
            6, description="Projectors to train with; None, negative, or as many as there are: all."
        )
        projection_dim: int | None = Field(
            None, ge=1, description="Width of the default projectors; default: the features', at most 512."
        )
        redundancy_weight: float = Field(0.01, ge=0, description="Weight of the loss's off-diagonal terms.")
        flatten: bool = Field(False, description="Flatten the adapter's and the projectors' outputs.")
        training: Literal["alternating", "joint"] = Field(
            "alternating",
            description="alternating: predictors train in their own epochs only (the paper); joint: also beside the "
            "backbone.",
        )
        predictor_training_epochs: int | None = Field(
            1, description="Epochs of predictors alone after each backbone epoch; None, 0 or negative: none."
        )
        max_backbone_training_steps: int | None = Field(
            None, description="End training after this many backbone steps; None, 0 or negative: no limit."
        )
        selection_batch_size: int = Field(128, ge=2, description="Training samples that the choice looks at.")

    declares = Declares(
        small={"num_candidates": 8, "num_targets": 3, "projection_dim": 16, "selection_batch_size": 16},
        options={"flatten": "it acts on projectors and an adapter of one's own, whose outputs have several axes"},
        by_epochs="epochs of the backbone and of the predictors alternate (section 3.3)",
        grows="it sums over the batch, as the authors' code does: its matrix of similarities is [batch, batch]",
        reference="ssl_registry_lfr.reference:loss",
    )

    def __init__(self, config: Config) -> None:
        self.config = config
        if config.num_targets == 0:
            raise ConfigError("lfr: num_targets=0 leaves nothing to predict; give a number, or None for all")
        if config.training == "alternating" and not self.predictor_epochs:
            raise ConfigError(
                "lfr: training=alternating needs predictor_training_epochs of at least 1, or the predictors would "
                "never train; give it, or training=joint"
            )

    @property
    def predictor_epochs(self) -> int:
        """Epochs that train predictors alone after each backbone epoch."""
        return max(0, self.config.predictor_training_epochs or 0)

    @hookimpl
    def build_heads(self, feature_dim: int, input_shape: tuple[int, ...], overrides: Overrides) -> dict[str, nn.Module]:
        """Build projectors and predictors, where the user gave none, and freeze the projectors for ever."""
        out_dim = self.config.projection_dim or min(feature_dim, WIDEST_DEFAULT_TARGET)
        count = len(_module_list(overrides, "predictors") or ()) or self.config.num_candidates
        projectors = _module_list(overrides, "projectors") or random_projectors(count, input_shape, out_dim)
        adapter = overrides.take("adapter", nn.Identity)
        predictors = _module_list(overrides, "predictors")
        wanted = self.config.num_targets
        chosen = len(projectors) if wanted is None or wanted < 0 else min(wanted, len(projectors))
        if predictors is None:
            width = self._width(adapter, torch.zeros(2, feature_dim))
            target = self._width(projectors[0], torch.zeros(2, *input_shape))
            # What is not chosen needs none, and sixty of 2304 x 2304 weights take more than a gigabyte.
            predictors = RepeatedModuleList(chosen, nn.Linear, width, target)
        elif len(predictors) not in (len(projectors), chosen):
            or_chosen = "" if chosen == len(projectors) else f", or {chosen} for num_targets={wanted}"
            raise ConfigError(
                f"lfr: {len(projectors)} projectors need as many predictors{or_chosen}, not {len(predictors)}"
            )
        return {
            "projectors": FrozenModuleList(projectors),
            "predictors": predictors,
            "adapter": adapter,
            "selection": TargetSelection(chosen),
            "criterion": overrides.take("criterion", lambda: BatchWiseBarlowTwinsLoss(self.config.redundancy_weight)),
        }

    def _width(self, module: nn.Module, sample: Tensor) -> int:
        was = module.training
        with torch.no_grad():
            width: int = self._flat(module.eval()(sample)).shape[-1]
        module.train(was)
        return width

    @hookimpl
    def on_fit_start(self, model: SSLModule, sample: Callable[[int], Tensor], ctx: Context) -> None:
        """Choose the targets, once in a model's life: a second fit or a resumed one keeps them."""
        self._tell_if_predictors_rest(model, ctx)
        selection, projectors = model.heads["selection"], model.heads["projectors"]
        if selection.is_chosen or len(selection.as_list()) == len(projectors):
            return
        inputs = sample(self.config.selection_batch_size)
        if len(inputs) < 2:
            raise ConfigError("lfr: choosing projectors needs at least two training samples")
        with torch.no_grad():
            outputs = [self._flat(projector(inputs)) for projector in projectors]
        selection.choose(select(outputs, len(selection.as_list())))

    def _tell_if_predictors_rest(self, model: SSLModule, ctx: Context) -> None:
        """Warn where training ends with the first epoch, which trains the backbone alone."""
        try:
            trainer = model.trainer
        except RuntimeError:  # Lightning's, where no training is under way
            return
        batches, steps = trainer.num_training_batches, ctx.max_steps
        if self.config.training != "alternating" or ctx.step or steps is None or not math.isfinite(batches):
            return
        if steps * trainer.accumulate_grad_batches <= batches and ctx.rank == 0:
            log.warning(
                f"lfr: the predictors never train: the run's {steps} steps end in its first epoch ({batches} batches), "
                "which trains the backbone alone. Give at least two epochs, or --training joint"
            )

    @hookimpl
    def frozen_modules(self, model: SSLModule, ctx: Context) -> dict[str, str]:
        """Freeze the backbone in predictor epochs, and the predictors in backbone epochs when they alternate.

        As in the authors' code the backbone is in evaluation mode then, and the predictors are not: a BatchNorm in
        them has statistics of the batch, and learns them, before they train for the first time.

        Predictors of projectors that were not chosen rest for ever: without that DDP waits for their gradients.
        """
        used = self._predictors_of(model)
        resting = {f"predictors.{i}": "eval" for i in range(len(model.heads["predictors"])) if i not in used}
        if not self.trains_backbone(ctx.epoch):
            return {"backbone": "eval", "adapter": "eval", **resting}
        return {"predictors": "train", **resting} if self.config.training == "alternating" else resting

    def trains_backbone(self, epoch: int) -> bool:
        """Tell whether an epoch, counted from 0, trains the backbone."""
        return epoch % (self.predictor_epochs + 1) == 0

    @hookimpl
    def compute_loss(self, model: SSLModule, views: list[Tensor]) -> Tensor:
        """Average the loss over the chosen targets; several processes have that of one with all of their batches."""
        predictions, targets = self.forward(model, views[0])
        if world_size() > 1:  # the loss compares all samples of a batch, on whichever rank they are
            predictions, targets = _everyones(predictions), _everyones(targets)
        criterion = model.heads["criterion"]
        together = isinstance(predictions, Tensor) and isinstance(targets, Tensor)
        if together and isinstance(criterion, BatchWiseBarlowTwinsLoss):
            loss: Tensor = criterion(predictions, targets)
            return loss
        losses = [criterion(prediction, target) for prediction, target in zip(predictions, targets, strict=True)]
        return torch.stack(losses).mean()

    @hookimpl
    def on_step_end(self, model: SSLModule, ctx: Context) -> None:
        """Count the steps that trained the backbone."""
        if self.trains_backbone(ctx.epoch):
            model.heads["selection"].count_step()

    @hookimpl
    def should_stop(self, model: SSLModule) -> bool:
        """Stop once the backbone has had its steps."""
        limit = self.config.max_backbone_training_steps
        return limit is not None and limit > 0 and model.heads["selection"].steps >= limit

    def forward(self, model: SSLModule, x: Tensor) -> tuple[Tensor | list[Tensor], Tensor | list[Tensor]]:
        """Return the K predictions and the K targets of [batch, *input_shape], each [batch, projection_dim]."""
        chosen = model.heads["selection"].as_list()
        projectors, predictors = model.heads["projectors"], model.heads["predictors"]
        features = self._flat(model.heads["adapter"](model(x)))
        predictions = apply_each([predictors[index] for index in self._predictors_of(model)], features)
        with torch.no_grad():
            # One by one: what lies between a projector's layers stays in the cache.
            targets = [projectors[index](x) for index in chosen]
        return self._together(predictions), self._together(targets)

    def _predictors_of(self, model: SSLModule) -> list[int]:
        """Return which predictor each chosen target has: its candidate's, where each candidate has one."""
        chosen: list[int] = model.heads["selection"].as_list()
        predictors, projectors = len(model.heads["predictors"]), len(model.heads["projectors"])
        return chosen if predictors == projectors else list(range(predictors))

    def _together(self, outputs: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
        """Flatten each output if told so, and put those of one shape together."""
        if isinstance(outputs, Tensor):  # [K, batch, features] already
            return outputs
        flat = [self._flat(output) for output in outputs]
        one_shape = flat[0].ndim == 2 and all(output.shape == flat[0].shape for output in flat)
        return torch.stack(flat) if one_shape else flat

    def _flat(self, x: Tensor) -> Tensor:
        return x.flatten(1) if self.config.flatten else x


def _everyones(outputs: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    """Gather K outputs of [batch, features], or [K, batch, features], over all ranks."""
    if isinstance(outputs, Tensor):
        return gather(outputs.transpose(0, 1)).transpose(0, 1).contiguous()
    return [gather(output) for output in outputs]


def _module_list(overrides: Overrides, name: str) -> nn.ModuleList | None:
    """Return the user's list of modules of this name, or None."""
    modules = overrides.get(name)
    if modules is not None and not (isinstance(modules, nn.ModuleList) and len(modules)):
        raise ConfigError(f"lfr: {name} must be an nn.ModuleList of at least one module")
    return modules
