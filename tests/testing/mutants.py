"""Deliberately broken methods: each is `Sound` with one mistake that toolboxes or authors made.

``caught_by`` is the check that is meant for it; ``also`` names checks that cannot but fail too, each with the reason.
"""

from __future__ import annotations

import math
from copy import deepcopy
from types import MethodType

import numpy as np
import torch
import torch.distributed as dist
from pydantic import model_validator
from torch import nn

from ssl_registry import Declares, Field, hookimpl
from ssl_registry.nn import MLP, update_momentum, world_size
from ssl_registry.nn.token_readers import read_transformer
from tests.testing.sound import BySteps, Referred, Sound, State
from tests.testing.sound_tokens import SoundTokens

MUTANTS = []
BOUND = "a method that was bound to the network by hand is not pickled"
RESUMED = "it is the same state, lost at more places"
KEPT = []


def mutant(caught_by, **also):
    """Register a class as a mutant."""

    def register(cls):
        cls.caught_by, cls.also = caught_by, also
        if caught_by != "documentation":
            cls.__doc__ += " (arXiv:2104.02057)"
        MUTANTS.append(cls)
        return cls

    return register


# --- before training ------------------------------------------------------------------------------------------


@mutant("documentation")
class CitesNothing(Sound):
    """A method that names no paper (Somebody et al., 2020)."""


@mutant("documentation")
class DescribesNothing(Sound):
    """An option without a description, arXiv:2104.02057."""

    class Config(Sound.Config):
        """Options."""

        secret: float = 0.5


@mutant("config_round_trip")
class OptionOfNoText(Sound):
    """A tuple under a type that lets anything pass comes back as a list."""

    class Config(Sound.Config):
        """Options."""

        sizes: object = Field((1, 2), description="Two sizes.")


@mutant("construction")
class RemembersInPython(Sound):
    """State on the method's instance."""

    def __init__(self, config):
        super().__init__(config)
        self.steps = 0


@mutant("construction")
class ChangesBackbonesMode(Sound):
    """Probes the backbone and leaves it in evaluation mode."""

    @hookimpl
    def build_heads(self, backbone, feature_dim, input_shape, overrides):
        backbone.eval()
        return super().build_heads(backbone, feature_dim, input_shape, overrides)


@mutant("overrides")
class OrDefault(Sound):
    """`x or default`, which throws an empty nn.Sequential away."""

    def projection_head(self, overrides, feature_dim, out):
        return overrides.get("projection_head") or MLP(feature_dim, 16, out)


@mutant("odd_sizes")
class HardWired(Sound):
    """A head for one width, as others have 2048."""

    def width(self, feature_dim):
        return 24


# --- which parameters train -----------------------------------------------------------------------------------

DDP_WAITS = "DDP waits for the gradients of parameters that never get one"


@mutant("gradients", two_processes=DDP_WAITS, unequal_batches=DDP_WAITS)
class DetachesFeatures(Sound):
    """Features without gradient: heads learn, the backbone does not."""

    def features(self, model, view):
        return model(view).detach()


@mutant("targets")
class TrainsTheTarget(Sound):
    """A target that is neither deactivated nor run without gradient."""

    def target(self, backbone, projection):
        return nn.Sequential(deepcopy(backbone), deepcopy(projection))

    def keys(self, model, view):
        return model.heads["target"](view)


