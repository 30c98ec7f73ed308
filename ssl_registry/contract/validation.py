"""Binding a method to the contract: one plugin manager a model, and every mistake told at creation."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import Any

import pluggy

from ssl_registry.contract.config import MethodConfig
from ssl_registry.contract.declares import Declares
from ssl_registry.contract.hookspecs import PROJECT, REQUIRED, MethodSpec
from ssl_registry.contract.needs import Needs
from ssl_registry.errors import ContractError, did_you_mean

__all__ = ["bind", "check_method_class", "implemented_hooks"]

# Names that `registry.create` takes for itself; a method's option of the same name could never be reached.
RESERVED = frozenset(
    {"backbone", "image_size", "in_chans", "input_shape", "pretrained", "low_resolution", "pooling"}
    | {"backbone_kwargs", "view_policy", "observers", "seed", "name", "weights", "weights_network"}
)


def _specs() -> dict[str, Any]:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(MethodSpec)
    return {name: caller.spec for name, caller in vars(manager.hook).items() if not name.startswith("_")}


_SPECS = _specs()


def check_method_class(cls: object, *, source: str, reserved: Collection[str] = ()) -> type[Any]:
    """Check everything about a method that can be seen without building it.

    Args:
        cls: what an entry point or `Registry.register` gave.
        source: where it came from, for messages: ``"ssl-registry-byol 1.0"`` or ``"registered here"``.
        reserved: names that its options cannot have, beside those that `registry.create` takes.

    Raises:
        ContractError: naming the class, its source and the nearest right name.
    """
    if not inspect.isclass(cls):
        raise ContractError(f"{cls!r} ({source}) is a {type(cls).__name__}; a method is a class, point to that")
    where = f"{cls.__module__}.{cls.__qualname__} ({source})"
    if any(base.__module__.startswith("torch.nn") for base in cls.__mro__):
        raise ContractError(
            f"{where} is an nn.Module; a method is a plain class, return its modules from build_heads instead"
        )
    config = getattr(cls, "Config", None)
    if not (inspect.isclass(config) and issubclass(config, MethodConfig)):
        raise ContractError(
            f"{where} has no Config; nest one: `class Config(MethodConfig): ...` "
            "(from ssl_registry import MethodConfig)"
        )
    required = [name for name, field in config.model_fields.items() if field.is_required()]
    if required:
        raise ContractError(f"{where}: give Config.{', Config.'.join(required)} a default; every option needs one")
    if taken := RESERVED.union(reserved) & config.model_fields.keys():
        raise ContractError(
            f"{where}: rename Config.{', Config.'.join(sorted(taken))}; registry.create or train takes that name"
        )
    needs = getattr(cls, "needs", Needs())
    if not isinstance(needs, Needs):
        raise ContractError(
            f"{where}: needs is {needs!r}; write needs = Needs(modalities=(...), ...) (from ssl_registry import Needs)"
        )
    if problem := needs.problem():
        raise ContractError(f"{where}: Needs: {problem}")
    declares = getattr(cls, "declares", Declares())
    if not isinstance(declares, Declares):
        raise ContractError(
            f"{where}: declares is {declares!r}; write declares = Declares(symmetric=True, ...) "
            "(from ssl_registry import Declares)"
        )
    if problem := declares.problem(config.model_fields):
        raise ContractError(f"{where}: Declares: {problem}")
    _check_hooks(cls, where)
    if missing := sorted(REQUIRED - implemented_hooks(cls)):
        raise ContractError(f"{where} lacks the required hook {' and '.join(missing)}; mark it with @hookimpl")
    return cls


def _check_hooks(plugin: object, where: str) -> None:
    """Find unmarked and misspelt hooks, and arguments that no hook has."""
    for name in dir(plugin):
        if name.startswith("__"):
            continue
        function = inspect.getattr_static(plugin, name)
        function = getattr(function, "__func__", function)  # a static or class method holds its function
        if not inspect.isfunction(function):
            continue
        marked = hasattr(function, f"{PROJECT}_impl")
        if name in _SPECS and not marked:
            raise ContractError(f"{where}: {name} is a hook but is not marked; add @hookimpl above it")
        if marked and name not in _SPECS:
            raise ContractError(
                f"{where}: there is no hook {name!r}.{did_you_mean(name, _SPECS)} Hooks: {', '.join(sorted(_SPECS))}"
            )
        if marked:
            _check_runs_when_called(function, name, where)
            _check_arguments(function, name, where)


def _check_runs_when_called(function: Any, name: str, where: str) -> None:
    """Refuse functions of which a call alone runs nothing."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ContractError(f"{where}: {name} is an async function, which nothing awaits; write a plain def")
    marks = getattr(function, f"{PROJECT}_impl")
    if inspect.isgeneratorfunction(function) and not (marks["wrapper"] or marks["hookwrapper"]):
        raise ContractError(f"{where}: {name} has a yield, so a call of it runs nothing; return the value")


def _check_arguments(function: Any, name: str, where: str) -> None:
    known = _SPECS[name].argnames
    for argument in inspect.signature(function).parameters.values():
        if argument.name in ("self", "cls") or argument.default is not argument.empty:
            continue
        if argument.name in known and argument.kind is argument.KEYWORD_ONLY:
            raise ContractError(f"{where}: {name} takes {argument.name!r} behind a *, where pluggy does not see it")
        if argument.name not in known or argument.kind in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL):
            raise ContractError(
                f"{where}: {name} has no argument {argument.name!r}.{did_you_mean(argument.name, known)} "
                f"It can take any of: {', '.join(known)}"
            )


def implemented_hooks(cls: type[Any]) -> set[str]:
    """Return the names of the hooks that a method's class implements."""
    return {name for name in _SPECS if hasattr(getattr(cls, name, None), f"{PROJECT}_impl")}


def bind(method: Any, observers: Sequence[object] = ()) -> pluggy.PluginManager:
    """Make the plugin manager of one model: its method and its observers, nothing else.

    Observers may implement every hook that collects from all. They may wrap a first-result hook
    (``@hookimpl(wrapper=True)``), but not answer it: a method's answer cannot be captured.

    Raises:
        ContractError: for an observer that breaks the contract.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(MethodSpec)
    manager.register(method, name="method")
    for observer in observers:
        where = f"observer {type(observer).__qualname__}"
        _check_hooks(observer, where)
        for name, spec in _SPECS.items():
            options = getattr(getattr(observer, name, None), f"{PROJECT}_impl", None)
            if options and (spec.opts or {}).get("firstresult") and not options.get("wrapper"):
                raise ContractError(
                    f"{where}: {name} has one answer, the method's; observe it with @hookimpl(wrapper=True)"
                )
        manager.register(observer)
    return manager
