"""Methods with one fault each, to see what the conformance kit notices.

They were written without knowledge of the checks. Each is a first-party method with one mistake of the kind that code
of papers has: it trains, its loss falls, and nothing crashes. The docstring of each class names the fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ssl_registry_barlow_twins import BarlowTwins, BarlowTwinsLoss
from ssl_registry_byol import BYOL
from ssl_registry_lfr import LFR
from ssl_registry_simclr import DCLLoss, NTXentLoss, SimCLR
from ssl_registry_simsiam import SimSiam
from ssl_registry_vicreg import VICReg, VICRegLoss, variance
from torch import nn
from torch.nn import functional as F

from ssl_registry import hookimpl
from ssl_registry.nn import cosine_schedule, gather, update_momentum

# Small widths, so that a check takes seconds.
OPTIONS: dict[str, dict[str, Any]] = {
    "barlow-twins": {"projection_dim": 16},
    "byol": {"hidden_dim": 16, "projection_dim": 8},
    "lfr": {"num_candidates": 4, "num_targets": 2, "projection_dim": 8},
    "simclr": {"hidden_dim": 16, "projection_dim": 8},
    "simsiam": {"hidden_dim": 32, "projection_dim": 32, "bottleneck_dim": 16},
    "vicreg": {"projection_dim": 16},
}


@dataclass(frozen=True)
class Mutant:
    """A method with a fault.

    Args:
        parent: the method's name.
        cls: the faulty class.
        fault: what is wrong with it, in words.
    """

    parent: str
    cls: type[Any]
    fault: str


MUTANTS: dict[str, Mutant] = {}


def mutant(parent: str) -> Callable[[type[Any]], type[Any]]:
    """Enter a class under its own name; its docstring is the fault, and becomes its parent's."""

    def enter(cls: type[Any]) -> type[Any]:
        MUTANTS[cls.__name__] = Mutant(parent, cls, cls.__doc__ or "")
        cls.__doc__ = cls.__mro__[1].__doc__
        return cls

    return enter


# BYOL


def _online(model):
    return model.backbone, model.heads["projection_head"]


@mutant("byol")
class MomentumReversed(BYOL):
    """The momentum begins at its last value and ends at its first."""

    def momentum_at(self, step, max_steps):
        length = self.config.schedule or max_steps
        return cosine_schedule(
            step, length, self.config.final_momentum, self.config.momentum, period=self.config.period
        )


@mutant("byol")
class MomentumOneStepAhead(BYOL):
    """The momentum of step k is that of step k + 1: the step just made is counted already."""

    @hookimpl
    def on_step_end(self, model, ctx):
        momentum = self.momentum_at(ctx.step, ctx.max_steps)
        ctx.log("momentum", momentum)
        update_momentum(_online(model), model.heads["target"], momentum)


@mutant("byol")
class PredictorInOneDirection(BYOL):
    """The second direction compares the projection, not the prediction, with the target."""

    @hookimpl
    def compute_loss(self, model, views):
        p0 = self.forward(model, views[0])
        y1 = model.heads["projection_head"](model(views[1]))
        z0, z1 = (self.forward_momentum(model, view) for view in views)
        criterion = model.heads["criterion"]
        return 0.5 * (criterion(p0, z1) + criterion(y1, z0))


@mutant("byol")
class PredictsItsOwnView(BYOL):
    """Each view's prediction is compared with the target of the same view."""

    @hookimpl
    def compute_loss(self, model, views):
        criterion = model.heads["criterion"]
        losses = [criterion(self.forward(model, view), self.forward_momentum(model, view)) for view in views]
        return 0.5 * (losses[0] + losses[1])


@mutant("byol")
class TargetInEvalMode(BYOL):
    """The target's BatchNorms use running statistics, which never move from where they began."""

    @staticmethod
    @torch.no_grad()
    def forward_momentum(model, x):
        return model.heads["target"].eval()(x)