@mutant("frozen_phases")
class UnfreezesItself(Sound):
    """Takes requires_grad into its own hands."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        model.heads["guide_head"].requires_grad_(True)
        return super().compute_loss(model, views, ctx)


@mutant("fixed_networks")
class GuidesInTrainMode(Sound):
    """Random projectors back in train mode after `.train()`."""

    def guides(self, networks):
        return nn.ModuleList(networks).requires_grad_(False)


@mutant("parameter_groups")
class DecaysBiases(Sound):
    """Weight decay for all alike."""

    @hookimpl
    def param_groups(self, model):
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]


@mutant("parameter_groups")
class ForgetsAHead(Sound):
    """A head that no group holds."""

    @hookimpl
    def param_groups(self, model):
        parts = [model.backbone, model.heads["projection_head"], model.heads["prediction_head"]]
        named = [p for part in parts for p in part.parameters()]
        return [
            {"params": [p for p in named if p.ndim > 1]},
            {"params": [p for p in named if p.ndim <= 1], "weight_decay": 0.0},
        ]


@mutant("parameter_groups", targets="that the optimizer has the target is the same mistake, told for the target")
class OptimizesEverything(Sound):
    """The frozen target in the optimizer."""

    @hookimpl
    def param_groups(self, model):
        named = list(model.parameters())
        return [
            {"params": [p for p in named if p.ndim > 1]},
            {"params": [p for p in named if p.ndim <= 1], "weight_decay": 0.0},
        ]


# --- learning -------------------------------------------------------------------------------------------------


CLIMBS = "the sign is wrong for every kind of sample"


@mutant(
    "learns_images",
    learns_signals=CLIMBS,
    learns_tables=CLIMBS,
    no_collapse="what climbs wherever it can ends in one direction",
)
class WrongSign(Sound):
    """A gradient that climbs."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        loss = super().compute_loss(model, views, ctx)
        return 2 * loss.detach() - loss


@mutant("learns_signals")
class FailsOnSignals(Sound):
    """Neither takes signals nor refuses them."""

    def features(self, model, view):
        if view.ndim == 3:
            view = view.mean(3)
        return model(view)


@mutant("learns_tables")
class NotFiniteOnTables(Sound):
    """A logarithm of what may be negative."""

    def features(self, model, view):
        return model(view.log() if view.ndim == 2 else view)


@mutant("no_collapse")
class WantsEverythingAlike(Sound):
    """A variance term with the wrong sign, and a learning rate to match."""

    class Config(Sound.Config):
        """Options."""

        learning_rate: float = Field(0.03, gt=0, description="Peak learning rate.")

    @hookimpl
    def compute_loss(self, model, views, ctx):
        return super().compute_loss(model, views, ctx) + 100 * model(views[0]).float().std(0).mean()


# --- steps ----------------------------------------------------------------------------------------------------


@mutant("step_end", accumulation="the target moves with each micro-batch, so three of them are not one")
class MomentumPerMicroBatch(Sound):
    """The momentum update in the loss."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        loss = super().compute_loss(model, views, ctx)
        if model.training:
            self.move_target(model, 0.9)
        return loss

    @hookimpl
    def on_step_end(self):
        pass


@mutant("accumulation")
class CentreByMicroBatch(Sound):
    """A running centre that moves with micro-batches, and that the loss subtracts."""

    def features(self, model, view):
        features = model(view)
        center = model.heads["state"].center
        if model.training:
            center.mul_(0.5).add_(0.5 * features.detach().mean())
        return features - center[0].clone()


@mutant("stopping")
class AtLeastThreeEpochs(Sound):
    """A limit that ends only the epoch: the next one begins all the same."""

    @hookimpl
    def frozen_modules(self, model, ctx):
        model.trainer.fit_loop.min_epochs = 3
        return super().frozen_modules(ctx)


@mutant("run_lengths", cuda_placement="it looks at a step outside of a run, whose end nobody knows")
class DividesByOneLess(Sound):
    """A schedule that divides by max_steps - 1 and knows no run without end."""

    def momentum_at(self, model, ctx):
        return 1 - 0.05 * (math.cos(math.pi * (ctx.step - 1) / (ctx.max_steps - 1)) + 1)


# --- repeating and resuming -----------------------------------------------------------------------------------

NOT_SAVED = "numpy's state is in no checkpoint"


@mutant("same_seed", resuming=NOT_SAVED, resuming_everywhere=NOT_SAVED)
class DrawsFromNumpy(Sound):
    """Global random numbers of numpy."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        loss = super().compute_loss(model, views, ctx)
        return loss * (1 + 1e-6 * np.random.rand()) if model.training else loss


@mutant("resuming", resuming_everywhere=RESUMED)
class CountsInPython(Sound):
    """A schedule that restarts on resume, for its counter is a Python attribute of a head."""

    def momentum_at(self, model, ctx):
        state = model.heads["state"]
        state.count = getattr(state, "count", 0) + 1
        return 1 - 0.1 / state.count


