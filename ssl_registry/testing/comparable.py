"""Losses that can be compared: in float64, with random numbers that do not depend on how a batch is shared out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ssl_registry import hookimpl
from ssl_registry.contract.context import Context
from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import NotApplicable
from ssl_registry.views.keys import mix_seed

__all__ = ["Comparable"]

SIZED = {"rand", "randn", "randint", "normal"}  # take the size of what is drawn, rather than a tensor to fill
FILLING = {
    "bernoulli", "bernoulli_", "cauchy_", "dropout", "exponential_", "geometric_", "log_normal_", "multinomial",
    "normal_", "poisson", "rand_like", "randint_like", "randn_like", "random_", "uniform_",
}  # fmt: skip


class Comparable:
    """An observer that makes a loss a function of the global batch and the optimizer step.

    - Random numbers come from the step alone. Where a batch is shared out over ranks, each rank draws for the global
      batch and keeps the part of its own samples: a sample has the numbers that it has in one process.
    - `float()` and `torch.float32` mean float64, as the model was made `double()`: there the order of a sum does not
      show. A method may convert to float32 before a head, whose weights the kit has made float64.

    Args:
        shared_out: whether the batch is shared out over ranks in one of the runs that are compared. What a loss draws
            to mix the samples of its device's batch has no counterpart in one process then.

    Raises:
        NotApplicable: from the loss, if it draws in a way that depends on the device's batch as a whole.
    """

    def __init__(self, *, shared_out: bool = False) -> None:
        self.shared_out = shared_out

    @hookimpl(wrapper=True)
    def compute_loss(self, model: SSLModule, views: list[Tensor], ctx: Context) -> Any:
        """Wrap the method's own."""
        with self._around(model, ctx, len(views[0]), 0):
            return (yield)

    @hookimpl(wrapper=True)
    def on_step_end(self, model: SSLModule, ctx: Context) -> Any:
        """Wrap the method's own. There is no batch: what ranks draw alike comes from ``ctx.shared_generator`` alone."""
        with self._around(model, ctx, 0, ctx.rank):
            return (yield)

    @contextmanager
    def _around(self, model: SSLModule, ctx: Context, batch: int, place: int) -> Iterator[None]:
        seed = mix_seed(model.seed, ctx.step, place)
        ctx.generator.manual_seed(seed)
        ctx.shared_generator.manual_seed(mix_seed(model.seed, ctx.step))
        ctx.numpy_generator.bit_generator.state = np.random.default_rng(seed).bit_generator.state
        begin = ctx.numpy_generator.bit_generator.state
        torch.default_generator.manual_seed(seed)
        places = ctx.world_size if self.shared_out else 1
        default = torch.get_default_dtype()
        torch.set_default_dtype(cast(torch.dtype, model.dtype))
        try:
            with _Mode(
                batch if self.shared_out else 0,
                ctx.rank,
                places,
                doubles=model.dtype == torch.float64,
                own=ctx.generator,
            ):
                yield
        finally:
            torch.set_default_dtype(default)
        if batch and self.shared_out and ctx.numpy_generator.bit_generator.state != begin:
            raise NotApplicable(
                "its loss draws on the host (ctx.numpy_generator) for the samples of its device's batch, one after the "
                "other, so what two processes draw has no counterpart in one"
            )


class _Mode(TorchFunctionMode):
    """Draws for the global batch and keeps one place's part; reads float32 as float64.

    Args:
        batch: samples on this rank; 0 leaves random numbers alone.
        place, places: which part of how many.
        doubles: whether float32 means float64.
        own: the rank's own generator. What is drawn from another one is left alone: from ``ctx.shared_generator``, or
            from one that the method made, comes what all ranks share. None: every generator is the rank's own.
    """

    def __init__(
        self, batch: int, place: int, places: int, *, doubles: bool, own: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.batch, self.place, self.places, self.doubles, self.own = batch, place, places, doubles, own

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if self.doubles:
            if func is Tensor.float:
                return args[0].double()
            args = tuple(map(_double, args))
            kwargs = {key: _double(value) for key, value in kwargs.items()}
        name = getattr(func, "__name__", "")
        if self.batch:
            self._refuse_mixing(name, args, kwargs)
        generator = kwargs.get("generator")
        shared = generator is not None and self.own is not None and generator is not self.own
        if self.batch and self.places > 1 and not shared:
            if name in SIZED and not isinstance(args[0] if args else None, Tensor):
                return self._sized(func, args, kwargs)
            if name in FILLING:
                return self._filled(func, name, args, kwargs)
        return func(*args, **kwargs)

    def _refuse_mixing(self, name: str, args: Any, kwargs: Any) -> None:
        numbers = [n for n in (*args, *kwargs.values()) if isinstance(n, int)]
        if (name == "randperm" and numbers and numbers[0] == self.batch) or (
            name == "randint" and kwargs.get("high", max(numbers, default=0)) == self.batch
        ):
            raise NotApplicable(
                f"its loss mixes the samples of a batch at random ({name} of {self.batch}), so what two processes do "
                "on halves of a batch has no counterpart in one"
            )

    def _axis(self, shape: Sequence[int]) -> int | None:
        """Return the axis of the samples: one of their number, or else of a multiple of it (views one by one)."""
        exact = [axis for axis, size in enumerate(shape) if size == self.batch]
        several = [axis for axis, size in enumerate(shape) if size and size % self.batch == 0]
        return next(iter(exact + several), None)

    def _sized(self, func: Callable[..., Tensor], args: Any, kwargs: Any) -> Tensor:
        *rest, size = args if args and isinstance(args[-1], Sequence) else (*args, None)
        if size is None:  # sizes one by one, or by name
            size, rest = (kwargs.pop("size"), rest) if "size" in kwargs else (tuple(rest), [])
        axis = self._axis(size)
        whole = [n * self.places if at == axis else n for at, n in enumerate(size)]
        drawn = func(*rest, whole, **kwargs)
        return drawn if axis is None else self._mine(drawn, axis)

    def _filled(self, func: Callable[..., Tensor], name: str, args: Any, kwargs: Any) -> Tensor:
        x, *rest = args
        if (axis := self._axis(x.shape)) is None:
            return func(x, *rest, **kwargs)
        apart = x.unflatten(axis, (-1, self.batch)).unsqueeze(axis + 1)
        sizes = [-1] * apart.ndim
        sizes[axis + 1] = self.places
        whole = apart.expand(sizes).flatten(axis, axis + 2).clone()  # [..., views * places * batch, ...]
        drawn = self._mine(func(whole, *rest, **kwargs), axis)
        return x.copy_(drawn) if name.endswith("_") else drawn

    def _mine(self, whole: Tensor, axis: int) -> Tensor:
        """Return this place's part of numbers for the global batch, [..., views * places * batch, ...]."""
        apart = torch.unflatten(whole, axis, (-1, self.places, self.batch))
        return apart.select(axis + 1, self.place).flatten(axis, axis + 1)


def _double(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value
