"""The contract: every hook a method can implement, documented where it is declared.

A method is a plain class with a docstring that cites its paper, a nested ``Config`` (a `MethodConfig`),
and hooks marked with `hookimpl`. It is not an ``nn.Module`` and holds nothing but ``self.config``:
modules live in ``model.heads``, and state that must survive a restart lives in their parameters and
buffers. An implementation takes any subset of a hook's arguments, by name.

A class attribute ``needs = Needs(...)`` tells which samples and which backbone it takes (`ssl_registry.Needs`);
``declares = Declares(...)`` what it does on purpose where the conformance kit would take it for a mistake.

`build_heads` and `compute_loss` are required. Hooks marked *first result* have one answer, the method's;
the others are also called on observers (``registry.create(..., observers=[...])``).
"""

# Annotations name classes of torch without importing it: the contract must load in milliseconds.
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ssl_registry.contract.config import MethodConfig
    from ssl_registry.contract.context import Context
    from ssl_registry.contract.overrides import Overrides
    from ssl_registry.contract.reconstruction import Reconstruction
    from ssl_registry.model.module import SSLModule
    from ssl_registry.views import ViewPolicy

PROJECT = "ssl_registry"
REQUIRED = frozenset({"build_heads", "compute_loss"})

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class MethodSpec:
    """The hooks. Each is called by the core; a plugin never calls them itself."""

    @hookspec(firstresult=True)
    def build_heads(
        self,
        backbone: nn.Module,
        feature_dim: int,
        input_shape: tuple[int, ...],
        overrides: Overrides,
        token_dim: int,
        token_grid: tuple[int, ...],
        num_samples: int | None,
    ) -> dict[str, nn.Module]:
        """Build every module besides the backbone. Required; first result; called once, at construction.

        Args:
            backbone: maps [batch, *input_shape] to [batch, feature_dim]; copy it, but do not change it.
            feature_dim: the measured width of its output.
            input_shape: of one sample: (channels, height, width), (channels, time) or (features,).
            overrides: the modules that the user gave by name; ``overrides.take(name, build)`` is his or the
                default. A name that is never asked for is an error that tells the user so.
            token_dim: the measured width of the backbone's patch tokens, which ``model.tokens`` gives. Asking for it,
                or for ``token_grid``, refuses backbones that have none.
            token_grid: their positions along each axis: (rows, columns), or (steps,) for signals; also
                ``model.token_grid``.
            num_samples: of the training source, which ``ctx.indices`` count; None where it is not known. `train` gives
                it, and ``registry.create(..., num_samples=...)``; a checkpoint remembers it.

        Returns:
            Modules by name; they become ``model.heads[name]`` and are saved with the model.
        """

    @hookspec(firstresult=True)
    def build_views(self, image_size: int | None) -> ViewPolicy:
        """Describe the method's views. First result; default: one plain view.

        Args:
            image_size: side of the square images in pixels, or None for signals and tables.
        """

    @hookspec(firstresult=True)
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Tensor | dict[str, Tensor]:
        """Compute the loss of one micro-batch. Required; first result; inside Lightning's ``training_step``.

        Args:
            model: the backbone and the heads.
            views: as many tensors as the recipe has views, each [batch, *input_shape], on the model's device. Where
                the recipe gives an image view a size of its own, height and width are that.
            ctx: where the run stands, and ``gather``, ``generator`` and ``log``.

        Returns:
            The scalar loss, or a dict with ``loss`` and further scalars to log.
        """

    @hookspec(firstresult=True)
    def param_groups(self, model: SSLModule, config: MethodConfig) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups. First result.

        Default: every trainable parameter, in the groups ``decay`` and ``no_decay``: biases, norms, position embeddings
        and class, mask or register tokens are without weight decay.

        Returns:
            As torch's optimizers take them. ``lr`` and ``weight_decay`` of a group win over the config's: the learning
            rate still follows the schedule, in proportion; the weight decay stays. With a ``name``, `optimizer_values`
            can set them.
        """

    @hookspec(firstresult=True)
    def optimizer_values(self, ctx: Context) -> Mapping[str, Mapping[str, float]]:
        """Set numbers of the optimizer before each of its steps, where the config's schedules do not do. First result.

        They hold until they are set again. Return a function of ``ctx.step`` (steps done), and a resumed run has the
        same values.

        Returns:
            By the name of a parameter group, ``{"lr": ..., "weight_decay": ...}``: what is set in it. ``"all"`` stands
            for every group, but for values that a group itself stated in `param_groups`.
        """

    @hookspec
    def on_fit_start(self, model: SSLModule, sample: Callable[[int], Tensor], ctx: Context) -> None:
        """Prepare for training; called once a fit, after a checkpoint has been restored.

        Args:
            model: the model, on its device.
            sample: ``sample(n)`` gives the same n training inputs, [n, *input_shape], on every rank; fewer
                when there are fewer.
            ctx: where the run stands.
        """

    @hookspec
    def on_epoch_start(self, model: SSLModule, sample: Callable[[int], Tensor], ctx: Context) -> None:
        """Prepare an epoch, before its first batch; a clustering lives here.

        Called once for each epoch, after a checkpoint has been restored. A run that is resumed inside an epoch has had
        its call: keep what comes of it in buffers. The model is in train mode; see `ssl_registry.nn.evaluating`.

        Args:
            model, sample, ctx: as in `on_fit_start`.
        """

    @hookspec(firstresult=True)
    def frozen_modules(self, model: SSLModule, ctx: Context) -> set[str] | Mapping[str, str]:
        """Name what does not train in this epoch. First result; called at each epoch's start, after `on_epoch_start`.

        Returns:
            Names among ``"backbone"``, the keys of ``model.heads``, and parts inside of both with dots
            (``"prototypes.last_layer"``, ``"backbone.patch_embed"``). The core turns their gradients off, puts them in
            eval mode, and later gives back exactly what it took. A dict says the mode of each: ``{"predictors":
            "train"}`` stops their gradients alone, and BatchNorm's statistics and dropout go on; ``"eval"`` is what a
            name alone means. A part inside of one in eval mode is in eval mode.
        """

    @hookspec
    def on_step_end(self, model: SSLModule, ctx: Context) -> None:
        """Act after an optimizer step, never after a mere micro-batch. A momentum update lives here.

        What `compute_loss` saw of the batches reaches it through a head: `ssl_registry.nn.StepCollector`.
        ``ctx.step`` counts the steps done, this one included.
        """

    @hookspec(firstresult=True)
    def should_stop(self, model: SSLModule, ctx: Context) -> bool:
        """Return True to end training (not the epoch) after this optimizer step. First result."""

    @hookspec(firstresult=True)
    def product(self, model: SSLModule) -> nn.Module:
        """Return the network that is evaluated, embedded, probed and exported. First result; default: the backbone.

        For methods whose paper evaluates another one than the trained: a teacher's backbone, for instance
        ``model.heads["target"][0]``. It must be a part of ``model`` of the backbone's architecture, with the same names
        and shapes in its state dict; ``model.product`` gives it.
        """

    @hookspec(firstresult=True)
    def reconstruct(self, model: SSLModule, x: Tensor, ctx: Context) -> Reconstruction | None:
        """Show what the method makes of samples that it sees a part of. First result; default: nothing is shown.

        For people alone: the report draws the sample, what was left of it, and ``output``. Called without gradient and
        in evaluation mode, on whole samples without augmentation, trained on or not.

        Args:
            model: the model.
            x: prepared samples, resized and normalized as in training, [batch, *input_shape], on the model's device.
            ctx: for ``generator``, which draws the masks; there is no batch of training, and so no ``indices``.

        Returns:
            `ssl_registry.Reconstruction`: the samples on the scale of ``x``, and which patches were hidden; None where
            there is nothing to show.
        """

    @hookspec(firstresult=True)
    def migrate_config(self, config: dict[str, Any], saved_version: str) -> dict[str, Any]:
        """Translate the config of a checkpoint that an older version of the plugin wrote. First result.

        Args:
            config: the options as they were saved.
            saved_version: the version of the distribution that saved them.
        """
