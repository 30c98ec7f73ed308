"""Formats ``torch`` and ``onnx``: the backbone as a program, which needs the code of no class."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from ssl_registry._system.optional import require
from ssl_registry.errors import ExportError
from ssl_registry.runs.opened import OpenedRun

__all__ = ["write_onnx", "write_torch"]

TORCH_CODE = 'import torch\nmodel = torch.export.load(folder + "/model.pt2").module()'
# A function on onnxruntime that maps float32 arrays to float32 arrays.
ONNX_CODE = (
    "import onnxruntime\n"
    'session = onnxruntime.InferenceSession(folder + "/model.onnx", providers=["CPUExecutionProvider"])\n'
    'def model(x): return session.run(None, {"x": x})[0]'
)


BATCH = "batch"


def write_torch(run: OpenedRun, folder: Path) -> str:
    """Write ``model.pt2``, a program that torch loads without the code of any class."""
    program = _program(run.exported, run.model.input_shape)
    torch.export.save(program, folder / "model.pt2")
    return TORCH_CODE


def write_onnx(run: OpenedRun, folder: Path) -> str:
    """Write ``model.onnx`` from ``x`` [batch, ...] to ``features``, or a classifier's ``scores``, [batch, width].

    The axis ``batch`` is free. The file is checked by onnx's own checker.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, "onnx", "--format onnx")
    program = _program(run.exported, run.model.input_shape)
    output = "features" if run.classifier is None else "scores"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's advice on its own internals
        done = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["x"],
            output_names=[output],
            dynamic_shapes=({0: BATCH},),  # the program has it already; here the axis gets its name
            verbose=False,
        )
    assert done is not None
    done.save(str(folder / "model.onnx"))
    require("onnx", "onnx", "--format onnx").checker.check_model(str(folder / "model.onnx"))
    return ONNX_CODE


def _program(network: nn.Module, input_shape: tuple[int, ...]) -> torch.export.ExportedProgram:
    # Two samples: torch takes a batch of one for a constant.
    sample = torch.zeros(2, *input_shape)
    try:
        return torch.export.export(network, (sample,), dynamic_shapes=({0: torch.export.Dim(BATCH, min=1)},))
    except Exception as error:  # torch.export raises nearly anything for what it cannot trace
        reason = " ".join(str(error).split())[:300]
        raise ExportError(
            f"torch cannot trace {type(network).__name__}: {reason}; --format timm needs no trace"
        ) from error
