"""`export`: write, load again elsewhere, compare, and only then put into place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry._system.atomic import given_path
from ssl_registry.errors import ConfigError, ExportError, did_you_mean
from ssl_registry.runs.opened import open_run
from ssl_registry.workflows.export.check import largest_difference
from ssl_registry.workflows.export.facts import FACTS, export_facts, write_json
from ssl_registry.workflows.export.formats import FORMATS
from ssl_registry.workflows.export.placing import replaced_export

__all__ = ["ExportResult", "export"]

WEIGHTS = (".onnx", ".pt", ".pt2", ".pth", ".ckpt", ".bin", ".safetensors")  # names of files in an export


@dataclass(frozen=True)
class ExportResult:
    """An export that was checked.

    Args:
        folder: that holds it.
        files: in the folder.
        format: its name.
        code: the lines of Python that load it as ``model``; they need no ssl_registry.
        difference: the largest between its outputs and the network's, in a fresh process, on normal random inputs.
    """

    folder: Path
    files: tuple[str, ...]
    format: str
    code: str
    difference: float


def export(
    path: str | Path,
    *,
    format: str = "timm",
    out: str | Path | None = None,
    image_size: int | None = None,
    backbone: str | nn.Module | None = None,
    network: str = "product",
    trust: bool = False,
    registry: Registry = default_registry,
) -> ExportResult:
    """Write a trained backbone, or what was fine-tuned, in a form that needs no ssl_registry.

    All of them take inputs that are prepared: floats, resized and normalised with the mean and the standard deviation
    that ``config.json`` beside them tells.

    - ``timm``: safetensors with timm's own keys, for ``timm.create_model``. A low-resolution stem is not in timm's
      reach by name: the code that loads it then puts the two modules in place first.
    - ``hf``: the same as a folder for the Hugging Face hub, with a model card; ``timm.create_model("local-dir:...")``
      loads it, and ``"hf-hub:..."`` once it is uploaded; so do transformers' ``AutoModel``,
      ``AutoModelForImageClassification`` and ``AutoImageProcessor``.
    - ``torch``: an ``ExportedProgram``, with any batch size, for every backbone: it needs the code of no class.
    - ``onnx``: the same for onnxruntime.

    Of what `ssl_registry.finetune` wrote the classifier is a part: the outputs are the classes' scores before softmax,
    and ``config.json`` has the classes' names. Of tables it has the features' names and the fitted columns.

    Plugins add formats (see `ssl_registry.workflows.export.format.ExportFormat`).

    Args:
        path: a run's folder, a checkpoint, or weights alone: an export, or a file of any toolbox.
        format: its name.
        out: the folder; default ``export-FORMAT`` in the run, or beside the checkpoint. The files of an earlier export
            there are replaced, and no others.
        image_size: side of the images that weights alone are used for; default: what the network was made for.
        backbone: the module that training was given from Python; of weights alone, a module or a name.
        network: ``product``, what the method's authors evaluate (DINO: the teacher's), or ``backbone``, what the
            gradient trained; of most methods they are the same. Of weights alone with several networks, a part of
            their names, such as ``teacher``.
        trust: run and fetch what the run's files name, such as the Python file of a network.
        registry: where the method is looked up.

    Raises:
        CheckpointError, TrustError: if the model cannot be reopened.
        ConfigError: if there is no such format, or ``out`` holds files that no export wrote where its own would stand.
        ExportError: if the backbone cannot take this form, or the outputs differ; nothing is left behind then.
        MissingExtraError: if ``onnx`` is not installed.
        PluginError: if a plugin's format cannot be used.
    """
    writer = FORMATS.get(format)
    if writer is None:
        known = FORMATS.names()
        raise ConfigError(f"there is no format {format!r}.{did_you_mean(format, known)} Known: {', '.join(known)}")
    given = None if out is None else _folder(out)
    pretrained = open_run(
        path, backbone=backbone, network=network, image_size=image_size, trust=trust, registry=registry
    )
    if image_size is not None and pretrained.model.input_shape[-1] != image_size:
        raise ConfigError(f"image_size={image_size} is for weights alone; {path} tells its own, leave it out")
    folder = given or _default_folder(pretrained.checkpoint, format)
    chosen = pretrained.exported.eval()
    with replaced_export(folder) as beside:
        code = writer.write(pretrained, beside)
        if not (beside / FACTS).is_file():
            write_json(export_facts(pretrained), beside)
        difference = largest_difference(chosen, pretrained.model.input_shape, code, beside)
        if not difference <= writer.tolerance:
            raise ExportError(
                f"the {format} export of {pretrained.name} differs by {difference:.2g} from its network; "
                "nothing was written"
            )
        files = tuple(sorted(file.name for file in beside.iterdir()))
    return ExportResult(folder, files, format, f"folder = {str(folder)!r}\n{code}", difference)


def _folder(out: str | Path) -> Path:
    folder = given_path(out)
    if folder.suffix.lower() in WEIGHTS and not folder.is_dir():
        raise ConfigError(
            f"--out {folder}: an export is a folder of several files; give --out {folder.with_suffix('')}"
        )
    return folder


def _default_folder(checkpoint: Path, format: str) -> Path:
    inside = checkpoint.parent.name == "checkpoints"
    return (
        checkpoint.parent.parent / f"export-{format}" if inside else checkpoint.parent / f"{checkpoint.stem}-{format}"
    )
