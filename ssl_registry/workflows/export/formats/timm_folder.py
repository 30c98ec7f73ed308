"""Formats ``timm`` and ``hf``: weights with timm's own keys, and what timm needs to build the network."""

from __future__ import annotations

import copy
import keyword
import math
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from ssl_registry.errors import ExportError
from ssl_registry.model.backbones import FeaturePool, is_timm_name
from ssl_registry.runs.opened import OpenedRun
from ssl_registry.workflows.export.facts import export_facts, write_json
from ssl_registry.workflows.export.formats.card import model_card

__all__ = ["write_hf", "write_timm"]

WEIGHTS = "model.safetensors"
# ``hf-hub:user/name`` takes the place of the folder after an upload.
HF_CODE = 'import timm\nmodel = timm.create_model("local-dir:" + folder, pretrained=True)'
# How inputs are prepared; `timm.data.resolve_data_config(model=model)` gives it back.
PREPARED = ("input_size", "mean", "std", "interpolation", "crop_pct")
# A low-resolution stem is out of reach of timm's names.
STEM_CODE = """import timm, torch
from safetensors.torch import load_file
model = timm.create_model({name!r}, {arguments}, pretrained_cfg_overlay=dict({prepared}))
model.conv1 = torch.nn.Conv2d({channels}, model.conv1.out_channels, 3, padding=1, bias=False)
model.maxpool = torch.nn.Identity()
model.load_state_dict(load_file(folder + "/model.safetensors"))"""


def write_timm(run: OpenedRun, folder: Path) -> str:
    """Write ``model.safetensors`` with timm's keys, and ``config.json`` as timm reads it."""
    config = _timm_config(run)
    _write_weights(_timm_network(run), folder)
    write_json(config, folder)
    made: Any = run.network.pretrained_cfg
    return _timm_code(config, custom_load=bool(made.get("custom_load")))


def write_hf(run: OpenedRun, folder: Path) -> str:
    """Write what ``timm.push_to_hf_hub`` would upload, with a model card."""
    config = _timm_config(run)
    if config["ssl_registry"]["low_resolution"]:
        raise ExportError(
            f"{run.name} has the low-resolution stem, which timm cannot build from a configuration; use "
            "--format timm, whose code puts the stem in place, or --format torch"
        )
    _write_weights(_timm_network(run), folder)
    write_json(config, folder)
    (folder / "README.md").write_text(model_card(config), encoding="utf-8")
    return HF_CODE


def _timm_config(run: OpenedRun) -> dict[str, Any]:
    """Return ``config.json`` of a timm folder, as ``timm.models.save_for_hf`` lays it out."""
    model, record = run.model, run.model.backbone_record
    if record.name is None or not is_timm_name(record.name) or isinstance(run.network, FeaturePool):
        raise ExportError(f"the backbone of {run.name} is not one that timm builds; use --format torch or onnx")
    made: dict[str, Any] = run.network.pretrained_cfg  # type: ignore[assignment]  # every timm model has it
    facts = export_facts(run)
    channels, *size = facts["input_size"]
    # How many classes there are stands beside it: transformers passes both to timm.
    arguments = {"in_chans": channels, **{key: value for key, value in record.kwargs.items() if key != "num_classes"}}
    fixed = bool(made.get("fixed_input_size"))
    if fixed and tuple(size) != tuple(made["input_size"][1:]):
        arguments.setdefault("img_size", size)
    own = {
        "input_size": facts["input_size"],
        "fixed_input_size": fixed,
        "mean": facts["mean"],
        "std": facts["std"],
        "num_classes": facts["num_classes"],
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "custom_load": False,
        "first_conv": made.get("first_conv"),
        "classifier": made.get("classifier"),
    }
    return {
        "architecture": made["architecture"],
        "num_classes": facts["num_classes"],
        "num_features": model.feature_dim,
        **({"label_names": facts["label_names"]} if run.classifier is not None else {}),
        "model_args": arguments,
        "pretrained_cfg": own,
        "ssl_registry": facts["ssl_registry"],
    }


def _timm_network(run: OpenedRun) -> nn.Module:
    """Return the network as timm builds it: a classifier is the layer that timm has for it."""
    if run.classifier is None:
        return run.network
    network: Any = copy.deepcopy(run.network)
    network.reset_classifier(len(run.classifier.classes))
    layer, head = network.get_classifier(), run.classifier.head
    if not isinstance(layer, nn.Linear) or layer.weight.shape != head.weight.shape:
        raise ExportError(f"timm's {type(network).__name__} has no linear classifier; use --format torch or onnx")
    layer.load_state_dict(head.state_dict())
    whole: nn.Module = network
    return whole


def _write_weights(network: nn.Module, folder: Path) -> None:
    # Cloned: safetensors refuses tensors that share memory.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))


def _timm_code(config: dict[str, Any], *, custom_load: bool) -> str:
    """Return one call of ``timm.create_model``; for the low-resolution stem, the lines that put it in place.

    Args:
        config: of the export.
        custom_load: whether timm would read the weights of this name in a form of their own, which must be turned off.
    """
    arguments = {"num_classes": config["num_classes"], **config["model_args"]}
    channels = arguments["in_chans"]
    if channels == 3:
        del arguments["in_chans"]
    # timm leaves out what is None, so it never saw whether such an argument exists.
    listed = _keywords({key: value for key, value in arguments.items() if value is not None})
    prepared = _keywords({key: _as_tuple(config["pretrained_cfg"][key]) for key in PREPARED})
    if config["ssl_registry"]["low_resolution"]:
        return STEM_CODE.format(name=config["architecture"], arguments=listed, channels=channels, prepared=prepared)
    overlay = 'file=folder + "/model.safetensors"'
    if config["num_classes"]:  # with another number than it knows of, timm would leave the classifier out
        overlay += f", num_classes={config['num_classes']}"
    if custom_load:
        overlay += ", custom_load=False"
    return (
        "import timm\n"
        "model = timm.create_model(\n"
        f"    {config['architecture']!r}, pretrained=True, {listed},\n"
        f"    pretrained_cfg_overlay=dict(\n        {overlay},\n        {prepared},\n    ),\n"
        ")"
    )


def _keywords(arguments: dict[str, Any]) -> str:
    """Return arguments as Python; their names were identifiers in the checkpoint's record, and are so in code.

    >>> _keywords({"img_size": (64, 64), "act_layer": "gelu", "scale": float("inf")})
    "img_size=(64, 64), act_layer='gelu', scale=float('inf')"
    """
    for name in arguments:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ExportError(f"{name!r} is no name of an argument")
    return ", ".join(f"{name}={_literal(value)}" for name, value in arguments.items())


def _literal(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    if isinstance(value, list | tuple):
        inner = ", ".join(map(_literal, value)) + "," * (len(value) == 1 and isinstance(value, tuple))
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_literal(entry)}" for key, entry in value.items()) + "}"
    return repr(value)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
