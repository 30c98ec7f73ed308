"""From a loader to features: batch by batch, on one device or several, or all at once as a matrix."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ssl_registry.errors import BatchError, ConfigError, DataError
from ssl_registry.model.batches import describe
from ssl_registry.nn import evaluating

__all__ = ["choose_devices", "extract_features", "pixels", "raw_input", "replicate", "stream_features"]

Embed = Callable[[Tensor], Tensor]
# Of CIFAR's images, where a linear map of pixels is a usual baseline.
RAW_SIDE, RAW_STEPS = 32, 1024


def extract_features(
    embed: Embed,
    loader: Iterable[Any],
    *,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Map every batch of a loader to features, without gradient.

    Args:
        embed: maps [batch, ...] to [batch, features], such as ``model.embed`` or `pixels`. A module, or a
            module's method, is called in eval mode and left in the mode it was found in.
        loader: yields x or (x, y); y holds one label a sample, [batch] or [batch, labels].
        device: where the inputs go before ``embed``, which stays where it is; None leaves them.

    Returns:
        Features [N, D] in float32, and labels [N, ...] or None if there are none; both on the CPU and in the
        loader's order.

    Raises:
        BatchError: if a batch is neither x nor (x, y).
        DataError: for an empty loader, labels in some batches only, or an ``embed`` that does not give one
            vector a sample.

    Example:
        >>> features, labels = extract_features(pixels, [(torch.zeros(2, 1, 4, 4), torch.tensor([3, 7]))])
        >>> features.shape, labels
        (torch.Size([2, 16]), tensor([3, 7]))
    """
    return collect_features(stream_features([(embed, device)], loader))


