"""What a step costs besides its arithmetic: memory that stays, and waits for the device."""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_registry import hookimpl
from ssl_registry.testing.check import CheckFailure, check
from ssl_registry.testing.subject import Subject

EARLY, LATE = 30, 90


class _Saved:
    """One tensor that autograd keeps for a backward pass; it lives as long as the graph does."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Memory(Callback):
    """Counts, after two steps of a run, the tensors that are alive, and those that graphs keep."""

    def __init__(self, alive: weakref.WeakSet[_Saved]) -> None:
        self.alive = alive
        self.counts: list[tuple[int, int]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step in (EARLY, LATE - 1):
            gc.collect()
            tensors = sum(issubclass(type(found), Tensor) for found in gc.get_objects())
            self.counts.append((tensors, len(self.alive)))


@check()
def memory(subject: Subject) -> None:
    """Over 90 steps the number of tensors stays the same, and so does what autograd keeps.

    Why: a few kilobytes a step end a run after a day, and nothing tells which line it was.
    Usual cause: a loss that is kept without `detach()`, a running average with its whole history behind it.
    """
    alive: weakref.WeakSet[_Saved] = weakref.WeakSet()

    def pack(tensor: Tensor) -> _Saved:
        kept = _Saved(tensor.detach())  # with its graph it would keep itself alive, through the box
        alive.add(kept)
        return kept

    watch = _Memory(alive)
    model = subject.model()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        subject.fit(model, samples=24, batch_size=8, max_steps=LATE, max_epochs=-1, callbacks=[watch])
    (tensors, kept), (more_tensors, more_kept) = watch.counts
    steps = LATE - EARLY
    if more_tensors - tensors > steps // 10:
        raise CheckFailure(
            f"{more_tensors - tensors} more tensors are alive after {steps} more steps; detach what is kept"
        )
    if more_kept - kept > steps // 10:
        raise CheckFailure(
            f"autograd keeps {more_kept - kept} more tensors after {steps} more steps; detach what goes into a buffer"
        )


# What makes the host wait until the device has computed a number or a size.
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "_unique2", "unique_dim", "bincount")


class _Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch is untyped here
    """Counts operations that wait for the device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = args[1] if name in ("index", "index_put", "index_put_") and len(args) > 1 else ()
        if name in WAITS:
            self.found.append(name)
        elif any(isinstance(mask, Tensor) and mask.dtype in (torch.bool, torch.uint8) for mask in masks):
            self.found.append("indexing with a mask")
        return func(*args, **(kwargs or {}))


class _Around:
    """An observer that counts waits within the method's own hooks, from the third step on."""

    def __init__(self, waits: Callable[[], AbstractContextManager[list[str]]]) -> None:
        self.waits = waits
        self.found: dict[str, list[str]] = {}

    @contextmanager
    def counting(self, hook: str, ctx: Any) -> Iterator[None]:
        # The first steps may fill caches; from then on every step is like the next.
        if ctx.step < 2:
            yield
            return
        with self.waits() as found:
            yield
        self.found.setdefault(hook, []).extend(found)

    @hookimpl(wrapper=True)
    def compute_loss(self, ctx: Any) -> Any:
        with self.counting("compute_loss", ctx):
            return (yield)

    @hookimpl(wrapper=True)
    def on_step_end(self, ctx: Any) -> Any:
        with self.counting("on_step_end", ctx):
            return (yield)

    @hookimpl(wrapper=True)
    def should_stop(self, ctx: Any) -> Any:
        with self.counting("should_stop", ctx):
            return (yield)


@contextmanager
def _by_operation() -> Iterator[list[str]]:
    """List the operations of the block that would wait for a GPU; they are looked at on any device."""
    with _Waits() as mode:
        yield mode.found


@contextmanager
def _by_cuda() -> Iterator[list[str]]:
    """List the waits of the block that CUDA's synchronisation debug mode tells of, copies from and to the host too.

    Reasoned from PyTorch's documentation of ``torch.cuda.set_sync_debug_mode``; tested with a stand-in for CUDA alone.
    """
    found: list[str] = []
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")  # one warning for each wait, not for each line
            yield found
    finally:
        torch.cuda.set_sync_debug_mode(before)
    found += [str(warning.message) for warning in told if "synchronizing CUDA operation" in str(warning.message)]


@check()
def synchronization(subject: Subject) -> None:
    """A step's hooks never wait for the device: no `.item()`, no `if` on a tensor, no indexing with a mask.

    Why: each wait drains the GPU's queue; on a small network that is half of the time.
    Usual cause: `loss.item()` for a log, `if tensor > 0`, `x[mask]`; `ctx.log` takes tensors, `torch.where` masks.
    """
    ways = [("cpu", _by_operation)] + ([("gpu", _by_cuda)] if torch.cuda.is_available() else [])
    for device, waits in ways:
        around = _Around(waits)
        subject.fit(subject.model(observers=[around]), max_epochs=2, accelerator=device)
        for hook, found in around.found.items():
            if found:
                times = f"{found[0]}, {len(found)} times in 4 steps"
                raise CheckFailure(f"{hook} waits for the device in each step ({times})")