@mutant("resuming", resuming_everywhere=RESUMED)
class ChoosesAtEachFit(Sound):
    """The selection is repeated at each fit, and comes out another way on trained weights."""

    @hookimpl
    def on_fit_start(self, model):
        weight = model.heads["guide_head"].weight
        first = int(weight.abs().sum().mul(1e4)) % 4
        model.heads["state"].chosen.copy_(torch.tensor([first, (first + 1) % 4]))


@mutant("resuming_before_training", cuda_placement="it looks at a step without a trainer, for which this asks")
class TrustsTheCheckpoint(Sound):
    """Believes that every checkpoint holds a choice."""

    @hookimpl
    def on_fit_start(self, model, sample):
        if model.trainer.ckpt_path is None:
            super().on_fit_start(model, sample)


# --- saving ---------------------------------------------------------------------------------------------------


@mutant("saving")
class ChangesItsOptions(Sound):
    """Options that `__init__` changes, and the checkpoint's once more."""

    def __init__(self, config):
        super().__init__(config.model_copy(update={"projection_dim": 2 * config.projection_dim}))


@mutant("copying")
class LambdaInAHead(Sound):
    """What pickle cannot write."""

    def state(self):
        state = State()
        state.activation = lambda x: x
        return state


# --- numbers --------------------------------------------------------------------------------------------------


@mutant("bfloat16")
class SmallDifferenceOfLargeNumbers(Sound):
    """A loss on projections that were moved far from zero, where bfloat16 has steps of 0.5."""

    def contrast(self, queries, keys, ctx):
        return super().contrast((queries + 100) - 100, (keys + 100) - 100, ctx)


@mutant("float16")
class OverflowsInHalf(Sound):
    """Exponentials of similarities in half precision, which ends at 65,504."""

    def contrast(self, queries, keys, ctx):
        loss = super().contrast(queries, keys, ctx)
        return loss + 1e-9 * (queries.square().sum(1) * 0 + 12).exp().mean()


@mutant("channels_last")
class ViewsMemory(Sound):
    """`view` where the memory has another order."""

    def flat(self, view):
        return view.view(len(view), -1)


@mutant("compiling")
class LooksAtTheCompiler(Sound):
    """A shortcut when it is being compiled."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        loss = super().compute_loss(model, views, ctx)
        return loss * 0.5 if torch.compiler.is_compiling() else loss


# --- resources ------------------------------------------------------------------------------------------------


@mutant("memory")
class KeepsLosses(Sound):
    """A list of losses."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        loss = super().compute_loss(model, views, ctx)
        KEPT.append(loss.detach())
        return loss


@mutant("memory")
class KeepsHistory(Sound):
    """A running mean with its whole history behind it."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        loss = super().compute_loss(model, views, ctx)
        KEPT[:] = [0.9 * KEPT[0] + loss.exp() if KEPT and KEPT[0].requires_grad else loss.exp()]
        return loss


ALSO_PLACEMENT = "a wait for the device is found on fake CUDA tensors too"


@mutant("synchronization", cuda_placement=ALSO_PLACEMENT)
class LogsItems(Sound):
    """`.item()` in every step."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        loss = super().compute_loss(model, views, ctx)
        ctx.log("loss", loss.item())
        return loss


@mutant("synchronization", cuda_placement=ALSO_PLACEMENT)
class IndexesWithAMask(Sound):
    """Rows by a mask, whose number the host must know."""

    @hookimpl
    def on_step_end(self, model, ctx):
        super().on_step_end(model, ctx)
        weight = model.heads["guide_head"].weight.detach()
        ctx.log("positive", weight[weight > 0].sum())


@mutant("cuda_placement")
class LeavesATensorOnTheHost(Sound):
    """Weights of the terms, made on the host in each loss; a CPU never notices."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        weights = torch.linspace(1, 1, len(views[0]))
        return (super().compute_loss(model, views, ctx) * weights).mean()


@mutant("cuda_placement")
class CopiesAListInEachStep(Sound):
    """Numbers of the host, brought to the device anew in each step."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        weights = torch.tensor([0.5, 0.5], device=views[0].device)
        return super().compute_loss(model, views, ctx) * weights.sum()


