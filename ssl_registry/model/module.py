"""`SSLModule`: the one LightningModule. It owns the hard parts once and calls the method's hooks.

What it takes care of, so that no method has to:

- *steps*: `on_step_end` follows optimizer steps, never micro-batches, and counts them as Lightning's own
  ``global_step``, which checkpoints restore;
- *random numbers*: before each batch they are seeded from (seed, epoch, batch, rank) alone, so a resumed run draws
  what an undisturbed one would have drawn;
- *freezing*: only this module touches ``requires_grad`` and evaluation mode, and it gives back what it took;
- *views*: any accepted batch becomes the list of views that the method asked for.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ssl_registry.checkpoint.record import RECORD_KEY, BackboneRecord, Record, check_method, read_record
from ssl_registry.contract.context import Context
from ssl_registry.contract.reconstruction import Reconstruction
from ssl_registry.contract.validation import bind
from ssl_registry.data.loading.loader import ResumableLoader
from ssl_registry.discovery.entry_points import MethodInfo
from ssl_registry.errors import BatchError, ConfigError, ContractError
from ssl_registry.model.batches import check_finite, check_range, describe, read_batch
from ssl_registry.model.drawing import BatchPlace, NoIndices, TrainingBatch
from ssl_registry.model.frozen import FrozenParts
from ssl_registry.model.micro_batches import in_micro_batches, twins
from ssl_registry.model.optimizers import (
    build_optimizer,
    build_scheduler,
    check_schedule,
    default_param_groups,
    go_on_from,
)
from ssl_registry.model.product import NetworkName, check_network, find_product
from ssl_registry.model.reconstructing import checked_reconstruction
from ssl_registry.model.step_values import StepValues
from ssl_registry.nn import FrozenModuleList, MomentumTeacher, Tokens, evaluating, tokens
from ssl_registry.views import ViewPolicy
from ssl_registry.views.keys import mix_seed

__all__ = ["SSLModule"]

# Streams of random numbers that must not meet, whatever the epoch.
TRAIN, EVALUATE, FIT_START, EPOCH_START = range(4)
ALL_RANKS = -1  # in the place of a rank


class Heads(nn.ModuleDict):
    """A method's heads by name. Only the method knows what each of them is: to a type checker they are `Any`."""

    if TYPE_CHECKING:

        def __getitem__(self, name: str) -> Any: ...


