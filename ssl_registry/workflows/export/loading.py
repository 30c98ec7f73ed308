"""The code that loads an export. What a user reads is what the check runs; ``{folder}`` stands for its place."""

from __future__ import annotations

from typing import Any

__all__ = ["hf_code", "onnx_code", "timm_code", "torch_code"]

# How inputs are prepared; `timm.data.resolve_data_config(model=model)` gives it back.
PREPARED = ("input_size", "mean", "std", "interpolation", "crop_pct")
STEM = """import timm, torch
from safetensors.torch import load_file
model = timm.create_model("{name}", {arguments}, pretrained_cfg_overlay=dict({prepared}))
model.conv1 = torch.nn.Conv2d({channels}, model.conv1.out_channels, 3, padding=1, bias=False)
model.maxpool = torch.nn.Identity()
model.load_state_dict(load_file("{{folder}}/model.safetensors"))"""


def timm_code(config: dict[str, Any], *, custom_load: bool) -> str:
    """Return one call of ``timm.create_model``; for the low-resolution stem, the lines that put it in place.

    Args:
        config: of the export.
        custom_load: whether timm would read the weights of this name in a form of their own, which must be told off.
    """
    arguments = dict(config["model_args"])
    channels = arguments["in_chans"]
    if channels == 3:
        del arguments["in_chans"]
    listed = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    prepared = ", ".join(f"{key}={_literal(config['pretrained_cfg'][key])}" for key in PREPARED)
    if config["ssl_registry"]["low_resolution"]:
        return STEM.format(name=config["architecture"], arguments=listed, channels=channels, prepared=prepared)
    overlay = 'file="{folder}/model.safetensors"'
    if custom_load:
        overlay += ", custom_load=False"
    return (
        "import timm\n"
        "model = timm.create_model(\n"
        f'    "{config["architecture"]}", pretrained=True, {listed},\n'
        f"    pretrained_cfg_overlay=dict(\n        {overlay},\n        {prepared},\n    ),\n"
        ")"
    )


def _literal(value: Any) -> str:
    return repr(tuple(value) if isinstance(value, list) else value)


def hf_code() -> str:
    """Return the call that loads a local folder; ``hf-hub:user/name`` takes its place after an upload."""
    return 'import timm\nmodel = timm.create_model("local-dir:{folder}", pretrained=True)'


def torch_code() -> str:
    """Return the call that loads an exported program."""
    return 'import torch\nmodel = torch.export.load("{folder}/model.pt2").module()'


def onnx_code() -> str:
    """Return a function on onnxruntime that maps float32 arrays to float32 arrays."""
    return (
        "import onnxruntime\n"
        'session = onnxruntime.InferenceSession("{folder}/model.onnx", providers=["CPUExecutionProvider"])\n'
        'def model(x): return session.run(None, {"x": x})[0]'
    )
