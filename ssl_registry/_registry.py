"""`Registry`: names to methods, and methods with a backbone to models.

The underscore keeps ``ssl_registry.registry`` for the object: a submodule of that name would take its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ssl_registry.discovery.entry_points import MethodInfo, discover_methods, normalized
from ssl_registry.discovery.tables import import_entry
from ssl_registry.errors import ConfigError, MethodNotFoundError, PluginError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from ssl_registry.model.module import SSLModule
    from ssl_registry.views import ViewPolicy

__all__ = ["Registry", "registry", "with_local"]

ClassT = TypeVar("ClassT", bound=type[Any])

# Published by this project; a name that is not installed answers with its distribution, ssl-registry-NAME.
FIRST_PARTY = (
    *("barlow-twins", "byol", "cpc", "data2vec", "diet", "dino", "dinov2", "distill", "ibot", "ijepa", "lejepa", "lfr"),
    *("mae", "moco", "nnclr", "scarf", "simclr", "simmim", "simsiam", "swav", "tfc", "tnc", "ts2vec", "vicreg", "vime"),
)
HOW_TO_INSTALL = (
    "pip install ssl-registry-byol for one of them, pip install 'ssl-registry[all]' for all of this project"
)


class Registry:
    """Methods by name: those of installed distributions, and those registered in this process.

    Args:
        entry_points: False for an isolated registry, which knows only what `register` gave it.

    Example:
        >>> from ssl_registry import MethodConfig, hookimpl
        >>> mine = Registry(entry_points=False)
        >>> @mine.register("tiny")
        ... class Tiny:
        ...     '''Pull every feature towards zero; for the sake of an example.'''
        ...     class Config(MethodConfig): ...
        ...     def __init__(self, config): self.config = config
        ...     @hookimpl
        ...     def build_heads(self): return {}
        ...     @hookimpl
        ...     def compute_loss(self, model, views): return model(views[0]).square().mean()
        >>> [info.name for info in mine.methods()]
        ['tiny']
    """

    def __init__(self, *, entry_points: bool = True) -> None:
        self._entry_points = entry_points
        self._local: dict[str, type[Any]] = {}

    @overload
    def register(self, name: str) -> Callable[[ClassT], ClassT]: ...
    @overload
    def register(self, name: str, cls: ClassT) -> ClassT: ...
    def register(self, name: str, cls: ClassT | None = None) -> Any:
        """Register a method in this process, for notebooks, tests and files; it wins over an installed one.

        Use it as a call or as a decorator; a second registration of the name replaces the first.

        Raises:
            ContractError: if the class breaks the contract.
        """
        from ssl_registry.contract.validation import check_method_class
        from ssl_registry.run_options import RESERVED

        if cls is None:
            return lambda decorated: self.register(name, decorated)
        if not name or name != name.strip() or ":" in name:
            raise ConfigError(f"{name!r} cannot name a method: it needs letters, no colon, no space around it")
        self._local[normalized(name)] = check_method_class(cls, source="registered in this process", reserved=RESERVED)
        return cls

    def unregister(self, name: str) -> None:
        """Forget a method that `register` was given."""
        name = normalized(name)
        if name not in self._local:
            raise MethodNotFoundError(f"{name!r} was not registered here. Registered: {_listed(self._local)}")
        del self._local[name]

    def methods(self) -> list[MethodInfo]:
        """List every method, without importing a plugin; one row a distribution that provides it."""
        return with_local(self, self._installed())

    def info(self, name: str) -> MethodInfo:
        """Find a method by ``name`` or ``distribution:name``, without importing its plugin.

        Raises:
            MethodNotFoundError: if there is none, or several distributions have it.
            PluginError: if there is one that cannot be used here.
        """
        name = normalized(name)
        if name in self._local:
            return _describe(name, self._local[name])
        installed = self._installed()
        found = [info for info in installed if name in (info.name, info.qualified)]
        # `distribution:name` chooses among rivals, so for it a conflict is no obstacle.
        usable = [
            info for info in found if info.status == "ok" or (info.status == "conflict" and name == info.qualified)
        ]
        if len(usable) == 1:
            return replace(usable[0], status="ok", problem="")
        if found:
            if found[0].status == "conflict":
                raise MethodNotFoundError(f"{name}: {found[0].problem}")
            raise PluginError(f"{name} ({found[0].origin}): {found[0].problem}")
        raise MethodNotFoundError(self._unknown(name, installed))

    def method_class(self, name: str) -> type[Any]:
        """Import a method's class and check it against the contract.

        Raises:
            MethodNotFoundError, PluginError: as `info`, and PluginError if its import fails.
            ContractError: if the class breaks the contract.
        """
        return self._found(name)[1]

    def _found(self, name: str) -> tuple[MethodInfo, type[Any]]:
        info = self.info(name)
        if info.status == "local":
            return info, self._local[info.name]
        from ssl_registry.contract.validation import check_method_class
        from ssl_registry.run_options import RESERVED

        return info, check_method_class(import_entry(info), source=info.origin, reserved=RESERVED)

    def create(
        self,
        name: str,
        *,
        backbone: str | nn.Module | None = None,
        image_size: int | None = None,
        in_chans: int | None = None,
        input_shape: Sequence[int] | None = None,
        pretrained: bool = False,
        weights: str | Path | None = None,
        weights_network: str | None = None,
        low_resolution: bool | None = None,
        pooling: str = "avg",
        backbone_kwargs: dict[str, Any] | None = None,
        view_policy: ViewPolicy | None = None,
        num_samples: int | None = None,
        observers: Sequence[object] = (),
        seed: int | None = None,
        **options: Any,
    ) -> SSLModule:
        """Build a method on a backbone: a LightningModule, ready for ``Trainer.fit``.

        Args:
            name: of the method, or ``distribution:name``.
            backbone: a timm name, ``signal_encoder``, ``table_encoder``, or any ``nn.Module`` whose output is
                a feature vector or can be pooled to one; default: what the method's `Needs` names, else ``resnet18``
                for images, ``signal_encoder`` for signals and ``table_encoder`` for tables.
            image_size: side of the images in pixels; default: what the timm model was made for.
            in_chans: channels of the input; default 3.
            input_shape: shape of one sample, instead of the two above, where the input is not a square image:
                (channels, time) or (features,).
            pretrained: load timm's pretrained weights into the backbone.
            weights: start from the backbone of a run, a checkpoint of any method, an export, or a file of weights
                that another toolbox wrote: the one prefix is found under which all of the backbone is.
            weights_network: which one, where there are several: of a run ``product`` (default) or ``backbone``, of
                other files a part of the names, such as ``teacher``.
            low_resolution: whether a ResNet has a 3x3 stem without max-pool; default: as the weights it starts from,
                without any on images of 32 pixels and fewer.
            pooling: how a dense output becomes a vector: ``avg`` or ``flatten``.
            backbone_kwargs: further arguments of the timm model; default: those of the method's `Needs`.
            view_policy: views instead of the method's own.
            num_samples: of the training source, for methods whose heads have something for each sample.
            observers: objects with hooks that are called beside the method's.
            seed: makes initial weights and every random draw of training repeatable; default: from torch's
                global seed.
            **options: the method's options (see ``ssl-registry show NAME``), and modules by head name
                (``projection_head=...``) that take the place of its own.

        Raises:
            MethodNotFoundError, PluginError, ContractError: about the method.
            ConfigError, BackboneError: about the arguments.
        """
        from torch import nn

        from ssl_registry._system.options import parse_options
        from ssl_registry.contract.needs import modality_of, needs_of
        from ssl_registry.model.assembly import assemble
        from ssl_registry.model.backbones import BackboneSpec
        from ssl_registry.nn import as_module

        info, cls = self._found(name)
        # A class (optimizer=torch.optim.SGD) is an option; an object that computes is a head.
        heads = {key: value for key, value in options.items() if callable(value) and not isinstance(value, type)}
        # So is a plain list of modules, for which PyTorch has the ModuleList.
        for key, value in options.items():
            parts = value if isinstance(value, list | tuple) and key not in cls.Config.model_fields else ()
            if parts and all(isinstance(part, nn.Module) for part in parts):
                heads[key] = nn.ModuleList(parts)
        plain = {key: value for key, value in options.items() if key not in heads}
        if clash := sorted(heads.keys() & cls.Config.model_fields.keys()):
            raise ConfigError(f"{name}: {clash[0]} is an option, it cannot be a {type(heads[clash[0]]).__name__}")
        if num_samples is not None and (not isinstance(num_samples, int) or num_samples < 1):
            raise ConfigError(f"num_samples={num_samples!r} must be a whole number of at least 1, or None")
        needs, modality = needs_of(cls), modality_of(input_shape)
        needs.check_modality(modality, owner=name)
        shape = input_shape if image_size is None else (in_chans or 3, image_size, image_size)
        backbone, backbone_kwargs = needs.choose_backbone(modality, backbone, backbone_kwargs, input_shape=shape)
        spec = BackboneSpec(
            backbone=backbone,
            image_size=image_size,
            in_chans=in_chans,
            input_shape=tuple(input_shape) if input_shape is not None else None,
            pretrained=pretrained,
            weights=weights,
            weights_network=weights_network,
            low_resolution=low_resolution,
            pooling=pooling,
            kwargs=backbone_kwargs or {},
        )
        return assemble(
            cls(parse_options(cls.Config, plain, owner=name)),
            info,
            spec,
            overrides={key: as_module(value) for key, value in heads.items()},
            view_policy=view_policy,
            num_samples=num_samples,
            observers=observers,
            seed=seed,
        )

    def load(
        self,
        path: str | Path,
        *,
        backbone: nn.Module | None = None,
        observers: Sequence[object] = (),
        trust: bool = False,
        **heads: Any,
    ) -> SSLModule:
        """Reopen a checkpoint, or the last one of a run's folder, with the weights it holds.

        The method is found through installed distributions and this process's registrations only; the file
        is read without running code from it, and no pretrained weights are fetched.

        Args:
            path: a checkpoint or a run's folder.
            backbone: the module that training was given, if it was not a name.
            observers: as in `create`.
            trust: let the file name a network that is fetched, or a Python file to run.
            **heads: the modules that training was given by name.

        Raises:
            CheckpointError: if the file is no checkpoint of this project, or does not fit.
            MethodNotFoundError, PluginError: if its method is not installed.
            TrustError: if it names what would be run or fetched, without ``backbone`` or ``trust``.
        """
        from ssl_registry.model.reopen import reopen

        return reopen(self, Path(path), backbone=backbone, observers=observers, heads=heads, trust=trust)

    def _installed(self) -> list[MethodInfo]:
        return discover_methods() if self._entry_points else []

    def _unknown(self, name: str, installed: list[MethodInfo]) -> str:
        known = [*self._local, *(info.name for info in installed)]
        if name in FIRST_PARTY:
            return f"{name} is not installed; run: pip install ssl-registry-{name}"
        hint = did_you_mean(name, {*known, *FIRST_PARTY})
        if not known:
            return f"no method {name!r}.{hint} No method is installed; methods are separate packages: {HOW_TO_INSTALL}"
        return f"no method {name!r} is installed.{hint} Installed: {_listed(known)}"


def with_local(registry: Registry, installed: Iterable[MethodInfo]) -> list[MethodInfo]:
    """Return methods of distributions and those that were registered in this process, sorted."""
    local = [_describe(name, cls) for name, cls in registry._local.items()]
    return sorted([*local, *installed], key=lambda info: (info.name, info.distribution or ""))


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"


def _describe(name: str, cls: type[Any]) -> MethodInfo:
    summary = (cls.__doc__ or "").strip().partition("\n")[0]
    return MethodInfo(
        name=name,
        distribution=None,
        version="",
        summary=summary,
        target=f"{cls.__module__}:{cls.__qualname__}",
        status="local",
    )


registry = Registry()
