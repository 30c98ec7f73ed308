"""The model for a source: which backbone, which stem, which views where the user said nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ssl_registry._registry import Registry
from ssl_registry._system.options import parse_options
from ssl_registry._system.yaml_files import flatten
from ssl_registry.checkpoint.weights import load_backbone_weights
from ssl_registry.contract.needs import needs_of
from ssl_registry.data import Source, open_source
from ssl_registry.data.loading.workers import default_workers
from ssl_registry.data.open import GIVEN
from ssl_registry.errors import ConfigError
from ssl_registry.model.backbones import own_backbone
from ssl_registry.model.module import SSLModule
from ssl_registry.model.stems import has_small_stem
from ssl_registry.run_options import RunOptions
from ssl_registry.training.defaults import file_size, has_accelerator, suited_batch_size, suited_epochs
from ssl_registry.training.other_modality import remedy
from ssl_registry.training.trainer import count_processes, epochs_of
from ssl_registry.views import ViewPolicy
from ssl_registry.views.changes import changed

__all__ = ["build_model", "decide", "origin_of_views", "read_options"]


def read_options(
    run: Mapping[str, Any], *, owner: str, trainer: Mapping[str, Any] | None = None
) -> tuple[RunOptions, Source]:
    """Return options as a call from Python gave them, and the source that they name or that was given itself.

    Args:
        run: fields of `RunOptions`; ``data`` can also be a `Source`, whose name is recorded then.
        owner: whose options they are, for messages.
        trainer: arguments of Lightning's Trainer, which choose the device that images in files are sized for.

    Raises:
        ConfigError: for a wrong option.
        DataError: if the source cannot be opened.
    """
    data = run.get("data")
    if isinstance(data, Source):
        data.check_options(run)
        return parse_options(RunOptions, {**run, "data": f"{GIVEN}{data.name}"}, owner=owner), data
    asked = parse_options(RunOptions, run, owner=owner)
    if asked.data is None:
        raise ConfigError(f"{owner}: data=None names no source of samples; give data=..., such as 'digits' or a folder")
    accelerator = has_accelerator(trainer or {})
    return asked, open_source(asked.data, asked.data_options.with_file_size(file_size(accelerator=accelerator)))


def decide(
    method: str, run: RunOptions, source: Source, trainer: Mapping[str, Any], *, registry: Registry
) -> tuple[RunOptions, dict[str, str]]:
    """Decide what the options leave open: backbone, stem, image size, batch, processes that load samples, epochs.

    Args:
        method: its name.
        run: options as they were given; what is given stays.
        source: of the samples.
        trainer: arguments of Lightning's Trainer, which may limit the run instead of ``epochs``.
        registry: where the method is looked up.

    Returns:
        The options, and what decided each of them: ``weights`` (to start from), ``method``, ``source``, ``default``,
        or the reason in words.

    Raises:
        ConfigError: if the method does not take samples of this modality, or ``epochs`` and ``trainer`` disagree.
        CheckpointError, BackboneError: if the weights to start from cannot be read.
        TrustError: if they name a backbone that would be run or fetched, without trust.
        MethodNotFoundError, PluginError: if there is no such method.
    """
    deciders: dict[str, str] = {}

    def fill(run: RunOptions, decider: str, **values: Any) -> RunOptions:
        taken = {key: value for key, value in values.items() if value is not None and getattr(run, key) is None}
        deciders.update((option, decider) for option, _ in flatten(taken))
        return run.model_copy(update=taken)

    needs = needs_of(registry.method_class(method))
    needs.check_modality(source.modality, owner=method, remedy=remedy(needs, source, registry=registry))
    origin = None
    if run.start_from is not None and None in (run.backbone, run.low_resolution):
        origin = load_backbone_weights(run.start_from, run.from_network)
    if run.backbone is None and origin is not None and origin.backbone is not None:
        origin.check_trust(trust=run.trust)
        run = fill(run, "weights", backbone=origin.backbone, backbone_kwargs=dict(origin.kwargs or {}))
    name, kwargs = needs.choose_backbone(
        source.modality, run.backbone, run.backbone_kwargs, input_shape=source.input_shape
    )
    is_default = run.backbone is None
    run = fill(run, "method" if name == needs.backbone else "source", backbone=name, backbone_kwargs=kwargs or None)
    if is_default and "patch_size" in (kwargs or {}) and "patch_size" not in needs.backbone_kwargs:
        deciders["backbone_kwargs.patch_size"] = (
            "source"  # it follows the size of the images, the length of the signals
        )
    small_stem = has_small_stem(name, source.input_shape, kwargs, pretrained=run.pretrained, weights=origin)
    run = fill(run, "source" if origin is None and not run.pretrained else "weights", low_resolution=small_stem)
    run = fill(
        run,
        "source",
        workers=default_workers(source),
        value_range=source.value_range,
    )
    accelerator, side = has_accelerator(trainer), _side(source)
    is_default_size = source.train.decodes and not accelerator and side == file_size(accelerator=False)
    run = fill(run, "a CPU" if is_default_size else "source", image_size=side)
    is_image = source.modality == "image"
    batch, why = suited_batch_size(len(source.train), image=is_image, accelerator=accelerator)
    run = fill(run, why, batch_size=batch)
    assert run.batch_size is not None
    if epochs_of(run.epochs, trainer, default=1) is not None and run.epochs is None:
        step = (run.large_batch or run.batch_size) * count_processes(trainer)
        pixels = math.prod(source.input_shape[1:]) if is_image else None
        epochs, why = suited_epochs(len(source.train), step, pixels=pixels, accelerator=accelerator)
        run = fill(run, why, epochs=epochs)
    return run, deciders


def origin_of_views(source: Source) -> dict[str, str]:
    """Return where the views come from, in words, where the source forbids some of their steps."""
    return {"views": f"default; {source.name} forbids {', '.join(source.forbids)}"} if source.forbids else {}


def build_model(
    method: str,
    source: Source,
    run: RunOptions,
    *,
    options: Mapping[str, Any],
    registry: Registry,
) -> SSLModule:
    """Create the method on a backbone that takes the source's samples, with views that suit them.

    Args:
        method: its name.
        source: of the samples.
        run: with a backbone, as `decide` returns it.
        options: the method's own.
        registry: where the method is looked up.
    """
    assert run.backbone is not None
    own = ".py:" in run.backbone
    model = registry.create(
        method,
        backbone=own_backbone(run.backbone, run.backbone_kwargs, run.seed) if own else run.backbone,
        input_shape=source.input_shape,
        pretrained=run.pretrained,
        weights=run.start_from,
        weights_network=run.from_network,
        low_resolution=bool(run.low_resolution),
        backbone_kwargs=None if own else run.backbone_kwargs,
        num_samples=len(source.train),
        seed=run.seed,
        **options,
    )
    model.view_policy = changed(_suited(model, source), run.view_changes)
    return model


def _side(source: Source) -> int | None:
    """Return the side of square images in pixels."""
    if source.modality != "image":
        return None
    *_, height, width = source.input_shape
    return width if height == width else None


def _suited(model: SSLModule, source: Source) -> ViewPolicy:
    """The method says how its views are drawn; the source, what must not be done to its samples."""
    view_policy = model.view_policy.without(source.forbids)
    if source.modality != "image":
        known = source.mean is not None and source.std is not None
        scale = {"standardized": (source.mean, source.std)} if known else {}
        return view_policy.model_copy(update={**scale, "columns": source.columns})
    # Images that are not square keep their shape, in every view.
    return view_policy.model_copy(update={"image_size": _side(source), "mean": source.mean, "std": source.std})
