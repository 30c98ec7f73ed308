"""timm's supervised weights as a baseline, as far as they lie on this machine: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ssl_registry.checkpoint.record import BackboneRecord
from ssl_registry.runs.opened import RawNetwork

__all__ = ["local_weights", "supervised"]


def supervised(record: BackboneRecord, trained: RawNetwork) -> RawNetwork | str:
    """Return the backbone with timm's supervised weights, or a line that says why there is none.

    Images are normalised as those weights want it.

    Args:
        record: of the backbone.
        trained: the network to compare with; its input's size and channels are taken.
    """
    import timm

    name = record.name
    if name is None or ":" in name or not timm.is_model(name.partition(".")[0]):
        return "no supervised baseline: the backbone is not one of timm's"
    if record.low_resolution:
        return "no supervised baseline: timm has no weights for the low-resolution stem"
    config = timm.models.get_pretrained_cfg(name)
    file = None if config is None else local_weights(config)
    if config is None or file is None:
        return f"no supervised baseline: timm's weights of {name} are not on this machine"
    channels = trained.input_shape[0]
    sized = {"img_size": trained.input_shape[1:]} if config.fixed_input_size else {}
    module = timm.create_model(
        name,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(file)},
        **{"num_classes": 0, "in_chans": channels, **sized, **record.kwargs},
    )
    # timm folds the RGB weights into one channel, or repeats them over more.
    own = channels == len(config.mean)
    mean, std = (tuple(part) if own else (sum(part) / len(part),) * channels for part in (config.mean, config.std))
    view_policy = trained.view_policy.model_copy(update={"mean": mean, "std": std})
    return RawNetwork(module, view_policy, trained.input_shape, trained.feature_dim)


def local_weights(config: Any) -> Path | None:
    """Return the file of timm's weights in the Hugging Face or the torch cache, or None.

    Args:
        config: timm's ``PretrainedCfg``.
    """
    from huggingface_hub import try_to_load_from_cache

    if config.hf_hub_id:
        for file in ("model.safetensors", config.hf_hub_filename or "pytorch_model.bin"):
            found = try_to_load_from_cache(config.hf_hub_id, file)
            if isinstance(found, str):
                return Path(found)
    if config.url:
        path = Path(str(torch.hub.get_dir())) / "checkpoints" / str(config.url).rpartition("/")[2]
        if path.is_file():
            return path
    return None