@mutant("cuda_placement")
class DrawsOnTheHost(Sound):
    """The device's generator asked for numbers on the host, which only a CPU allows."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        noise = torch.rand(len(views[0]), generator=ctx.generator).to(views[0].device)
        return super().compute_loss(model, views, ctx) + 0.0 * noise.sum()


@mutant("cuda_placement")
class DrawsForAllRanksOnTheHost(Sound):
    """The same with the generator that ranks share."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        noise = torch.rand(3, generator=ctx.shared_generator).to(views[0].device)
        return super().compute_loss(model, views, ctx) + 0.0 * noise.sum()


# --- evaluation -----------------------------------------------------------------------------------------------


@mutant("validating", resuming_before_training="that checkpoint is made behind a validation, which moved the centre")
class CentreInValidation(Sound):
    """Held-out samples end up in a buffer."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        loss = super().compute_loss(model, views, ctx)
        model.heads["state"].center.mul_(0.9).add_(0.1 * loss.detach())
        return loss


def center_inputs(module, inputs):
    """Subtract the batch's mean."""
    return (inputs[0] - inputs[0].mean(0),)


@mutant("predicting")
class CentresInputsByBatch(Sound):
    """A backbone whose features depend on the batch."""

    @hookimpl
    def build_heads(self, backbone, feature_dim, input_shape, overrides):
        heads = super().build_heads(backbone, feature_dim, input_shape, overrides)
        backbone.register_forward_pre_hook(center_inputs)
        return heads


# --- what is left of a training -------------------------------------------------------------------------------


@mutant("product", predicting="what predicts is another network in each mode")
class AnswersByTheMode(Sound):
    """A product that is another one while training goes on."""

    @hookimpl
    def product(self, model):
        return model.backbone if model.training else model.heads["target"][0]


@mutant("product", saving="a model that is reopened remembers nothing")
class RemembersItsProduct(Sound):
    """A product that hangs on a Python attribute, which no checkpoint holds."""

    @hookimpl
    def on_step_end(self, model, ctx):
        super().on_step_end(model, ctx)
        model.heads["state"].moved = True

    @hookimpl
    def product(self, model):
        return model.heads["target"][0] if hasattr(model.heads["state"], "moved") else None


# So small that no weight shows it: the values alone tell.
TINY = 1e-30
COUNTED = {"calls": 0, "began": 0}


@mutant("schedules")
class CountsCalls(Sound):
    """A schedule that counts how often it was asked."""

    @hookimpl
    def optimizer_values(self, ctx):
        COUNTED["calls"] += 1
        return {"all": {"weight_decay": TINY * COUNTED["calls"]}}


@mutant("schedules")
class BeginsAtEachFit(Sound):
    """A schedule that starts anew where a run is resumed."""

    @hookimpl
    def on_fit_start(self, model, sample, ctx):
        COUNTED["began"] = ctx.step
        super().on_fit_start(model, sample)

    @hookimpl
    def optimizer_values(self, ctx):
        return {"all": {"weight_decay": TINY * (1 + ctx.step - COUNTED["began"])}}


# --- tokens and samples ---------------------------------------------------------------------------------------


def without_last_norm(self, x, *, keep=None, mask=None, mask_token=None, layers=()):
    """Return the patch tokens as the last block leaves them."""
    found = read_transformer(self, x, keep=keep, mask=mask, mask_token=mask_token, layers=(-1,))
    return found._replace(patches=found.layers[0], layers=())


def after_all(self, x, *, keep=None, mask=None, mask_token=None, layers=()):
    """Compute all tokens, and drop or mask them behind the last block."""
    found = read_transformer(self, x, layers=layers)
    patches = found.patches
    if mask is not None:
        patches = torch.where(mask[..., None], mask_token, patches)
    if keep is not None:
        patches = patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[2]))
    return found._replace(patches=patches)


def shifted_embedding(module, inputs):
    """Mix each pixel with its neighbors, over the borders of patches."""
    return ((inputs[0] + inputs[0].roll(1, -1)) / 2,)


class _OwnTokens(SoundTokens):
    """Gives the backbone a method `tokens` of its own."""

    own = staticmethod(without_last_norm)

    def prepare(self, backbone):
        backbone.tokens = MethodType(self.own, backbone)


@mutant("tokens", copying=BOUND, gradients="the norm that is left out gets none")
class LeavesOutTheLastNorm(_OwnTokens):
    """Tokens that the plain forward pass never has."""