@mutant("byol")
class MomentumWithTheLoss(BYOL):
    """The target moves with every micro-batch, beside the loss, and not with the optimizer's steps."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        loss = super().compute_loss(model, views)
        if model.training:
            update_momentum(_online(model), model.heads["target"], self.momentum_at(ctx.step, ctx.max_steps))
        return loss

    @hookimpl
    def on_step_end(self, model, ctx):
        ctx.log("momentum", self.momentum_at(ctx.step - 1, ctx.max_steps))


@mutant("byol")
class ProjectionNotAveraged(BYOL):
    """Only the backbone is averaged; the target's projection head stays as it began."""

    @hookimpl
    def on_step_end(self, model, ctx):
        momentum = self.momentum_at(ctx.step - 1, ctx.max_steps)
        ctx.log("momentum", momentum)
        update_momentum(model.backbone, model.heads["target"][0], momentum)


@mutant("byol")
class TargetCopiedEachEpoch(BYOL):
    """The target starts from the online network again in each epoch."""

    @hookimpl
    def on_epoch_start(self, model):
        update_momentum(_online(model), model.heads["target"], 0.0)


# SimCLR


@mutant("simclr")
class TemperatureMultiplies(SimCLR):
    """Similarities are multiplied by the temperature, not divided by it."""

    def _loss(self):
        config = self.config
        if config.loss == "ntxent":
            return NTXentLoss(1 / config.temperature)
        return DCLLoss(1 / config.temperature, sigma=config.sigma if config.loss == "dclw" else None)


@mutant("simclr")
class SummedOverTheBatch(SimCLR):
    """The loss is the sum over the rows, not their mean."""

    @hookimpl
    def compute_loss(self, model, views):
        return super().compute_loss(model, views) * (2 * len(views[0]))


@mutant("simclr")
class SigmaIgnored(SimCLR):
    """The option sigma reaches nothing; DCLW's weights keep their default."""

    def _loss(self):
        config = self.config
        if config.loss == "ntxent":
            return NTXentLoss(config.temperature)
        return DCLLoss(config.temperature, sigma=0.5 if config.loss == "dclw" else None)


class _NotDecoupled(DCLLoss):
    decoupled = False


@mutant("simclr")
class PositiveInTheDenominator(SimCLR):
    """DCL leaves the positive pair in the denominator, so that it is NT-Xent."""

    def _loss(self):
        config = self.config
        return _NotDecoupled(config.temperature) if config.loss == "dcl" else super()._loss()


@mutant("simclr")
class NegativesOfOneRank(SimCLR):
    """Negatives are those of the rank's own samples."""

    def _loss(self):
        criterion = super()._loss()
        criterion.gather_distributed = False
        return criterion


# LFR


def _everyones(outputs):
    return gather(outputs.transpose(0, 1)).transpose(0, 1)


@mutant("lfr")
class NormalizedOverTheBatch(LFR):
    """Predictions and targets are normalized over the batch's axis, not over the features'."""

    @hookimpl
    def compute_loss(self, model, views):
        p, z = (F.normalize(_everyones(outputs).float(), dim=1) for outputs in self.forward(model, views[0]))
        c = p @ z.mT
        wanted = torch.eye(c.shape[1], device=c.device)
        weights = wanted + self.config.redundancy_weight * (1 - wanted)
        return (weights * (c - wanted).square()).sum((1, 2)).mean()


@mutant("lfr")
class DiagonalCountedTwice(LFR):
    """The sum off the diagonal has the diagonal too."""

    @hookimpl
    def compute_loss(self, model, views):
        p, z = (F.normalize(_everyones(outputs), dim=2) for outputs in self.forward(model, views[0]))
        c = p @ z.mT
        on = (c.diagonal(dim1=1, dim2=2) - 1).square().sum(1)
        return (on + self.config.redundancy_weight * c.square().sum((1, 2))).mean()


@mutant("lfr")
class ProjectorsDrawnAgain(LFR):
    """The random projectors are drawn anew whenever training begins, after a resume too."""

    @hookimpl
    def on_fit_start(self, model, sample, ctx):
        for part in model.heads["projectors"].modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
        super().on_fit_start(model, sample, ctx)


@mutant("lfr")
class StepsCountedInPython(LFR):
    """The backbone's steps are counted in the method's own attribute, which no checkpoint holds."""

    done = 0

    @hookimpl
    def on_step_end(self, model, ctx):
        if self.trains_backbone(ctx.epoch):
            self.done += 1

    @hookimpl
    def should_stop(self, model):
        limit = self.config.max_backbone_training_steps
        return limit is not None and limit > 0 and self.done >= limit


