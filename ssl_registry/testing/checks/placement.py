"""Where tensors lie: a step on a CUDA device, told without one."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_registry.contract.context import Context
from ssl_registry.model.drawing import TrainingBatch
from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CheckFailure, check
from ssl_registry.testing.subject import Subject, kind_of

CUDA = torch.device("cuda:0")


class _CudaGenerator(torch.Generator):
    """A generator of the host that says it is the device's; no tensor is filled while tensors are fake."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # an attribute of the C class
        return CUDA


class _GeneratorsMatch(TorchFunctionMode):
    """Refuses what torch refuses on a real device: random numbers on the host from the device's generator."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        drawn = isinstance((kwargs or {}).get("generator"), _CudaGenerator) and isinstance(result, Tensor)
        if drawn and result.device != CUDA:
            raise RuntimeError(
                f"{getattr(func, '__name__', func)} draws on the {result.device.type} from the model's generator; "
                "give device=ctx.generator.device"
            )
        return result


class _Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch is untyped here
    """Refuses copies between host and device, for which the host waits."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("_to_copy", "copy_") and isinstance(result, Tensor):
            places = {t.device.type for t in (*args, result) if isinstance(t, Tensor)}
            if len(places) > 1 and not (kwargs or {}).get("non_blocking", False):
                raise RuntimeError(f"a tensor of shape {list(result.shape)} is copied between host and device")
        return result


@check()
def cuda_placement(subject: Subject) -> None:
    """Views, loss and step end run with weights and batch on CUDA; no GPU is needed, since the tensors are fake.

    Why: a tensor left on the host is an error that a CPU cannot show, and each wait for the device drains its queue.
    Usual cause: `torch.zeros(n)` without `device=`, `.item()`, `x[mask]`, `torch.tensor([...])` in every step.
    What waits once and remembers the answer, by the version of the buffer that it read, is not found here: a real step
    goes before. Backward needs a real device. Source: `torch._subclasses.fake_tensor`, which carries shapes, types and
    devices through each operation.
    """
    model, batch = _after_one_step(subject)
    with _fake(), torch.no_grad():
        moved = _on_cuda(model)
        x = {"x": _like(batch), "indices": torch.arange(len(batch), device=CUDA)}
        with _told("build_views"):
            read = moved._read(x, 0, 1)
            views = moved._views(read)
        for hook, call in _hooks(moved, read, views):
            with _told(hook), _GeneratorsMatch(), _Copies():  # type: ignore[no-untyped-call]  # as above
                call()


def _after_one_step(subject: Subject) -> tuple[SSLModule, Tensor]:
    """Return a model that made a step, so that caches are filled, and a batch for the next one."""
    model = subject.model()
    batch = subject.batch(kind_of(model))
    ctx = model._context(0)
    inputs = model.view_policy.prepare(batch).to(model.dtype)
    with torch.no_grad():
        model.hook.on_fit_start(model=model, sample=lambda count: inputs[:count], ctx=ctx)
        model.batch_loss({"x": batch, "indices": torch.arange(len(batch))}, 0)
        model.hook.on_step_end(model=model, ctx=model._context(0, steps_more=1))
        model.hook.should_stop(model=model, ctx=model._context(0, steps_more=1))
    return model, batch


def _hooks(model: SSLModule, batch: TrainingBatch, views: list[Tensor]) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield "compute_loss", lambda: model._loss(views, _context(model, batch=batch))
    for hook in ("on_step_end", "should_stop"):
        yield hook, partial(getattr(model.hook, hook), model=model, ctx=_context(model, steps_more=1))


def _context(model: SSLModule, **arguments: Any) -> Context:
    """Return a context whose generators are the device's; one that the core makes there would need the device."""
    ctx = model._context(0, 1, **arguments)
    vars(ctx.place)["shared_generator"] = _CudaGenerator()
    return ctx


@contextmanager
def _fake() -> Iterator[None]:
    # cuDNN's recurrent layers (nn.GRU) ask the driver; torch's own kernels place their tensors alike.
    with FakeTensorMode(), torch.backends.cudnn.flags(enabled=False):
        yield


def _like(tensor: Tensor) -> Tensor:
    """Return a tensor of this form on the device, written to as often as the original was."""
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=CUDA)
    while made._version < tensor._version:
        made.zero_()
    return made


def _on_cuda(model: SSLModule) -> SSLModule:
    parameters = {id(p): nn.Parameter(_like(p), requires_grad=p.requires_grad) for p in model.parameters()}
    buffers = {id(buffer): _like(buffer) for buffer in model.buffers()}
    # The copy holds the tensors of this memo in place of the model's own.
    moved = copy.deepcopy(model, {**parameters, **buffers})
    moved._device = CUDA  # what Lightning's `.device` answers; `.to` cannot swap fake tensors
    moved._generator = _CudaGenerator()
    return moved


@contextmanager
def _told(hook: str) -> Iterator[None]:
    """Say which hook failed, where in its code, and what that means on a GPU."""
    try:
        yield
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise CheckFailure(f"{hook} waits for the device: {error} at {_line(error)}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckFailure(f"{hook} fails where the model is on CUDA, at {_line(error)}: {reason[:300]}") from error


def _line(error: BaseException) -> str:
    """Return file and line of the innermost frame that belongs to neither torch nor pluggy."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
    frames = [f for f in frames if not f.filename.endswith("checks/placement.py")] or frames
    return f"{frames[-1].filename}:{frames[-1].lineno} ({frames[-1].line})"