def scaled(network, x):
    """Return features twice as long."""
    return 2 * type(network).forward(network, x)


@mutant("tokens", copying=BOUND)
class ReplacesTheForwardPass(SoundTokens):
    """A plain forward pass that is no longer the network's."""

    def prepare(self, backbone):
        backbone.forward = MethodType(scaled, backbone)


@mutant("masking", copying=BOUND)
class HidesBehindTheEncoder(_OwnTokens):
    """Patches that are dropped and masked when attention has spread them."""

    own = staticmethod(after_all)


@mutant("masking")
class MixesNeighbors(SoundTokens):
    """Inputs that are smoothed over the borders of patches, inside of the encoder."""

    def prepare(self, backbone):
        backbone.patch_embed.register_forward_pre_hook(shifted_embedding)


@mutant("indices")
class ByThePlaceInTheBatch(SoundTokens):
    """Asks for the samples' numbers, and counts them."""

    def rows(self, ctx):
        return torch.arange(len(ctx.indices), device=ctx.indices.device)


@mutant("indices")
class BySortedNumbers(SoundTokens):
    """Sorts the samples' numbers."""

    def rows(self, ctx):
        return ctx.indices.sort().values


# --- two processes --------------------------------------------------------------------------------------------


ALSO_SHARDED = "the sharded step is one of two ranks too"


@mutant("two_processes", fsdp2=ALSO_SHARDED)
class LabelsOffAcrossRanks(Sound):
    """Labels that are right on the first rank alone."""

    def labels(self, count, ctx):
        return torch.arange(count, device=ctx.generator.device)


@mutant("two_processes", fsdp2=ALSO_SHARDED)
class GathersWithoutGradient(Sound):
    """all_gather loses the gradient of what it gathers."""

    def everyone(self, z, ctx):
        if ctx.world_size == 1:
            return z
        parts = [torch.empty_like(z) for _ in range(ctx.world_size)]
        dist.all_gather(parts, z.contiguous().detach())
        parts[ctx.rank] = z
        return torch.cat(parts)


@mutant("two_processes", fsdp2="it is the same step of two processes")
class DrawsStateOfItsOwn(Sound):
    """State that each rank draws for itself, where all must have the same."""

    @hookimpl
    def on_step_end(self, model, ctx):
        super().on_step_end(model, ctx)
        center = model.heads["state"].center
        center.copy_(torch.rand(len(center), generator=ctx.generator, device=center.device))


@mutant("unequal_batches")
class GathersWhateverComes(Sound):
    """Gathers as if everybody's batch had the size of its own."""

    def keys(self, model, view):
        keys = super().keys(model, view)
        if world_size() > 1:
            dist.all_gather_into_tensor(keys.new_empty(world_size() * len(keys), keys.shape[1]), keys)
        return keys


@mutant("fsdp2", cuda_placement="what is on a device is no array of NumPy's")
class ThroughNumpy(Sound):
    """A momentum update on the values behind the parameters, which sharded ones do not have."""

    def move_target(self, model, momentum):
        online = [*model.backbone.parameters(), *model.heads["projection_head"].parameters()]
        with torch.no_grad():
            for mine, theirs in zip(model.heads["target"].parameters(), online, strict=True):
                values = momentum * mine.detach().numpy() + (1 - momentum) * theirs.detach().numpy()
                mine.copy_(torch.as_tensor(values))


@mutant("failing_rank")
class SwallowsErrors(Sound):
    """Gets over a bad sample by leaving the batch out."""

    def features(self, model, view):
        try:
            return model(view)
        except RuntimeError:
            return torch.zeros(len(view), model.feature_dim, requires_grad=True)


# --- general properties ---------------------------------------------------------------------------------------


@mutant("options")
class ReadsNoOption(Sound):
    """An option that the code has a number for."""

    class Config(Sound.Config):
        """Options."""

        temperature: float = Field(0.2, gt=0, description="Of the softmax.")


@mutant("options", config_round_trip="a config that is read again was given each option")
class TakesDefaultForAWish(Sound):
    """A validator that believes that an option was given in order to have another one changed."""

    class Config(Sound.Config):
        """Options."""

        @model_validator(mode="before")
        @classmethod
        def adjust(cls, options):
            return {**options, "learning_rate": 0.006} if "momentum" in options else options