@mutant("lfr")
class PredictorsNeverRest(LFR):
    """Predictors train in the backbone's epochs too, whatever the option training says."""

    @hookimpl
    def frozen_modules(self, model, ctx):
        frozen = dict(super().frozen_modules(model, ctx))
        frozen.pop("predictors", None)
        return frozen


# Barlow Twins


@mutant("barlow-twins")
class UnbiasedVariance(BarlowTwins):
    """Embeddings are divided by the unbiased deviation, and their products by the number of samples."""

    @hookimpl
    def compute_loss(self, model, views):
        z0, z1 = (gather(self.forward(model, view)) for view in views)
        with torch.autocast(z0.device.type, enabled=False):
            dtype = torch.promote_types(z0.dtype, torch.float32)
            a, b = (z.to(dtype) for z in (z0, z1))
            a, b = ((z - z.mean(0)) / torch.sqrt(z.var(0) + 1e-5) for z in (a, b))
            c = a.T @ b / len(a)
            invariance = (1 - c.diagonal()).square().sum()
            redundancy = c.square().sum() - c.diagonal().square().sum()
            loss = self.config.loss_scale * (invariance + self.config.lambd * redundancy)
        return {"loss": loss, "invariance": invariance, "redundancy": redundancy}


@mutant("barlow-twins")
class ScaleOfOneTerm(BarlowTwins):
    """Brackets are missing: loss_scale multiplies the first term alone."""

    @hookimpl
    def compute_loss(self, model, views):
        z0, z1 = (self.forward(model, view) for view in views)
        invariance, redundancy = BarlowTwinsLoss(self.config.lambd).terms(z0, z1)
        loss = self.config.loss_scale * invariance + self.config.lambd * redundancy
        return {"loss": loss, "invariance": invariance, "redundancy": redundancy}


@mutant("barlow-twins")
class StatisticsOfOneRank(BarlowTwins):
    """Means, deviations and correlations are those of the rank's own samples."""

    @hookimpl
    def compute_loss(self, model, views):
        z0, z1 = (self.forward(model, view) for view in views)
        with torch.autocast(z0.device.type, enabled=False):
            dtype = torch.promote_types(z0.dtype, torch.float32)
            a, b = (F.batch_norm(z.to(dtype), None, None, training=True) for z in (z0, z1))
            c = a.T @ b / len(a)
            invariance = (1 - c.diagonal()).square().sum()
            redundancy = c.square().sum() - c.diagonal().square().sum()
            loss = self.config.loss_scale * (invariance + self.config.lambd * redundancy)
        return {"loss": loss, "invariance": invariance, "redundancy": redundancy}


@mutant("barlow-twins")
class DividesByNothing(BarlowTwins):
    """Nothing is added to the variance, so that a constant dimension divides by zero."""

    @hookimpl
    def compute_loss(self, model, views):
        z0, z1 = (gather(self.forward(model, view)) for view in views)
        with torch.autocast(z0.device.type, enabled=False):
            dtype = torch.promote_types(z0.dtype, torch.float32)
            a, b = (z.to(dtype) for z in (z0, z1))
            a, b = ((z - z.mean(0)) / z.var(0, unbiased=False).sqrt() for z in (a, b))
            c = a.T @ b / len(a)
            invariance = (1 - c.diagonal()).square().sum()
            redundancy = c.square().sum() - c.diagonal().square().sum()
            loss = self.config.loss_scale * (invariance + self.config.lambd * redundancy)
        return {"loss": loss, "invariance": invariance, "redundancy": redundancy}


@mutant("barlow-twins")
class RateByEpochs(BarlowTwins):
    """The learning rate falls with each epoch, whatever lr_schedule and warmup_steps say."""

    @hookimpl
    def optimizer_values(self, ctx):
        return {"all": {"lr": self.config.learning_rate * 0.9**ctx.epoch}}


# VICReg


