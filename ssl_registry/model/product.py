"""The network that a training is for: the backbone, or another of its architecture that the method names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn

from ssl_registry.errors import ConfigError, ContractError, did_you_mean

if TYPE_CHECKING:
    from ssl_registry.model.module import SSLModule

__all__ = ["NETWORKS", "NetworkName", "check_network", "find_product"]

NetworkName = Literal["product", "backbone"]
NETWORKS: tuple[NetworkName, ...] = ("product", "backbone")


def check_network(name: str) -> NetworkName:
    """Return a name if it is one of a network.

    Raises:
        ConfigError: with those that there are.
    """
    if name not in NETWORKS:
        raise ConfigError(
            f"network={name!r} is not known.{did_you_mean(name, NETWORKS)} 'product' is what the method evaluates, "
            "'backbone' what the gradient trains"
        )
    return "backbone" if name == "backbone" else "product"


def find_product(model: SSLModule, known: str) -> str:
    """Return the dotted name, within the model, of what its method's hook `product` gives.

    Args:
        model: of the method.
        known: the name that was found the last time; while it holds, nothing is checked again.

    Raises:
        ContractError: if that is no part of the model, or of another architecture than the backbone.
    """
    if not model.hook.product.get_hookimpls():
        return "backbone"
    owner = model.info.name
    try:
        found = model.hook.product(model=model)
    except AttributeError as error:  # within a property of a module it would be taken for a missing property
        raise ContractError(f"{owner}: product fails: {error}") from error
    if found is None or found is model.backbone:
        return "backbone"
    if not isinstance(found, nn.Module):
        raise ContractError(f"{owner}: product must return a module, it returned {type(found).__name__}")
    if _part(model, known) is found:
        return known
    name: str | None = next((name for name, part in model.named_modules() if part is found), None)
    if name is None:
        raise ContractError(
            f"{owner}: product returns a {type(found).__name__} that is no part of the model, so no checkpoint holds "
            "it; return the backbone, or a part of model.heads"
        )
    theirs, ours = ({key: tuple(value.shape) for key, value in part.state_dict().items()}
                    for part in (found, model.backbone))  # fmt: skip
    if differing := sorted(key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key)):
        key = differing[0]
        raise ContractError(
            f"{owner}: product returns {name}, which is not of the backbone's architecture: {key} has shape "
            f"{theirs.get(key, 'none')} there and {ours.get(key, 'none')} in the backbone; return a copy of the "
            "backbone alone, without a head"
        )
    return name


def _part(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None
