"""`SupervisedModule`: a backbone and a head, trained on labels.

The counterpart of `ssl_registry.model.module.SSLModule` for what comes after pretraining, or instead of it: a
linear probe (``freeze_backbone=True``), fine-tuning, or training from scratch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, Self

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import Metric, MetricCollection

from ssl_registry.errors import BackboneError, BatchError, ConfigError
from ssl_registry.model.batches import describe
from ssl_registry.nn import Frozen, as_module, freeze

__all__ = ["SupervisedModule"]


class SupervisedModule(LightningModule):
    """Train ``head(flatten(adapter(backbone(x))))`` on labels.

    Logged once an epoch, over all of its samples and all ranks: ``train_loss``, ``val_loss``, ``test_loss``,
    and each metric under its name with the same prefix, such as ``val_acc``.

    Args:
        backbone: maps inputs [batch, ...] to features.
        head: maps features to outputs; ``nn.Identity()`` if the backbone's are the outputs.
        loss_fn: called with (outputs, y), returns a scalar. Its parameters, if it has any, are trained too.
        adapter: applied to the backbone's output, for instance to pick a tensor from a mapping or to pool. A
            module is trained with the head; None leaves the features as they are.
        learning_rate: of the optimizer.
        flatten: turn the features into [batch, width] before the head.
        train_metrics: torchmetrics by name, updated with (outputs, y). Each is copied, so that the same one
            may serve several stages.
        val_metrics: the same, for validation.
        test_metrics: the same, for testing.
        freeze_backbone: leave the backbone as it is: no gradients, eval mode for good (normalisation
            statistics stay, also after ``.train()``), no place in the optimizer. `unfreeze_backbone` undoes
            it.
        optimizer: the class.
        optimizer_kwargs: its arguments beside parameters and learning rate, such as ``{"weight_decay": 1e-6}``.
        lr_scheduler: a class, stepped at the end of each epoch; None keeps the rate. ``ReduceLROnPlateau``
            sees ``val_loss`` after each epoch with a validation, and ``train_loss`` where there is none.
        lr_scheduler_kwargs: its arguments beside the optimizer.

    Raises:
        ConfigError: for metrics that are none, or an ``lr`` in ``optimizer_kwargs``; when fitting starts, for
            arguments that optimizer or scheduler do not take, or if nothing is left to train.
        TypeError: if ``loss_fn`` or ``adapter`` is a class or cannot be called.

    Example:
        >>> from torchmetrics.classification import MulticlassAccuracy
        >>> model = SupervisedModule(
        ...     backbone=nn.Conv2d(1, 4, 3),
        ...     head=nn.Linear(4, 10),
        ...     loss_fn=nn.CrossEntropyLoss(),
        ...     adapter=nn.AdaptiveAvgPool2d(1),
        ...     val_metrics={"acc": MulticlassAccuracy(10)},
        ...     freeze_backbone=True,
        ... )
        >>> model(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
        >>> list(model.val_metrics.keys()), model.train().backbone.training
        (['val_acc'], False)
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        loss_fn: nn.Module,
        *,
        adapter: Callable[..., Any] | None = None,
        learning_rate: float = 1e-3,
        flatten: bool = True,
        train_metrics: Mapping[str, Metric] | None = None,
        val_metrics: Mapping[str, Metric] | None = None,
        test_metrics: Mapping[str, Metric] | None = None,
        freeze_backbone: bool = False,
        optimizer: type = torch.optim.Adam,
        optimizer_kwargs: Mapping[str, Any] | None = None,
        lr_scheduler: type | None = None,
        lr_scheduler_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if "lr" in (optimizer_kwargs or {}):
            raise ConfigError("optimizer_kwargs holds lr; give it as learning_rate")
        self.backbone = backbone
        self.adapter = None if adapter is None else as_module(adapter)
        self.flatten = flatten
        self.head = head
        self.loss_fn = as_module(loss_fn)
        self.train_metrics = _collect("train", train_metrics)
        self.val_metrics = _collect("val", val_metrics)
        self.test_metrics = _collect("test", test_metrics)
        self.learning_rate = learning_rate
        self.optimizer_class = optimizer
        self.optimizer_kwargs = dict(optimizer_kwargs or {})
        self.lr_scheduler_class = lr_scheduler
        self.lr_scheduler_kwargs = dict(lr_scheduler_kwargs or {})
        self._frozen: Frozen | None = freeze(backbone) if freeze_backbone else None
        self._validated = False

    @property
    def freeze_backbone(self) -> bool:
        """Whether the backbone is frozen now."""
        return self._frozen is not None

    def unfreeze_backbone(self) -> None:
        """Give back the backbone's flags as they were found; between two fits, to fine-tune after a probe."""
        if self._frozen is not None:
            self._frozen.restore()
            self._frozen = None

    def train(self, mode: bool = True) -> Self:
        """Set training mode everywhere but in a frozen backbone."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs [batch, ...] to the head's outputs.

        Raises:
            BackboneError: if there is no tensor to flatten.
        """
        with torch.no_grad() if self.freeze_backbone else nullcontext():
            features = self.backbone(x)
        if self.adapter is not None:
            features = self.adapter(features)
        if self.flatten:
            if not isinstance(features, Tensor):
                raise BackboneError(
                    f"the features are {describe(features)}, which cannot be flattened; give an adapter that "
                    "returns one tensor, such as adapter=lambda out: out['out'], or flatten=False"
                )
            features = features.flatten(1)
        outputs: Tensor = self.head(features)
        return outputs

    # --- Lightning's steps --------------------------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss, and log it with ``train_metrics``."""
        return self._step(batch, "train", self.train_metrics)

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Log ``val_loss`` and ``val_metrics``."""
        return self._step(batch, "val", self.val_metrics)

    def test_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Log ``test_loss`` and ``test_metrics``."""
        return self._step(batch, "test", self.test_metrics)

    def predict_step(self, batch: Any, batch_idx: int = 0, dataloader_idx: int = 0) -> Tensor:
        """Return the outputs of a batch x or (x, y); y is not looked at."""
        x = batch[0] if isinstance(batch, list | tuple) and len(batch) in (1, 2) else batch
        if not isinstance(x, Tensor):
            raise BatchError(f"the batch is {describe(batch)}; accepted: a tensor x, or (x, y)")
        outputs: Tensor = self(x)
        return outputs

    def _step(self, batch: Any, stage: str, metrics: MetricCollection) -> Tensor:
        x, y = _labeled(batch)
        outputs: Tensor = self(x)
        loss: Tensor = self.loss_fn(outputs, y)
        # Lightning's mean over the epoch weighs each batch by its size.
        log = partial(self.log_dict, on_step=False, on_epoch=True, batch_size=len(x))
        log({f"{stage}_loss": loss.detach()}, prog_bar=True, sync_dist=True)
        if len(metrics):
            # Updated, not called: a call would also compute the batch's own value, which is not used.
            # Detached: some metrics keep what they get until the epoch ends, and the graph with it.
            metrics.update(outputs.detach(), y)
            log(metrics)
        return loss

    # --- the optimizer ------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Build the optimizer over what trains, and the scheduler if there is one."""
        trained = [part for part in (self.adapter, self.head, self.loss_fn) if part is not None]
        if not self.freeze_backbone:
            trained.insert(0, self.backbone)
        # The list yields once what two parts share.
        parameters = [p for p in nn.ModuleList(trained).parameters() if p.requires_grad]
        if not parameters:
            raise ConfigError(
                "nothing is trainable; give a head whose parameters take gradients, or freeze_backbone=False"
            )
        rate = {"lr": self.learning_rate}
        optimizer = _build("optimizer", self.optimizer_class, parameters, rate, self.optimizer_kwargs)
        if self.lr_scheduler_class is None:
            return optimizer
        scheduler = _build("lr_scheduler", self.lr_scheduler_class, optimizer, {}, self.lr_scheduler_kwargs)
        # Lightning wants a value that is there after every epoch; `lr_scheduler_step` puts in the right one.
        plan = {"scheduler": scheduler, "interval": "epoch", "monitor": "train_loss"}
        return {"optimizer": optimizer, "lr_scheduler": plan}

    def on_fit_start(self) -> None:
        """Forget the validations of an earlier fit."""
        self._validated = False

    def on_validation_epoch_end(self) -> None:
        """Note that there is a new ``val_loss``."""
        self._validated = not self.trainer.sanity_checking

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step the scheduler; one that waits for a plateau gets each ``val_loss`` once.

        Validation may come every n epochs, or never because there is nothing to validate on: neither a stale
        value nor one of the other kind may count as an epoch without progress.
        """
        if isinstance(scheduler, ReduceLROnPlateau) and self._will_validate():
            if not self._validated:
                return
            self._validated = False
            metric = self.trainer.callback_metrics["val_loss"]
        super().lr_scheduler_step(scheduler, metric)

    def _will_validate(self) -> bool:
        # Before the first validation the loaders may not have been asked for.
        unknown = self.trainer.val_dataloaders is None
        return self.trainer.enable_validation and (unknown or sum(self.trainer.num_val_batches) > 0)


def _labeled(batch: Any) -> tuple[Tensor, Tensor]:
    if isinstance(batch, list | tuple) and len(batch) == 2:
        x, y = batch
        if isinstance(x, Tensor) and isinstance(y, Tensor) and x.ndim and y.ndim and 0 < len(x) == len(y):
            return x, y
    raise BatchError(
        f"the batch is {describe(batch)}; accepted: (x, y), two tensors of the same number of samples, not 0"
    )


def _collect(stage: str, metrics: Mapping[str, Metric] | None) -> MetricCollection:
    """Copy metrics into a collection that names them after the stage."""
    copies: dict[str, Metric | MetricCollection] = {}
    for name, metric in (metrics or {}).items():
        if not isinstance(metric, Metric):
            raise ConfigError(
                f"{stage}_metrics[{name!r}] is a {describe(metric)}; give a torchmetrics.Metric, such as "
                "MulticlassAccuracy(num_classes=10)"
            )
        if name == "loss" or "." in name:
            raise ConfigError(f"{stage}_metrics: {name!r} is no name for a metric: 'loss' is taken, a dot not allowed")
        copies[name] = metric.clone()
    return MetricCollection(copies, prefix=f"{stage}_")


def _build(word: str, cls: Any, first: Any, own: dict[str, Any], kwargs: dict[str, Any]) -> Any:
    """Call ``cls``; what it says against its arguments becomes an error that names ours."""
    try:
        return cls(first, **own, **kwargs)
    except (TypeError, ValueError) as error:
        name = getattr(cls, "__name__", repr(cls))
        raise ConfigError(f"{word}={name} does not take {own | kwargs}: {error}; see {word}_kwargs") from error
