"""A trained backbone in forms that need no ssl_registry: `export`.

- `writing`: `export` itself: write, check, put into place
- `formats`: one writer a format: ``timm``, ``hf``, ``torch``, ``onnx``
- `loading`: the lines of Python that load an export, which are shown to the user and run by the check
- `check`: every export is loaded in a fresh process, and its outputs are compared
- `card`: the README of a Hugging Face folder
"""

from __future__ import annotations

from ssl_registry.workflows.export.writing import FORMATS, ExportResult, export

__all__ = ["FORMATS", "ExportResult", "export"]
