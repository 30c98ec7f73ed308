"""The formats of export, one line each; the file that writes a format is imported when it is written.

A new format is a file in this folder and a line in `FORMATS`. In a plugin it is an `ExportFormat` and a line in its
``pyproject.toml``, in the group ``ssl_registry.exporters``.
"""

from __future__ import annotations

from ssl_registry.discovery.tables import PluginTable, lazily
from ssl_registry.workflows.export.format import ExportFormat, check_format

__all__ = ["FORMATS"]

FILES = "ssl_registry.workflows.export.formats"
OWN = (
    ExportFormat("timm", "a folder for timm.create_model", write=lazily(f"{FILES}.timm_folder:write_timm")),
    ExportFormat("hf", "the same for the Hugging Face hub, with a card", write=lazily(f"{FILES}.timm_folder:write_hf")),
    ExportFormat("torch", "an ExportedProgram of torch", write=lazily(f"{FILES}.program:write_torch")),
    # onnxruntime has other kernels than torch.
    ExportFormat("onnx", "ONNX", write=lazily(f"{FILES}.program:write_onnx"), tolerance=1e-4, extra="onnx"),
)
FORMATS = PluginTable("exporter", {format.name: format for format in OWN}, check=check_format)
