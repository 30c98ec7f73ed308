"""The file that fine-tuning leaves behind: every command after training opens it as it opens a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save

from ssl_registry._system.atomic import given_path, whole_file
from ssl_registry.checkpoint.finetuned import BACKBONE, HEAD, FineTunedRecord
from ssl_registry.data import Source
from ssl_registry.data.open import GIVEN
from ssl_registry.data.options import ReadOptions
from ssl_registry.measures.few_labels import labels_in_words
from ssl_registry.runs.folder import Run
from ssl_registry.runs.opened import OpenedRun
from ssl_registry.workflows.finetune.module import FineTuning

__all__ = ["make_record", "place", "write_finetuned"]


def place(out: str | Path | None, run: Run | None, labels: float) -> Path | None:
    """Return where the file goes: as told, else into the run; None without either."""
    if out is None:
        amount = labels_in_words(labels).removesuffix(" %").replace(" ", "-")
        return None if run is None else run.folder / f"finetuned-{amount}.safetensors"
    path = given_path(out)
    # By its suffix the file is known when it is opened.
    return path if path.suffix == ".safetensors" else path.with_name(f"{path.name}.safetensors")


def make_record(
    pretrained: OpenedRun, classes: tuple[str, ...], labels: float, data: str | Source | None, reading: ReadOptions
) -> FineTunedRecord:
    """Return what the file records.

    Args:
        pretrained: what was fine-tuned.
        classes: of the head.
        labels: share of the labels, or how many of each class.
        data, reading: the source and its options, as `OpenedRun.open_data` got them.
    """
    model, settings = pretrained.model, pretrained.settings
    network = {}
    if settings is not None and settings.names_a_file:
        network = {"backbone": settings.run.backbone, "backbone_kwargs": settings.run.backbone_kwargs}
    if isinstance(data, Source):
        opened: dict[str, Any] = {"data": f"{GIVEN}{data.name}"}
    else:
        spec, options = pretrained.data_options(data, **reading)
        # How numbers are brought to one scale is in the view policy.
        opened = {"data": spec, **options.model_dump(mode="json", exclude_defaults=True, exclude={"standardize"})}
    return FineTunedRecord(
        method=model.info.name,
        distribution=model.info.distribution,
        version=model.info.version,
        backbone=model.backbone_record,
        view_policy=model.view_policy,
        classes=classes,
        labels=labels,
        data={**network, **opened},
        seed=model.seed,
    )


def write_finetuned(model: FineTuning, path: Path, record: FineTunedRecord) -> None:
    """Write backbone, head and record, whole or not at all.

    Raises:
        SSLRegistryError: if it cannot be written; what was there stays.
    """
    parts = {BACKBONE: model.backbone, HEAD: model.head}
    tensors = {
        f"{prefix}{key}": value.detach().cpu().contiguous().clone()
        for prefix, part in parts.items()
        for key, value in part.state_dict().items()
    }
    with whole_file(path) as file:
        file.write(save(tensors, metadata=record.metadata()))