def collect_features(stream: Iterable[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    """Join what `stream_features` yields.

    Raises:
        DataError: if there was nothing, or labels in some batches only.
    """
    features, labels = [], []
    for vectors, y in stream:
        features.append(vectors)
        labels.append(y)
    if not features:
        raise DataError("the loader gave no batch; give it at least one sample")
    given = [y for y in labels if y is not None]
    if given and len(given) < len(labels):
        raise DataError(f"{len(given)} of {len(labels)} batches have labels; give labels to all or to none")
    return torch.cat(features), torch.cat(given) if given else None


def stream_features(
    replicas: Sequence[tuple[Embed, torch.device | str | None]], loader: Iterable[Any]
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield the features of each batch, in the loader's order, while later batches are worked on.

    Batches go round the replicas. A GPU works on its batch while the next is loaded and given to the next one, so one
    process keeps several busy, and no more than one batch a replica is held.

    Args:
        replicas: what maps inputs to features, and the device that the inputs go to (None leaves them).
        loader: see `extract_features`, as for the errors.

    Yields:
        Features [batch, D] in float32 and labels [batch, ...] or None, on the CPU.
    """
    waiting: deque[tuple[Tensor, Tensor | None]] = deque()
    width: int | None = None
    with ExitStack() as stack:
        for embed, _ in replicas:
            owner = getattr(embed, "__self__", embed)
            if isinstance(owner, nn.Module):
                stack.enter_context(evaluating(owner))
        for number, batch in enumerate(loader):
            x, y = _split(batch)
            embed, device = replicas[number % len(replicas)]
            # Not around the whole loop: the mode would stay on in the caller between two batches.
            with torch.inference_mode():
                vectors = _checked(embed(x if device is None else x.to(device, non_blocking=True)), len(x), width)
            width = vectors.shape[1]
            waiting.append((vectors, y))
            if len(waiting) == len(replicas):
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


def choose_devices(devices: str | Sequence[str] | None = None) -> list[torch.device]:
    """Return the devices that a user names; by default all GPUs, or the CPU.

    Args:
        devices: names of torch's, as a list or separated by commas.

    Raises:
        ConfigError: for a name that torch does not know, or a GPU that is not there.

    Example:
        >>> choose_devices("cpu")
        [device(type='cpu')]
    """
    if devices is None:
        count = torch.cuda.device_count()
        return [torch.device("cuda", index) for index in range(count)] or [torch.device("cpu")]
    names = devices.split(",") if isinstance(devices, str) else list(devices)
    try:
        found = [torch.device(name.strip()) for name in names]
    except RuntimeError as error:
        raise ConfigError(f"devices={devices!r}: {str(error).partition(chr(10))[0]}; such as cpu or cuda:0") from error
    for device in found:
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise ConfigError(f"there is no {device}; this machine has {torch.cuda.device_count()} CUDA devices")
    return found


def replicate(network: nn.Module, devices: Sequence[torch.device]) -> list[tuple[Embed, torch.device]]:
    """Put a network on each device; the first takes the network itself, the others copies."""
    copies = [network, *(copy.deepcopy(network) for _ in devices[1:])]
    return [(part.to(device), device) for part, device in zip(copies, devices, strict=True)]


def pixels(x: Tensor) -> Tensor:
    """Return the input itself as features, the baseline that a trained backbone has to beat.

    Args:
        x: [batch, ...]; uint8 is read as an image and scaled to [0, 1], as everywhere here.

    Returns:
        [batch, features] in float32.

    Example:
        >>> pixels(torch.full((1, 1, 1, 2), 255, dtype=torch.uint8))
        tensor([[1., 1.]])
    """
    flat = x.flatten(1).float()
    return flat / 255 if x.dtype == torch.uint8 else flat


def raw_input(x: Tensor) -> Tensor:
    """Return the input as features that a probe can be fitted to: that of `pixels`, averaged where it is large.

    Images of more than 32 x 32 pixels are averaged to that, signals of more than 1,024 steps to 1,024: a baseline is
    what little work gives, and a linear map of 150,000 pixels is no little work.

    Args:
        x: [batch, ...]; uint8 is read as an image and scaled to [0, 1].

    Returns:
        [batch, features] in float32.

    Example:
        >>> raw_input(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape, raw_input(torch.zeros(2, 9)).shape
        (torch.Size([2, 3072]), torch.Size([2, 9]))
    """
    scaled = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    if x.ndim == 4 and x.shape[-1] * x.shape[-2] > RAW_SIDE**2:
        scaled = nn.functional.adaptive_avg_pool2d(scaled, RAW_SIDE)
    if x.ndim == 3 and x.shape[-1] > RAW_STEPS:
        scaled = nn.functional.adaptive_avg_pool1d(scaled, RAW_STEPS)
    return scaled.flatten(1)


def _split(batch: Any) -> tuple[Tensor, Tensor | None]:
    x, y = batch, None
    if isinstance(batch, list | tuple) and len(batch) in (1, 2):
        x, y = batch[0], batch[1] if len(batch) == 2 else None
    if isinstance(x, Tensor) and x.ndim > 0 and (y is None or _is_label(y, len(x))):
        return x, y
    raise BatchError(
        f"the batch is {describe(batch)}; accepted: a tensor x [batch, ...], or (x, y) with labels y [batch]"
    )


def _is_label(y: Any, count: int) -> bool:
    return isinstance(y, Tensor) and y.ndim in (1, 2) and len(y) == count


def _checked(vectors: Any, count: int, width: int | None) -> Tensor:
    if not isinstance(vectors, Tensor) or vectors.ndim != 2 or len(vectors) != count:
        raise DataError(
            f"embed returned {describe(vectors)} for {count} samples; it must return one vector a sample, "
            "[batch, features]: pool or flatten its output"
        )
    if width is not None and vectors.shape[1] != width:
        raise DataError(f"embed returned {describe(vectors)} after vectors of width {width}; give inputs of one shape")
    return vectors


def _finished(vectors: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
    # A copy outside of inference mode: a tensor made within it cannot be trained on.
    return vectors.to("cpu", torch.float32).clone(), None if y is None else y.cpu()
