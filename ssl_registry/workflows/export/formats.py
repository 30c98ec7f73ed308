"""One writer a format. Each fills a folder and returns the code that loads it, with ``{folder}`` for its place."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from ssl_registry._system.optional import require
from ssl_registry._version import __version__
from ssl_registry.errors import ExportError
from ssl_registry.model.backbones import ENCODERS, FeaturePool
from ssl_registry.runs.opened import OpenedRun
from ssl_registry.workflows.export.card import model_card
from ssl_registry.workflows.export.loading import hf_code, onnx_code, timm_code, torch_code

__all__ = ["WEIGHTS", "WRITERS"]

WEIGHTS = "model.safetensors"


def write_timm(pretrained: OpenedRun, folder: Path) -> str:
    """Write ``model.safetensors`` with timm's keys, and ``config.json`` as timm reads it."""
    config = _timm_config(pretrained)
    _write_weights(pretrained.model.backbone, folder)
    _write_json(config, folder)
    made: Any = pretrained.model.backbone.pretrained_cfg
    return timm_code(config, custom_load=bool(made.get("custom_load")))


def write_hf(pretrained: OpenedRun, folder: Path) -> str:
    """Write what ``timm.push_to_hf_hub`` would upload, with a model card."""
    config = _timm_config(pretrained)
    if config["ssl_registry"]["low_resolution"]:
        raise ExportError(
            f"{pretrained.name} has the low-resolution stem, which timm cannot build from a configuration; use "
            "--format timm, whose code puts the stem in place, or --format torch"
        )
    _write_weights(pretrained.model.backbone, folder)
    _write_json(config, folder)
    (folder / "README.md").write_text(model_card(config), encoding="utf-8")
    return hf_code()


def write_torch(pretrained: OpenedRun, folder: Path) -> str:
    """Write ``model.pt2``, a program that torch loads without the code of any class."""
    program = _program(pretrained.model.backbone, pretrained.model.input_shape)
    torch.export.save(program, folder / "model.pt2")
    _write_json(_facts(pretrained), folder)
    return torch_code()


def write_onnx(pretrained: OpenedRun, folder: Path) -> str:
    """Write ``model.onnx`` with a free batch size, checked by onnx's own checker."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, "onnx", "--format onnx")
    program = _program(pretrained.model.backbone, pretrained.model.input_shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's advice on its own internals
        done = torch.onnx.export(program, dynamo=True, input_names=["x"], output_names=["features"], verbose=False)
    assert done is not None
    done.save(str(folder / "model.onnx"))
    require("onnx", "onnx", "--format onnx").checker.check_model(str(folder / "model.onnx"))
    _write_json(_facts(pretrained), folder)
    return onnx_code()


WRITERS: dict[str, Callable[[OpenedRun, Path], str]] = {
    "timm": write_timm,
    "hf": write_hf,
    "torch": write_torch,
    "onnx": write_onnx,
}


def _program(network: nn.Module, input_shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    # Two samples: torch takes a batch of one for a constant.
    sample = torch.zeros(2, *input_shape)
    try:
        return torch.export.export(network, (sample,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    except Exception as error:  # torch.export raises nearly anything for what it cannot trace
        reason = " ".join(str(error).split())[:300]
        raise ExportError(
            f"torch cannot trace {type(network).__name__}: {reason}; --format timm needs no trace"
        ) from error


def _timm_config(pretrained: OpenedRun) -> dict[str, Any]:
    """Return ``config.json`` of a timm folder, as ``timm.models.save_for_hf`` lays it out."""
    model, record = pretrained.model, pretrained.model.backbone_record
    if record.name is None or record.name in ENCODERS or isinstance(model.backbone, FeaturePool):
        raise ExportError(f"the backbone of {pretrained.name} is not one that timm builds; use --format torch or onnx")
    made: dict[str, Any] = model.backbone.pretrained_cfg  # type: ignore[assignment]  # every timm model has it
    facts = _facts(pretrained)
    channels, *size = facts["input_size"]
    arguments = {"num_classes": 0, "in_chans": channels, **record.kwargs}
    fixed = bool(made.get("fixed_input_size"))
    if fixed and tuple(size) != tuple(made["input_size"][1:]):
        arguments.setdefault("img_size", size)
    own = {
        "input_size": facts["input_size"],
        "fixed_input_size": fixed,
        "mean": facts["mean"],
        "std": facts["std"],
        "num_classes": 0,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "custom_load": False,
        "first_conv": made.get("first_conv"),
        "classifier": made.get("classifier"),
    }
    return {
        "architecture": made["architecture"],
        "num_classes": 0,
        "num_features": model.feature_dim,
        "model_args": arguments,
        "pretrained_cfg": own,
        "ssl_registry": facts["ssl_registry"],
    }


def _facts(pretrained: OpenedRun) -> dict[str, Any]:
    """Return what a user of the export must know: the input, its preparation, and where the weights come from."""
    model, record = pretrained.model, pretrained.model.backbone_record
    channels = model.input_shape[0]
    # Of images by the recipe; of signals and tables by the source that it learnt from.
    mean, std = model.view_policy.standardized or (model.view_policy.mean, model.view_policy.std)
    return {
        "input_size": list(model.input_shape),
        "mean": list(mean or (0.0,) * channels),
        "std": list(std or (1.0,) * channels),
        "num_features": model.feature_dim,
        "ssl_registry": {
            "version": __version__,
            "method": model.info.name,
            "distribution": model.info.distribution,
            "method_version": model.info.version,
            "backbone": record.title,
            "low_resolution": record.low_resolution,
            "pooling": record.pooling,
            "data": pretrained.data,
        },
    }


def _write_weights(network: nn.Module, folder: Path) -> None:
    # Cloned: safetensors refuses tensors that share memory.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))


def _write_json(config: dict[str, Any], folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
