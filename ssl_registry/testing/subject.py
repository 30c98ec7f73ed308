"""`Subject`: the method under test, as a check sees it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ssl_registry._registry import Registry
from ssl_registry._system.silence import silent
from ssl_registry.contract.declares import declares_of
from ssl_registry.contract.needs import needs_of
from ssl_registry.data import Source, SSLDataModule
from ssl_registry.data.source import Modality
from ssl_registry.errors import ConfigError, SSLRegistryError
from ssl_registry.model.backbones import BackboneSpec
from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CREATE_OPTIONS, CheckFailure, NotApplicable
from ssl_registry.testing.fixtures import KINDS, SHAPES, digits, tiny_backbone

__all__ = ["Subject"]

BATCH = 16
SAMPLES = 256  # the most that a check trains on
NETWORK = ("backbone", "backbone_kwargs", "low_resolution", "pooling")


class Subject:
    """A method with options, on tiny backbones and real digits.

    Args:
        name: of the method, in ``registry``.
        registry: where it is looked up.
        options: of the method, for every model that is made, beside those that it declares as ``small``; and arguments
            of `Registry.create`: ``backbone`` (a name)
            with ``backbone_kwargs``, ``low_resolution`` and ``pooling``, in place of the tiny ones; ``image_size`` and
            ``in_chans`` of the digits; ``num_samples`` (default: as many as a check trains on).

    Raises:
        ConfigError: for what belongs to a backbone, where none is named.
    """

    def __init__(self, name: str, registry: Registry, options: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.registry = registry
        self.method_class = registry.method_class(name)
        self.options = {**declares_of(self.method_class).small, **(options or {})}
        self._network = {key: self.options[key] for key in NETWORK if key in self.options}
        if self._network and not isinstance(self._network.get("backbone"), str):
            raise ConfigError(f"{sorted(self._network)[0]} belongs to a backbone by name; add backbone=NAME")
        _, height, width = SHAPES["image"]
        size = self.options.get("image_size")
        image = (self.options.get("in_chans", 1), size or height, size or width)
        self.shapes: dict[Modality, tuple[int, ...]] = {**SHAPES, "image": image}

    # --- models and batches -------------------------------------------------------------------------------

    def model(
        self,
        modality: Modality | None = None,
        *,
        backbone: nn.Module | None = None,
        input_shape: tuple[int, ...] | None = None,
        observers: Sequence[object] = (),
        seed: int = 0,
        **options: Any,
    ) -> SSLModule:
        """Create a model; default: of the first supported kind, on its tiny backbone with weights that repeat."""
        shape = input_shape or self.shapes[modality or self.modality]
        if backbone is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed + 1)  # not the heads' seed: equal weights by chance would look like a copy
                backbone = self.backbone(shape)
        own = {key: value for key, value in self.options.items() if key not in CREATE_OPTIONS}
        given = {"num_samples": self.options.get("num_samples", SAMPLES)} | own | options
        return self.registry.create(
            self.name, backbone=backbone, input_shape=shape, seed=seed, observers=observers, **given
        )

    def backbone(self, input_shape: tuple[int, ...] | None = None, **options: Any) -> nn.Module:
        """Return a backbone: the one that was named, or else a tiny one of the kind that the method needs.

        Args:
            input_shape: of one sample; default: of the first supported kind.
            **options: of `tiny_backbone`; a named one has its own, but for its width.

        Raises:
            NotApplicable: if a width is asked of a named one.
        """
        shape = input_shape or self.shapes[self.modality]
        if self._network:
            if "features" in options:
                raise NotApplicable(f"the backbone is {self._network['backbone']}, whose width is its own")
            rest = {key: value for key, value in self._network.items() if key != "backbone_kwargs"}
            kwargs = self._network.get("backbone_kwargs") or {}
            return BackboneSpec(**rest, input_shape=shape, kwargs=kwargs).build().module
        needs = needs_of(self.method_class)
        moments = needs.tokens and needs.backbone == "signal_dilated"
        return tiny_backbone(shape, tokens="moments" if moments else needs.tokens, **options)

    def batch(self, modality: Modality | None = None, count: int = BATCH) -> Tensor:
        """Return raw samples of the training part, [count, *input_shape]."""
        x: Tensor = self._digits(modality or self.modality, count).train.x  # type: ignore[attr-defined]  # a Samples
        return x

    def views(self, model: SSLModule, count: int = BATCH, *, seed: int = 0) -> list[Tensor]:
        """Draw a model's views of digits, the same for the same seed."""
        x = self.batch(kind_of(model), count)
        if len(model.input_shape) == 3 and len(x[0]) == 1:
            x = x.expand(-1, model.input_shape[0], -1, -1)
        drawn = model.view_policy.draw(x, torch.Generator().manual_seed(seed))
        return [view.to(model.dtype) for view in drawn]

    @cached_property
    def support(self) -> dict[Modality, str]:
        """Tell for each kind of sample what stands against it; an empty string where it is supported.

        A method refuses a kind with an error of `ssl_registry.errors`, from ``build_heads`` or at its first loss.
        """
        found: dict[Modality, str] = {}
        for modality in KINDS:
            try:
                model = self.model(modality)
                found[modality] = ""
                with quietly():
                    self.fit(model, max_steps=1, max_epochs=-1)
            except SSLRegistryError as error:
                found[modality] = str(error)
            except Exception:  # not refused, so supported as far as it says; the check of learning tells the fault
                found[modality] = ""
        return found

    @property
    def modality(self) -> Modality:
        """The first kind of sample that the method supports."""
        supported = [modality for modality, problem in self.support.items() if not problem]
        if not supported:
            problems = "; ".join(f"{modality}: {problem}" for modality, problem in self.support.items())
            raise CheckFailure(f"{self.name} supports neither images nor signals nor tables ({problems})")
        return supported[0]

    def implements(self, hook: str) -> bool:
        """Tell whether the method has this hook."""
        from ssl_registry.contract.validation import implemented_hooks

        return hook in implemented_hooks(self.method_class)

    def needs(self, hook: str) -> None:
        """Leave a check that looks at this hook alone.

        Raises:
            NotApplicable: if the method does not have it.
        """
        if not self.implements(hook):
            raise NotApplicable(f"it has no hook {hook}")

    # --- runs ---------------------------------------------------------------------------------------------

    def fit(
        self,
        model: SSLModule,
        *,
        samples: int = 3 * BATCH,
        batch_size: int = BATCH,
        data: Any = None,
        checkpoint: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        disturbance: int = 0,
        **arguments: Any,
    ) -> Trainer:
        """Train on digits, three steps an epoch, and return the Trainer.

        The process's global random numbers begin alike in every run, and are given back.

        Args:
            model: what is trained.
            samples, batch_size: of the digits.
            data: loader instead of the digits.
            checkpoint: go on from it.
            callbacks: Lightning's.
            disturbance: where the global random numbers begin.
            **arguments: of Lightning's Trainer.
        """
        if data is None:
            data = self.data(model, samples, batch_size)
        where = {"datamodule": data} if isinstance(data, SSLDataModule) else {"train_dataloaders": data}
        with quietly(), global_seed(disturbance):
            trainer = make_trainer(callbacks=list(callbacks), **arguments)
            trainer.fit(model, **where, ckpt_path=checkpoint, weights_only=True)
        return trainer

    def data(self, model: SSLModule, samples: int = 3 * BATCH, batch_size: int = BATCH) -> SSLDataModule:
        """Return digits of the kind that a model takes."""
        return SSLDataModule(self._digits(kind_of(model), samples), batch_size=batch_size)

    def _digits(self, modality: Modality, train: int) -> Source:
        return digits(modality, train=train, image_shape=self.shapes["image"])


def kind_of(model: SSLModule) -> Modality:
    """Return what a model takes: images, signals or tables."""
    return next(modality for modality in KINDS if len(SHAPES[modality]) == len(model.input_shape))


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Let torch's, numpy's and Python's global random numbers begin at a seed, and give them back after the block."""
    kept = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(kept[0])
            random.setstate(kept[1])


def ready_made(views: list[Tensor], *, first: int = 0) -> dict[str, Any]:
    """Return a batch of these views, which a model takes as they are, of the samples from number ``first`` on."""
    return {"views": views, "indices": np.arange(first, first + len(views[0]))}


def loader(batches: Sequence[Any]) -> DataLoader[Any]:
    """Return a loader of batches that are made already."""
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]  # a sequence is a data set


def make_trainer(**arguments: Any) -> Trainer:
    """Return a Trainer on one CPU process that writes nothing by itself."""
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "limit_val_batches": 0,
    }
    return Trainer(**(defaults | arguments))


def quietly() -> AbstractContextManager[None]:
    """Keep back warnings and Lightning's log lines: a check looks at results, not at advice."""
    return silent("lightning.pytorch")
