"""Putting a model together: backbone, heads, view policy."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ssl_registry.contract.needs import needs_of
from ssl_registry.contract.overrides import Overrides
from ssl_registry.contract.validation import bind
from ssl_registry.discovery.entry_points import MethodInfo
from ssl_registry.errors import BackboneError, ConfigError, ContractError, did_you_mean
from ssl_registry.model.backbones import Backbone, BackboneSpec, check_view_shapes, has_tokens
from ssl_registry.model.batches import describe
from ssl_registry.model.feature_dim import measure_tokens
from ssl_registry.model.module import SSLModule
from ssl_registry.views import ViewPolicy

__all__ = ["assemble"]

log = logging.getLogger(__name__)


def assemble(
    method: Any,
    info: MethodInfo,
    spec: BackboneSpec,
    *,
    overrides: dict[str, nn.Module],
    view_policy: ViewPolicy | None,
    num_samples: int | None,
    observers: Sequence[object],
    seed: int | None,
) -> SSLModule:
    """Build backbone, heads and views, and put them together; what `Registry.create` does after its checks.

    Raises:
        BackboneError, ConfigError, ContractError: as `Registry.create`.
    """
    hooks = bind(method, observers).hook
    # Weights repeat with the seed, and the user's own random numbers go on as if nothing had been drawn.
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        built = spec.build()
        if needs_of(method).tokens in (True, "keep"):
            _check_tokens(info, built)
        token_dim, token_grid = _measured_tokens(method, hooks, info, built)
        measured = {"token_dim": token_dim, "token_grid": token_grid, "num_samples": num_samples}
        heads = _build_heads(hooks, info, built, overrides, **measured)
    if view_policy is None:
        size = built.input_shape[-1] if len(built.input_shape) == 3 else None
        view_policy = hooks.build_views(image_size=size) or ViewPolicy.plain()
        if len(built.input_shape) == 3 and built.input_shape[1] != size:
            # Images that are not square keep their shape.
            view_policy = view_policy.model_copy(update={"image_size": None})
    view_policy = view_policy.adapted(built.input_shape)
    check_view_shapes(built.module, built.input_shape, view_policy.own_shapes(built.input_shape))
    for note in view_policy.notes(built.input_shape):
        log.info("%s: %s", info.name, note)
    return SSLModule(
        method,
        info,
        backbone=built.module,
        feature_dim=built.feature_dim,
        input_shape=built.input_shape,
        heads=heads,
        view_policy=view_policy,
        record=built.record,
        token_dim=token_dim,
        token_grid=token_grid,
        overridden=list(overrides),
        num_samples=num_samples,
        observers=observers,
        seed=torch.initial_seed() % 2**63 if seed is None else seed,
    )


def _check_tokens(info: MethodInfo, built: Backbone) -> None:
    """Refuse a backbone without tokens for a method that works on them."""
    if has_tokens(built.module):
        return
    name = built.record.name or built.record.class_name
    instead = {
        3: "a vision transformer, such as backbone='vit_small_patch16_224', 'eva02_small_patch14_224' or "
        "'vit_small_patch16_dinov3' (ssl-registry backbones 'vit*' lists more)",
        2: "backbone='signal_transformer'",
        1: "backbone='table_transformer'",
    }[len(built.input_shape)]
    raise BackboneError(
        f"{info.name} works on tokens, which {name} does not have; use {instead}, or a module of your own with a "
        "method tokens"
    )


def _measured_tokens(
    method: Any, hooks: Any, info: MethodInfo, built: Backbone
) -> tuple[int | None, tuple[int, ...] | None]:
    """Measure the backbone's tokens for a method that works on them or whose `build_heads` asks for them."""
    asked = {name for implementation in hooks.build_heads.get_hookimpls() for name in implementation.argnames}
    needed = needs_of(method).tokens
    if not needed and asked.isdisjoint({"token_dim", "token_grid"}):
        return None, None
    try:
        width, grid = measure_tokens(built.module, built.input_shape, needed if isinstance(needed, str) else None)
    except BackboneError as error:
        raise BackboneError(f"{info.name} works on the backbone's tokens: {error}") from error
    if needed and grid == (1, 1):
        raise BackboneError(
            f"{info.name} works on the backbone's tokens: samples of {' x '.join(map(str, built.input_shape))} are a "
            f"single patch of {built.record.title}; give a larger --image-size, or a backbone with smaller patches"
        )
    return width, grid


def _build_heads(
    hooks: Any, info: MethodInfo, built: Backbone, overrides: dict[str, nn.Module], **measured: Any
) -> dict[str, nn.Module]:
    given = Overrides(overrides)
    try:
        heads = hooks.build_heads(
            backbone=built.module,
            feature_dim=built.feature_dim,
            input_shape=built.input_shape,
            overrides=given,
            **measured,
        )
    except RuntimeError as error:
        if "alloc" not in str(error) and "out of memory" not in str(error):
            raise
        raise BackboneError(
            f"{info.name}: the heads do not fit into memory: they grow with the backbone's {built.feature_dim:,} "
            "features, often with the square; give a backbone that pools its output"
        ) from error
    if not isinstance(heads, dict) or not all(isinstance(head, nn.Module) for head in heads.values()):
        raise ContractError(
            f"{info.name}: build_heads must return a dict of nn.Modules by name, it returned {describe(heads)}"
        )
    if unknown := sorted(overrides.keys() - given.asked):
        raise ConfigError(
            f"{info.name} has neither a head nor an option {unknown[0]!r}.{did_you_mean(unknown[0], given.asked)} "
            f"Heads that can be given: {', '.join(sorted(given.asked - {unknown[0]})) or 'none'}"
        )
    return heads
