"""`as_module`: a plain function where a module is expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

__all__ = ["FunctionModule", "as_module"]


class FunctionModule(nn.Module):
    """A callable as a module without parameters, so that a loss function can be a head.

    Args:
        function: called with what `forward` gets. It is pickled and copied by reference, as functions are.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)

    def extra_repr(self) -> str:
        """Name the function."""
        return getattr(self.function, "__qualname__", None) or repr(self.function)


def as_module(value: Callable[..., Any]) -> nn.Module:
    """Return a module as it is, and any other callable as a `FunctionModule`.

    Raises:
        TypeError: for a class or what cannot be called.

    Example:
        >>> import torch
        >>> as_module(torch.nn.functional.mse_loss)
        FunctionModule(mse_loss)
    """
    if isinstance(value, nn.Module):
        return value
    if isinstance(value, type) or not callable(value):
        what = f"the class {value.__qualname__}" if isinstance(value, type) else repr(value)
        raise TypeError(f"{what} cannot serve as a module; give an instance of nn.Module, or a function")
    return FunctionModule(value)