@mutant("vicreg")
class VarianceNotDeviation(VICReg):
    """The hinge is on the variance; the square root is missing."""

    @hookimpl
    def compute_loss(self, model, views):
        z0, z1 = (gather(self.forward(model, view)) for view in views)
        weights = self.config
        invariance, _, apart = VICRegLoss().terms(z0, z1)
        with torch.autocast(z0.device.type, enabled=False):
            dtype = torch.promote_types(z0.dtype, torch.float32)
            alive = sum(F.relu(1 - z.to(dtype).var(0) - 1e-4).mean() for z in (z0, z1))
        loss = weights.invariance * invariance + weights.variance * alive + weights.covariance * apart
        return {"loss": loss, "invariance": invariance, "variance": alive, "covariance": apart}


@mutant("vicreg")
class FirstViewCountedTwice(VICReg):
    """The variance term takes the first view twice, and the second never."""

    @hookimpl
    def compute_loss(self, model, views):
        z0, z1 = (self.forward(model, view) for view in views)
        weights = self.config
        invariance, _, apart = VICRegLoss().terms(z0, z1)
        with torch.autocast(z0.device.type, enabled=False):
            first = z0.to(torch.promote_types(z0.dtype, torch.float32))
            alive = variance(first) + variance(first)
        loss = weights.invariance * invariance + weights.variance * alive + weights.covariance * apart
        return {"loss": loss, "invariance": invariance, "variance": alive, "covariance": apart}


@mutant("vicreg")
class LossInHalfPrecision(VICReg):
    """Under autocast the terms are computed in half precision."""

    @hookimpl
    def compute_loss(self, model, views):
        z0, z1 = (self.forward(model, view) for view in views)
        weights = self.config
        invariance = (z0 - z1).square().mean()
        alive = apart = z0.new_zeros(())
        for z in (gather(z0), gather(z1)):
            count = len(z)
            centered = z - z.mean(0)
            products = centered.T @ centered / (count - 1)
            alive = alive + F.relu(1 - torch.sqrt(products.diagonal() + 1e-4)).mean()
            apart = apart + (products - torch.diag(products.diagonal())).square().sum() / z.shape[1]
        loss = weights.invariance * invariance + weights.variance * alive + weights.covariance * apart
        return {"loss": loss, "invariance": invariance, "variance": alive, "covariance": apart}


@mutant("vicreg")
class DecayOnEverything(VICReg):
    """Weight decay acts on biases and norms too."""

    @hookimpl
    def param_groups(self, model):
        return [{"params": [p for p in model.parameters() if p.requires_grad], "name": "all_of_them"}]


@mutant("vicreg")
class NoiseOfTheProcess(VICReg):
    """Embeddings get a little noise, from the process's random numbers and not from the context's."""

    @staticmethod
    def forward(model, x):
        z = VICReg.forward(model, x)
        return z + torch.from_numpy(0.05 * np.random.randn(*z.shape)).to(z)


# SimSiam


class _Unregistered(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = list(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@mutant("simsiam")
class PredictorNotRegistered(SimSiam):
    """The predictor holds its layers in a Python list: they never train, move or are saved."""

    @hookimpl
    def build_heads(self, feature_dim, overrides):
        heads = super().build_heads(feature_dim, overrides)
        return {**heads, "prediction_head": _Unregistered(heads["prediction_head"])}


@mutant("simsiam")
class PredictionDetached(SimSiam):
    """The gradient is stopped at the prediction, not at the target."""

    @hookimpl
    def compute_loss(self, model, views):
        z0, z1 = (self.forward(model, view) for view in views)
        p0, p1 = (model.heads["prediction_head"](z) for z in (z0, z1))
        criterion = model.heads["criterion"]
        return 0.5 * (criterion(p0.detach(), z1) + criterion(p1.detach(), z0))


@mutant("simsiam")
class ViewsInOneBatch(SimSiam):
    """Both views go through the network as one batch, and share BatchNorm's statistics."""

    @hookimpl
    def compute_loss(self, model, views):
        z = self.forward(model, torch.cat(list(views)))
        p0, p1 = model.heads["prediction_head"](z).chunk(2)
        z0, z1 = z.chunk(2)
        criterion = model.heads["criterion"]
        return 0.5 * (criterion(p0, z1.detach()) + criterion(p1, z0.detach()))


@mutant("simsiam")
class PredictorFollowsTheSchedule(SimSiam):
    """The predictor has groups of its own, and their learning rate falls with all others."""

    @hookimpl
    def optimizer_values(self):
        return {}
