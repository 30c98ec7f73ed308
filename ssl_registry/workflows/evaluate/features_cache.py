"""Features kept on the disk under a hash of all that they depend on: weights, preparation and samples."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ssl_registry._system.atomic import whole_file
from ssl_registry._system.terminal import one_line
from ssl_registry.data.sample_set import SampleSet, content_hash

__all__ = ["cache_folder", "cached", "features_key"]

log = logging.getLogger(__name__)

Features = tuple[Tensor, Tensor | None]


def cache_folder() -> Path:
    """Return where features are kept: ``$SSL_REGISTRY_CACHE``, or a folder in the system's one for caches.

    On Linux that is ``~/.cache/ssl-registry/features``, or below ``$XDG_CACHE_HOME``.
    """
    told = os.environ.get("SSL_REGISTRY_CACHE")
    return Path(told) if told else user_cache_path("ssl-registry", appauthor=False) / "features"


def cached(folder: Path | None, key: str | None, compute: Callable[[], Features]) -> Features:
    """Return the features kept under ``key``, or compute and keep them.

    A file that cannot be read is computed again.

    Args:
        folder: of the cache; None computes always.
        key: from `features_key`; None for samples that cannot be told apart, which are not kept.
        compute: gives features [N, D], and labels or None.
    """
    if folder is None or key is None:
        return compute()
    path = folder / f"{key}.safetensors"
    if path.is_file():
        try:
            return _read(path)
        except Exception as error:  # safetensors raises several kinds for a damaged header
            log.info(f"{path} is damaged ({one_line(error)[:200]}): its features are computed again")
            path.unlink(missing_ok=True)
    features, labels = compute()
    tensors = {"features": features} | ({} if labels is None else {"labels": labels})
    with whole_file(path) as file:
        file.write(save(tensors, metadata={"checksum": _checksum(tensors)}))
    return features, labels


def _read(path: Path) -> Features:
    with safe_open(path, framework="pt") as file:
        checksum = (file.metadata() or {}).get("checksum")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    if checksum != _checksum(tensors):
        raise ValueError("its checksum is another one")
    return tensors["features"], tensors.get("labels")


def _checksum(tensors: dict[str, Tensor]) -> str:
    """Return the CRC-32 of names, types, shapes and numbers."""
    found = 0
    for name, tensor in sorted(tensors.items()):
        found = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), found)
        if tensor.numel():
            numbers: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            found = zlib.crc32(numbers, found)
    return f"{found:08x}"


def features_key(network: nn.Module, about: Any, dataset: SampleSet) -> str | None:
    """Return the hash of weights, preparation and samples; None where the samples cannot be told apart cheaply.

    Args:
        network: its class, and every parameter and buffer, count.
        about: what else decides the features, with a ``repr`` that says it.
        dataset: the samples.
    """
    samples = dataset.fingerprint()
    if samples is None:
        return None
    # What a state dict leaves out (an activation, a stride) is in the modules' own descriptions.
    described = [f"1 {torch.__version__} {about!r} {samples}", repr(network)]
    return content_hash([*described, *(part for item in network.state_dict().items() for part in item)])
