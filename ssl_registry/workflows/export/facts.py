"""What every export tells of itself: the input, its preparation, and where the weights come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ssl_registry._system.secrets import published_name
from ssl_registry._version import __version__
from ssl_registry.runs.opened import OpenedRun

__all__ = ["FACTS", "export_facts", "write_json"]

FACTS = "config.json"


def export_facts(run: OpenedRun) -> dict[str, Any]:
    """Return what a user of the export must know, in plain values.

    ``num_classes`` is 0 where the outputs are features; of a classifier ``label_names`` are the classes in the order of
    its scores. Of a table ``features`` are the inputs by name, and ``table`` tells how its columns became them: medians
    for what is missing, categories, dates (see `ssl_registry.views.columns.Column`).
    """
    model, record = run.model, run.model.backbone_record
    channels = model.input_shape[0]
    # Of images by the view policy; of signals and tables by the source that it learnt from.
    mean, std = model.view_policy.standardized or (model.view_policy.mean, model.view_policy.std)
    columns = model.view_policy.columns
    table = {} if columns is None else {"features": list(columns.features), "table": columns.model_dump(mode="json")}
    classes = {} if run.classifier is None else {"label_names": list(run.classifier.classes)}
    return {
        "input_size": list(model.input_shape),
        "mean": list(mean or (0.0,) * channels),
        "std": list(std or (1.0,) * channels),
        "num_features": model.feature_dim,
        "num_classes": len(classes.get("label_names", ())),
        **classes,
        **table,
        "ssl_registry": {
            "version": __version__,
            "method": model.info.name,
            "distribution": model.info.distribution,
            "method_version": model.info.version,
            "backbone": record.title,
            "finetuned": run.classifier is not None,
            "low_resolution": record.low_resolution,
            "pooling": record.pooling,
            "data": published_name(run.data),
        },
    }


def write_json(facts: dict[str, Any], folder: Path) -> None:
    """Write facts as ``config.json``, by which a folder is known as an export."""
    (folder / FACTS).write_text(json.dumps(facts, indent=2), encoding="utf-8")