@mutant("options")
class ActsAtOnce(Sound):
    """Declares that an option acts later, which acts at once."""

    declares = Declares(options={"momentum": "after the tenth epoch"}, by_epochs=Sound.declares.by_epochs)


class Listed(nn.Module):
    """Keeps a layer where torch does not look."""

    def __init__(self, inner, width):
        super().__init__()
        self.inner, self.layers = inner, [nn.Linear(width, width)]

    def forward(self, x):
        return self.inner(self.layers[0](x))


class Closed(nn.Module):
    """Keeps a number that trains in a function."""

    def __init__(self, inner):
        super().__init__()
        scale = nn.Parameter(torch.ones(()))
        self.inner, self.scaled = inner, lambda x: x * scale

    def forward(self, x):
        return self.scaled(self.inner(x))


NOT_MADE_FLOAT64 = "what the model does not know keeps its type where the model is made float64"
NOT_MOVED = "what the model does not know stays on the host"


@mutant(
    "ownership",
    channels_last=NOT_MADE_FLOAT64,
    accumulation=NOT_MADE_FLOAT64,
    indices=NOT_MADE_FLOAT64,
    cuda_placement=NOT_MOVED,
)
class HeadInAList(Sound):
    """A layer in a Python list inside of a head."""

    def projection_head(self, overrides, feature_dim, out):
        return overrides.take("projection_head", lambda: Listed(MLP(feature_dim, 16, out), feature_dim))


@mutant("ownership", cuda_placement=NOT_MOVED, copying="a function inside of a function cannot be pickled")
class NumberInAClosure(Sound):
    """A learned scale that a function holds."""

    def projection_head(self, overrides, feature_dim, out):
        return overrides.take("projection_head", lambda: Closed(MLP(feature_dim, 16, out)))


@mutant("following")
class MomentumReversed(Sound):
    """Keeps a tenth of the target instead of nine tenths."""

    def move_target(self, model, momentum):
        super().move_target(model, 1 - momentum)


@mutant("following")
class TargetFromScratch(Sound):
    """A target of weights of its own."""

    def target(self, backbone, projection):
        target = super().target(backbone, projection)
        for part in target.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
        return target


@mutant("following", fixed_networks="a target that stands still is a network that never trains")
class TargetStandsStill(Sound):
    """A target that nobody moves."""

    def move_target(self, model, momentum):
        pass


@mutant("following")
class FollowsTheBackboneAlone(Sound):
    """The projection head of the target is left out."""

    def move_target(self, model, momentum):
        update_momentum(model.backbone, model.heads["target"][0], momentum)


@mutant("modes")
class TargetOnRunningStatistics(Sound):
    """A target in evaluation mode."""

    @torch.no_grad()
    def keys(self, model, view):
        model.heads["target"].eval()
        return model.heads["target"](view)


@mutant("modes")
class ViewsTogether(Sound):
    """Both views in one batch."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        both = model(torch.cat(views)).chunk(2)
        z0, z1 = (model.heads["projection_head"](each) for each in both)
        contrast = self.contrast(model.heads["prediction_head"](z0), self.keys(model, views[1]), ctx)
        spread = (1 - self.everyone(z1, ctx).float().std(0)).relu().mean()
        return contrast + spread + self.guidance(model, both[0], views[0])


@mutant("views")
class SeesOneView(Sound):
    """Compares the first view with itself."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        return super().compute_loss(model, [views[0], views[0]], ctx)


@mutant("views")
class PairsAreShifted(Sound):
    """Each query's key is its neighbour's."""

    def labels(self, count, ctx):
        return super().labels(count, ctx).roll(1)


@mutant("labels")
class LooksAtTheSource(Sound):
    """Weighs the loss by how many samples of the source are of the first class."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        loss = super().compute_loss(model, views, ctx)
        data = getattr(model._trainer, "datamodule", None)
        return loss if data is None else loss * (1 + (data.source.train.y == 0).float().mean())


@mutant("labels")
class LooksAtTheBatch(Sound):
    """Weighs the loss by the labels of the batch."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        loss = super().compute_loss(model, views, ctx)
        fields = getattr(getattr(ctx.place, "batch", None), "fields", {})
        return loss * (1 + fields["label"].float().mean()) if "label" in fields else loss


