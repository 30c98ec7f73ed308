"""`RepeatedModuleList`: the same module class, instantiated several times."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["RepeatedModuleList"]


class RepeatedModuleList(nn.ModuleList):
    """A module list of ``size`` independent instances of one class.

    Args:
        size: the number of instances.
        cls: the class, a subclass of ``nn.Module``.
        *args: positional arguments of each instance.
        **kwargs: keyword arguments of each instance.

    Raises:
        AssertionError: if ``cls`` is not a subclass of ``nn.Module``.
        ValueError: if ``size`` is negative.

    Example:
        >>> RepeatedModuleList(2, nn.Linear, 10, 5, bias=False)
        RepeatedModuleList(
          (0-1): 2 x Linear(in_features=10, out_features=5, bias=False)
        )
    """

    def __init__(self, size: int, cls: type[nn.Module], *args: Any, **kwargs: Any) -> None:
        # Raised by hand, because `python -O` strips assert statements.
        if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
            name = cls.__name__ if isinstance(cls, type) else repr(cls)
            raise AssertionError(f"cls={name} must be a subclass of torch.nn.Module, not an instance or a function")
        if size < 0:
            raise ValueError(f"size={size} must not be negative")
        super().__init__([cls(*args, **kwargs) for _ in range(size)])

    def __getitem__(self, index: Any) -> Any:
        # nn.ModuleList builds a slice as type(self)(modules), which this constructor does not take.
        if isinstance(index, slice):
            return nn.ModuleList(list(self)[index])
        return super().__getitem__(index)
