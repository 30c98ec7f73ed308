"""An export is loaded in a process of its own, where ssl_registry cannot be imported, and its outputs are compared."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from ssl_registry.errors import ExportError
from ssl_registry.nn import evaluating

__all__ = ["largest_difference"]

BATCHES = (3, 1)  # both sizes go through the export: a batch that was traced as a constant is found
BEFORE = """import sys
sys.modules["ssl_registry"] = None
"""
BEHIND = """
import torch
from safetensors.torch import load_file, save_file
outputs = {}
for name, x in load_file(sys.argv[1] + "/inputs").items():
    if isinstance(model, torch.nn.Module):
        if "GraphModule" not in type(model).__name__:
            model.eval()
        with torch.no_grad():
            outputs[name] = model(x).contiguous()
    else:
        outputs[name] = torch.from_numpy(model(x.numpy()))
save_file(outputs, sys.argv[1] + "/outputs")
"""


def largest_difference(network: nn.Module, input_shape: tuple[int, ...], code: str, folder: Path) -> float:
    """Return the largest absolute difference between the outputs of ``network`` and of the export in ``folder``.

    Args:
        network: the backbone.
        input_shape: of one sample.
        code: that loads the export as ``model`` out of the folder that the variable ``folder`` names.
        folder: where it is now.

    Raises:
        ExportError: if the code fails there.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = {f"x{size}": torch.randn(size, *input_shape, generator=generator) for size in BATCHES}
    with evaluating(network), torch.no_grad():
        weight = next(network.parameters(), torch.zeros(()))
        expected = {name: network(x.to(weight)).float().cpu() for name, x in inputs.items()}
    found = _run(f"folder = {str(folder.resolve())!r}\n{code}", inputs)
    return max(_difference(found[name], wanted) for name, wanted in expected.items())


def _difference(found: Tensor, wanted: Tensor) -> float:
    if found.shape != wanted.shape:
        raise ExportError(
            f"the export gives {list(found.shape)}, the backbone {list(wanted.shape)}; nothing was written"
        )
    return float((found - wanted).abs().max())


def _run(code: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "check.py").write_text(f"{BEFORE}{code}\n{BEHIND}", encoding="utf-8")
        (place / "inputs").write_bytes(save(inputs))
        command = [sys.executable, str(place / "check.py"), name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=name)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ExportError(f"the export does not load in a fresh process ({last}); nothing was written")
        outputs: dict[str, Tensor] = load((place / "outputs").read_bytes())
        return outputs