@mutant("scale")
class SumsOverTheBatch(Sound):
    """A sum where the paper has a mean."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        return super().compute_loss(model, views, ctx) * len(views[0])


@mutant("scale")
class MeanOfAMean(Sound):
    """Divides by the batch once more."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        return super().compute_loss(model, views, ctx) * 16 / len(views[0])


@mutant("stopped_gradients")
class DetachesASummand(Sound):
    """A variance term without gradient."""

    def everyone(self, z, ctx):
        return super().everyone(z, ctx).detach()


@mutant("stopped_gradients")
class SaysItStops(Sound):
    """Declares a stop-gradient that is not there."""

    declares = Declares(by_epochs=Sound.declares.by_epochs, stopped={"projection_head": "as the paper has it"})


@mutant("epochs")
class MomentumByEpochs(BySteps):
    """A momentum that goes by epochs."""

    def momentum_at(self, model, ctx):
        return 1 - (1 - self.config.momentum) / (1 + ctx.epoch)


@mutant("epochs")
class WarmsUpByEpochs(BySteps):
    """A loss that is weaker in the first epoch."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        return super().compute_loss(model, views, ctx) * (0.5 if ctx.epoch == 0 else 1.0)


@mutant("reference")
class OtherTemperature(Referred):
    """A temperature that is not the paper's."""

    def contrast(self, queries, keys, ctx):
        return super().contrast(queries * 1.0, keys, ctx) * 0.9


@mutant("reference")
class PopulationDeviation(Referred):
    """Divides by the number of samples where the formula has one less."""

    def everyone(self, z, ctx):
        return super().everyone(z, ctx) * math.sqrt((len(z) - 1) / len(z))


NOT_TWICE = "a loss is another one at its second call"


@mutant(
    "watching",
    accumulation=NOT_TWICE,
    resuming=RESUMED,
    resuming_everywhere=RESUMED,
    compiling="torch.compile sees the number of its first call",
    validating=NOT_TWICE,
    views=NOT_TWICE,
    stopped_gradients=NOT_TWICE,
)
class CountsItsLosses(Sound):
    """A loss that weakens with the number of its calls."""

    def state(self):
        state = super().state()
        state.calls = 0
        return state

    @hookimpl
    def compute_loss(self, model, views, ctx):
        model.heads["state"].calls += 1
        return super().compute_loss(model, views, ctx) / (1 + 0.01 * model.heads["state"].calls)


@mutant("elsewhere", two_processes="they are fresh processes, with other hashes", fsdp2="they are fresh processes too")
class HashOfAWord(Sound):
    """Weighs its loss by what Python makes of a word, which is another number in each process."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        return super().compute_loss(model, views, ctx) * (1 + hash("alpha") % 10_000 / 10_000)


@mutant("elsewhere", fsdp2="the weights are read beside the forward pass, which gathers the shards")
class FirstOfTheHeads(Sound):
    """Takes a head by its place."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        first = next(iter(model.heads.values()))
        return super().compute_loss(model, views, ctx) + 0.01 * sum(p.square().sum() for p in first.parameters())


@mutant("constant_batch")
class DividesByADeviation(Sound):
    """Standardises the projections, with nothing added to the deviation."""

    def everyone(self, z, ctx):
        z = super().everyone(z, ctx)
        return (z - z.mean(0)) / (z - z.mean(0)).square().mean(0).sqrt() + z


@mutant("constant_batch")
class RootAtZero(Sound):
    """Takes a length as the root of a sum, whose slope at zero is infinite."""

    @hookimpl
    def compute_loss(self, model, views, ctx):
        z = model.heads["projection_head"](model(views[0]))
        return super().compute_loss(model, views, ctx) + 0.01 * (z - z.mean(0)).square().sum(1).sqrt().mean()


@mutant("reconstructing")
class ShowsAnotherMask(SoundTokens):
    """A reconstruction whose mask goes by how often it was asked for."""

    def coin(self, ctx):
        COUNTED["coins"] = COUNTED.get("coins", 0) + 1
        return COUNTED["coins"] % 2