class SSLModule(LightningModule):
    """A method on a backbone. Make one with ``registry.create``.

    Calling it maps [batch, *input_shape], as the backbone takes it, to the backbone's features [batch, feature_dim];
    `embed` gives those of the `product`, from raw images and for single samples.

    Args:
        method: the method's instance; only its hooks and ``config`` are used.
        info: where the method comes from.
        backbone: maps [batch, *input_shape] to [batch, feature_dim].
        feature_dim: the width of its output.
        input_shape: of one sample.
        heads: every other module by name.
        view_policy: how views are drawn.
        record: what rebuilds the backbone.
        token_dim: the width of the backbone's tokens, and
        token_grid: their positions along each axis; both None for a method that does not work on tokens.
        overridden: names of the heads that the user gave.
        num_samples: of the training source; None where it is not known.
        observers: objects whose hooks are called beside the method's.
        seed: of every random draw of training.

    Attributes:
        micro_batch: the most samples that backbone and target see at once; a larger batch goes through them in parts,
            twice, with the loss and the gradient of the whole. None: all of them.
    """

    def __init__(
        self,
        method: Any,
        info: MethodInfo,
        *,
        backbone: nn.Module,
        feature_dim: int,
        input_shape: tuple[int, ...],
        heads: dict[str, nn.Module],
        view_policy: ViewPolicy,
        record: BackboneRecord,
        token_dim: int | None = None,
        token_grid: tuple[int, ...] | None = None,
        overridden: Sequence[str] = (),
        num_samples: int | None = None,
        observers: Sequence[object] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.method = method
        self.info = info
        self.backbone = backbone
        self.feature_dim = feature_dim
        self.input_shape = input_shape
        self.heads = Heads(heads)
        self.view_policy = view_policy
        self.backbone_record = record
        self.token_dim = token_dim
        self.token_grid = token_grid
        self.overridden = tuple(sorted(overridden))
        self.num_samples = num_samples
        self.observers = list(observers)
        self.seed = seed
        self.micro_batch: int | None = None
        self._hooks = bind(method, self.observers)
        self._frozen = FrozenParts()
        self._values: StepValues | None = None
        self._product_name = "backbone"
        self._max_steps: int | None = None
        self._batches: float = 0  # of the first epoch
        self._generator: torch.Generator | None = None
        self._checked_range = False

    @property
    def config(self) -> Any:
        """The method's options."""
        return self.method.config

    @property
    def hook(self) -> Any:
        """pluggy's callers: ``model.hook.compute_loss(model=..., views=..., ctx=...)``."""
        return self._hooks.hook

    # --- networks and features ----------------------------------------------------------------------------

    @property
    def product_name(self) -> str:
        """Where the `product` lies in this module, as a dotted name: ``backbone``, ``heads.target.0``.

        Raises:
            ContractError: if what the method's hook `product` returns cannot be one.
        """
        self._product_name = find_product(self, self._product_name)
        return self._product_name

    @property
    def product(self) -> nn.Module:
        """The network that is evaluated, embedded and exported: the backbone, unless the method names another."""
        return self.get_submodule(self.product_name)

    def network(self, name: NetworkName = "product") -> nn.Module:
        """Return the `product`, or the backbone, which the gradient trains.

        Raises:
            ConfigError: for another name.
        """
        check_network(name)
        return self.backbone if name == "backbone" else self.product

    def forward(self, x: Tensor) -> Tensor:
        """Map prepared inputs [batch, *input_shape] to the backbone's features [batch, feature_dim]."""
        features: Tensor = self.backbone(x)
        return features

    def tokens(
        self,
        x: Tensor,
        *,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
        layers: Sequence[int] = (),
    ) -> Tokens:
        """Return the backbone's tokens for prepared inputs [batch, *input_shape].

        Arguments, result and errors are those of `ssl_registry.nn.tokens`, which gives the tokens of other networks,
        such as a teacher's.
        """
        return tokens(self.backbone, x, keep=keep, mask=mask, mask_token=mask_token, layers=layers)

    @torch.no_grad()
    def embed(self, x: Tensor, *, network: NetworkName = "product") -> Tensor:
        """Map raw inputs to features, in evaluation mode and without gradient.

        Args:
            x: [batch, *input_shape] or one sample of input_shape; images as integers from 0 to 255 or as floats in
                [0, 1], which the view policy resizes and normalises as in training.
            network: ``product``, or ``backbone`` where that is another.

        Returns:
            [batch, feature_dim], or [feature_dim] for one sample, in float32.

        Raises:
            BatchError: for samples of another shape, or images that are neither.
        """
        single = x.ndim == len(self.input_shape)
        prepared = self.prepared(x.unsqueeze(0) if single else x)
        chosen = self.network(network)
        with evaluating(chosen), torch.compiler.set_stance("force_eager"):
            features: Tensor = chosen(prepared).float()
        return features[0] if single else features

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Reconstruction | None:
        """Return what the method makes of raw samples that it hides a part of, in evaluation mode.

        The masks are those of the model's seed: the same at every call.

        Args:
            x: [batch, *input_shape], as for `embed`.

        Returns:
            The hook's answer with ``output`` on the scale of samples, images in about [0, 1]; None where the method has
            no hook `reconstruct`, or nothing to show.

        Raises:
            BatchError: as `embed`.
            ContractError: if the hook's answer does not fit the samples.
        """
        if not self.hook.reconstruct.get_hookimpls():
            return None
        prepared = self.prepared(x)
        with evaluating(self), torch.compiler.set_stance("force_eager"):
            answer = self.hook.reconstruct(model=self, x=prepared, ctx=self._context(EVALUATE))
        return checked_reconstruction(self, answer, prepared)

    def prepared(self, x: Tensor) -> Tensor:
        """Return raw samples as the networks take them: checked, resized, normalized, on the model's device.

        Args:
            x: [batch, *input_shape], as for `embed`.

        Raises:
            BatchError: as `embed`.
        """
        (batch,) = read_batch(x, self.input_shape)
        if batch.ndim == 4 and not (self.view_policy.is_plain and self.view_policy.mean is None):
            check_finite(batch)
            check_range(batch)
        return self._cast(self.view_policy.prepare(batch.to(self.device)))

    def compile_networks(self) -> None:
        """Let torch.compile speed up the backbone and every head with parameters, each by itself and in place.

        They stay the modules they are, with the same state dict. A network is compiled at its first call, and once
        more for each state in which it trains: frozen, or not. `embed` does not compile: its batches have any size.
        """
        for part in (self.backbone, *self.heads.values()):
            if any(True for _ in part.parameters()) and not isinstance(part, nn.ModuleList):
                part.compile()

    # --- Lightning's steps --------------------------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Draw the views, ask the method for the loss, and log now and then."""
        loss, values = self.batch_loss(batch, batch_idx)
        if not loss.requires_grad:
            raise ContractError(
                f"{self.info.name}: the loss has no gradient; was it detached, computed under no_grad, "
                "or is everything frozen in this epoch?"
            )
        # Lightning writes every n steps and spends a millisecond on each call: call only when it writes.
        if self._trainer is not None and self.logs_this_step:
            self.log_dict({**values, **self._rates(), **self._data_wait()})
            self.log("train_loss", loss.detach(), prog_bar=True)
        return loss

    def _rates(self) -> dict[str, float]:
        group = self.trainer.optimizers[0].param_groups[0]
        rates = {"learning_rate": group["lr"]}
        return rates if self.config.final_weight_decay is None else {**rates, "weight_decay": group["weight_decay"]}

    def _data_wait(self) -> dict[str, float]:
        """Return the share of the time since the last call that was spent waiting for a batch, where it is known."""
        measure = getattr(self.trainer.train_dataloader, "wait_share", None)
        return {} if measure is None else {"data_wait": measure()}

    def batch_loss(self, batch: Any, batch_idx: int, *, quiet: bool = False) -> tuple[Tensor, dict[str, Any]]:
        """Draw a training batch's views and ask the method for its loss.

        Within one step it gives the same however often it is called, but for what the method keeps in buffers.

        Args:
            batch, batch_idx: as Lightning gives them.
            quiet: log nothing of what the method logs.

        Returns:
            The loss, and further values to log by name.
        """
        batch = self._read(batch, TRAIN, batch_idx)
        ctx = self._context(TRAIN, batch_idx, batch=batch)
        if quiet:
            ctx = replace(ctx, log=lambda name, value: None)
        return self._loss(self._views(batch), ctx)

    @property
    def logs_this_step(self) -> bool:
        """Whether values of the step at hand are written: the first, and every ``log_every_n_steps``-th."""
        step = self.global_step
        return step == 0 or (step + 1) % self.log_interval == 0

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Log ``val_loss``, with the same views for a batch in every epoch.

        A method whose loss asks for ``ctx.indices`` has none: those number the samples of the training source, and
        held-out samples are not among them. Its features are measured as any other's.
        """
        return self._evaluation_step(batch, batch_idx, "val")

    def test_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Log ``test_loss``, as `validation_step`."""
        return self._evaluation_step(batch, batch_idx, "test")

    def predict_step(self, batch: Any, batch_idx: int = 0, dataloader_idx: int = 0) -> Tensor:
        """Return the features [batch, feature_dim] of a batch's first view."""
        return self.embed(read_batch(batch, self.input_shape)[0])

    def _evaluation_step(self, batch: Any, batch_idx: int, stage: str) -> Tensor | None:
        batch = self._read(batch, EVALUATE, batch_idx)
        views = self._views(batch)
        try:
            loss, _ = self._loss(views, self._context(EVALUATE, batch_idx, batch=batch))
        except NoIndices:  # the method's loss is of training samples alone, by their numbers
            return None
        self.log(f"{stage}_loss", loss, on_epoch=True, on_step=False, sync_dist=True, batch_size=len(views[0]))
        return loss

    def _loss(self, views: list[Tensor], ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        try:
            with self._parts_of(views):
                result = self.hook.compute_loss(model=self, views=views, ctx=ctx)
        except ValueError as error:
            if len(views[0]) == 1 and "more than 1 value per channel" in str(error):
                raise BatchError(
                    "a batch of one sample cannot go through BatchNorm, whose statistics it does not have; give a "
                    "batch_size of at least 2, and a source of at least 2 samples"
                ) from error
            raise
        values = dict(result) if isinstance(result, dict) else {"loss": result}
        loss = values.pop("loss", None)
        if not isinstance(loss, Tensor) or loss.ndim != 0:
            came = describe(loss) if loss is not None else describe(result)
            raise ContractError(
                f"{self.info.name}: compute_loss must return a scalar tensor, or a dict with one under 'loss'; "
                f"it returned {came}"
            )
        return loss, {name: value.detach() if isinstance(value, Tensor) else value for name, value in values.items()}

    def _parts_of(self, views: list[Tensor]) -> AbstractContextManager[None]:
        """Let the networks take a batch in parts, where it is larger than they are to see at once."""
        if self.micro_batch is None or len(views[0]) <= self.micro_batch:
            return nullcontext()
        return in_micro_batches(twins(self.backbone, self.heads), self.micro_batch)

    # Keys and parameters of views are numpy's numbers, which dynamo cannot trace where the whole module is compiled.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _read(self, batch: Any, stream: int, batch_idx: int) -> TrainingBatch:
        seed, shared = self._seeds(stream, batch_idx)
        return TrainingBatch(
            batch, self.view_policy, self.input_shape, seed=seed, batch_key=shared, owner=self.info.name
        )

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _views(self, batch: TrainingBatch) -> list[Tensor]:
        if not batch.has_views:
            self._check_range(batch)
        # Mixed precision is for networks: a view drawn in bf16 would be off by several grey levels.
        with torch.autocast(self.device.type, enabled=False):
            return [self._cast(view) for view in batch.views()]

    def _cast(self, x: Tensor) -> Tensor:
        """Give inputs the weights' type: float32, or half precision where the trainer is told ``bf16-true``."""
        return x.to(self.dtype)

    def _check_range(self, batch: TrainingBatch) -> None:
        """Look once whether float images are in [0, 1], where colour steps and their clamping mean something."""
        if self._checked_range or len(self.input_shape) != 3 or self.view_policy.is_plain:
            return
        self._checked_range = True
        images = batch.given[0]
        check_finite(images, batch.fields.get("indices"))
        check_range(images)

    # --- where the run stands -----------------------------------------------------------------------------

    def _seeds(self, stream: int, batch_idx: int) -> tuple[int, int]:
        """Return the seeds of a place in the run, a function of it alone: of this rank, and of all ranks."""
        epoch, rank = 0, 0
        if self._trainer is not None:
            epoch = self.current_epoch if stream != EVALUATE else 0
            rank = self.global_rank
        place = self.seed, stream, epoch, batch_idx
        return mix_seed(*place, rank), mix_seed(*place, ALL_RANKS)

    def _context(
        self, stream: int, batch_idx: int = 0, *, batch: TrainingBatch | None = None, steps_more: int = 0
    ) -> Context:
        """Make the context, with random numbers that depend on the seed and on where the run stands alone."""
        attached = self._trainer is not None
        seed, shared = self._seeds(stream, batch_idx)
        if self._generator is None or self._generator.device != self.device:
            self._generator = torch.Generator(self.device)
        self._generator.manual_seed(seed)
        return Context(
            epoch=self.current_epoch if attached else 0,
            step=(self.global_step if attached else 0) + steps_more,
            max_steps=self._max_steps,
            rank=self.global_rank if attached else 0,
            world_size=self.trainer.world_size if attached else 1,
            generator=self._generator,
            log=self._log_scalar,
            place=BatchPlace(self.device, seed, shared, batch),
        )

    @property
    def _allows_fused(self) -> bool:
        """Whether Lightning lets a fused optimizer do what the trainer was told."""
        if self._trainer is None:
            return True
        # In float16 a fused step divides by the gradient scaler's factor itself: callbacks and clipping, which come
        # before it, would see scaled gradients. So Lightning refuses to clip for any optimizer with such a step, and
        # does so under bf16-mixed as well, where nothing is scaled.
        clips = bool(self.trainer.gradient_clip_val)
        return self.trainer.precision != "16-mixed" and not (clips and self.trainer.precision == "bf16-mixed")

    @property
    def log_interval(self) -> int:
        """Optimizer steps from one logged step to the next."""
        interval: int = getattr(self.trainer, "log_every_n_steps", 0)  # set in a helper: mypy does not see it
        return max(1, interval)

    def _log_scalar(self, name: str, value: Tensor | float) -> None:
        # A call costs a fifth of a millisecond, written or not.
        if self._trainer is not None and self.trainer.training and self.logs_this_step:
            self.log(name, value)

    # --- Lightning's fit ----------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Choose the memory layout, and let DDP leave out what is frozen in some epochs."""
        strategy = self.trainer.strategy
        if len(self.input_shape) == 3 and strategy.root_device.type in ("cpu", "cuda"):
            # Tensor cores want channels last, and so do a CPU's convolutions but at small batches of small images.
            self.to(memory_format=torch.channels_last)
        if self.hook.frozen_modules.get_hookimpls() and isinstance(strategy, DDPStrategy):
            # Without this DDP waits for the gradients of what is frozen, for ever.
            strategy._ddp_kwargs.setdefault("find_unused_parameters", True)

    def default_param_groups(self, *modules: nn.Module, prefix: str = "") -> list[dict[str, Any]]:
        """Return the parameter groups that the core would make of some modules, for a method's `param_groups`.

        Args:
            *modules: of the model; default: the backbone and all heads.
            prefix: in front of the names of the groups, ``decay`` and ``no_decay``, by which `optimizer_values` tells
                them from others.

        Returns:
            Both groups, as torch's optimizers take them; one that would be empty is left out.

        Example:
            >>> from ssl_registry import registry
            >>> model = registry.create("byol", backbone=nn.Linear(4, 6), input_shape=(4,), hidden_dim=8)
            >>> [group["name"] for group in model.default_param_groups(model.backbone, prefix="backbone_")]
            ['backbone_decay', 'backbone_no_decay']
        """
        groups = default_param_groups(modules or [self.backbone, self.heads])
        return [{**group, "name": prefix + group["name"]} for group in groups]

    def configure_optimizers(self) -> Any:
        """Build the optimizer over the method's parameter groups, and the schedule if there is one."""
        groups = self.hook.param_groups(model=self, config=self.config)
        if groups is None:
            groups = self.default_param_groups()
        self._values = StepValues(groups, self.config)
        optimizer = build_optimizer(groups, self.config, fused=self._allows_fused)
        # The run's length is asked for later: finding out requests the data, before a checkpoint is restored.
        scheduler = build_scheduler(optimizer, self.config, lambda: self._max_steps)
        if scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Agree on one seed over all ranks."""
        self.seed = int(self.trainer.strategy.broadcast(self.seed))
        self._frozen.release()
        resting = [part for part in self.modules() if isinstance(part, FrozenModuleList | MomentumTeacher)]
        meant = {id(part) for network in resting for part in network.modules()}
        if meant and all(part.training or id(part) in meant for part in self.modules()):
            # Lightning would call it unexpected that what never trains is in evaluation mode.
            warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")

    def on_train_start(self) -> None:
        """Call the method's `on_fit_start` (a checkpoint is restored by now), and freeze for this epoch.

        Raises:
            BatchError: for several loaders, whose batches would be taken for views of each other.
        """
        _check_one_loader(self.trainer)
        self._max_steps = _run_length(self.trainer)
        self._batches = self.trainer.num_training_batches
        check_schedule(self.config, self._max_steps)
        for told in self.trainer.lr_scheduler_configs:
            go_on_from(told.scheduler, self.global_step)
        self.hook.on_fit_start(model=self, sample=self._sample, ctx=self._context(FIT_START))
        # An epoch that is resumed in its midst has no `on_train_epoch_start`.
        self._freeze_for_epoch()

    def on_train_epoch_start(self) -> None:
        """Call the method's `on_epoch_start`, and freeze what it wants frozen in this epoch.

        Raises:
            BatchError: if loaders are made anew and have another length: schedules count on the first one's.
        """
        counted = self._max_steps is not None and self.trainer.max_steps == -1
        if counted and self.trainer.num_training_batches != self._batches:
            raise BatchError(
                f"epoch {self.current_epoch} has {self.trainer.num_training_batches} batches, the first one had "
                f"{self._batches}; the schedules need the number of steps beforehand: give the Trainer max_steps"
            )
        self.hook.on_epoch_start(model=self, sample=self._sample, ctx=self._context(EPOCH_START))
        self._freeze_for_epoch()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed torch's global generators too: dropout and stochastic depth draw from them."""
        seed = mix_seed(self.seed, TRAIN, self.current_epoch, batch_idx, self.global_rank)
        # Not `torch.manual_seed`: for a device that is never used it notes where it was called, which takes
        # milliseconds from as deep as this.
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make the step, then tell the method: this is the one place where an optimizer step ends."""
        batch_idx = args[1] if len(args) > 1 else kwargs["batch_idx"]
        self._set_values(batch_idx)
        super().optimizer_step(*args, **kwargs)
        # Lightning counts the step only after this returns.
        ctx = self._context(TRAIN, batch_idx, steps_more=1)
        self.hook.on_step_end(model=self, ctx=ctx)
        if self.hook.should_stop(model=self, ctx=ctx):
            self.trainer.should_stop = True

    def _set_values(self, batch_idx: int) -> None:
        """Set what the optimizer's groups are to have in the coming step, beside the learning-rate schedule."""
        assert self._values is not None  # there is an optimizer to step
        (optimizer,) = self.trainer.optimizers
        self._values.schedule(optimizer, self.global_step, self._max_steps)
        if self.hook.optimizer_values.get_hookimpls():
            told = self.hook.optimizer_values(ctx=self._context(TRAIN, batch_idx))
            if told is not None:
                self._values.override(optimizer, told, owner=self.info.name)

    def on_train_end(self) -> None:
        """Give back what was frozen."""
        self._frozen.release()

    def _sample(self, count: int) -> Tensor:
        """Return the first ``count`` training inputs of rank 0, prepared, on every rank."""
        found: list[Tensor] = []
        if self.global_rank == 0:
            # The user's loader may draw from the global generators: training must not notice this look at it.
            with torch.random.fork_rng():
                for batch in _apart(self.trainer.train_dataloader):
                    found.append(read_batch(batch, self.input_shape)[0])
                    if sum(map(len, found)) >= count:
                        break
        inputs = torch.cat(found)[:count].cpu() if found else None
        inputs = self.trainer.strategy.broadcast(inputs)
        if inputs is None:
            raise BatchError("the training source is empty: it gave no batch to choose from")
        check_finite(inputs)
        return self._cast(self.view_policy.prepare(inputs.to(self.device)))

    # --- freezing -----------------------------------------------------------------------------------------

    def _freeze_for_epoch(self) -> None:
        names = self.hook.frozen_modules(model=self, ctx=self._context(FIT_START))
        self._frozen.hold(names or set(), self.backbone, self.heads, owner=self.info.name)

    @property
    def frozen(self) -> frozenset[str]:
        """The names of what is frozen now."""
        return self._frozen.names

    def train(self, mode: bool = True) -> SSLModule:
        """Set training mode everywhere but in what is frozen now."""
        super().train(mode)
        self._frozen.rest()
        return self

    # --- saving -------------------------------------------------------------------------------------------

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Lightning's way to build a module, which needs the method that this one is given.

        Raises:
            ConfigError: naming `Registry.load`, which builds it.
        """
        raise ConfigError(
            f"{cls.__name__} is opened by its record: ssl_registry.registry.load({str(checkpoint_path)!r})"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record where the model comes from, in plain values."""
        checkpoint[RECORD_KEY] = make_record(self).model_dump()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another method's checkpoint, and go on with the seed that was saved."""
        record = read_record(checkpoint)
        check_method(record, self.info)
        self.seed = record.seed

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is rebuilt: the plugin manager and the generator."""
        state: dict[str, Any] = super().__getstate__()
        return state | {"_hooks": None, "_generator": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Rebuild the plugin manager."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._hooks = bind(self.method, self.observers)


def _check_one_loader(trainer: Trainer) -> None:
    """Refuse loaders whose batches come together, in a list: two samples would count as two views of one."""
    loaders = trainer.train_dataloader
    if isinstance(loaders, list | tuple) and len(loaders) > 1:
        raise BatchError(
            f"fit was given {len(loaders)} loaders, whose batches would be taken for views of each other; give one, "
            "over torch.utils.data.ConcatDataset([...]) of the data sets"
        )


def _run_length(trainer: Trainer) -> int | None:
    """Return the optimizer steps of a run; None where its end is not known: no limit, or a loader without length."""
    steps = trainer.estimated_stepping_batches
    callbacks = getattr(trainer, "callbacks", ())  # set in a helper: mypy does not see it
    scheduler = next((one for one in callbacks if isinstance(one, GradientAccumulationScheduler)), None)
    if math.isinf(steps) or steps < 0:  # Lightning says -1 of loaders without length
        return None
    if scheduler is None or not trainer.max_epochs or trainer.max_epochs < 0:
        return int(steps)
    # Lightning counts as if the first epoch's accumulation held.
    batches = trainer.num_training_batches
    epochs = range(trainer.max_epochs)
    counted = sum(math.ceil(batches / scheduler.get_accumulate_grad_batches(epoch)) for epoch in epochs)
    return counted if trainer.max_steps == -1 else min(counted, trainer.max_steps)


def _apart(loader: Any) -> Any:
    """Return a loader of the training samples that takes no batch of training away."""
    if isinstance(loader, ResumableLoader):
        return loader.samples()
    if not isinstance(loader, DataLoader) or not loader.persistent_workers:
        return () if loader is None else loader
    twin = copy.copy(loader)  # with workers of its own: those that persist would hand out the batches of training
    twin._iterator = None
    return twin


def make_record(model: SSLModule) -> Record:
    """Describe a model: what `reopen` needs to build it again."""
    return Record(
        method=model.info.name,
        distribution=model.info.distribution,
        version=model.info.version,
        config=model.config.model_dump(mode="json"),
        backbone=model.backbone_record,
        view_policy=model.view_policy,
        overridden=model.overridden,
        num_samples=model.num_samples,
        product=model.product_name,
        seed=model.seed,
    )
