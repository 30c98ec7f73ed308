"""How other tools call our options: what a user writes out of habit, and what it is called here."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from ssl_registry.cli.words import dashed

__all__ = ["SYNONYMS", "suggested"]

# Names that neither spelling nor `difflib` brings near ours.
SYNONYMS = {
    **dict.fromkeys(("lr", "learning_rate", "base_lr", "lr0"), ("learning_rate",)),
    **dict.fromkeys(("bs", "batch", "batchsize", "per_device_train_batch_size"), ("batch_size",)),
    **dict.fromkeys(("imgsz", "img_size", "img", "size", "resolution", "crop_size", "input_size"), ("image_size",)),
    **dict.fromkeys(("arch", "model", "encoder", "net", "architecture"), ("backbone",)),
    **dict.fromkeys(("dataset", "data_path", "data_dir", "data_folder", "train_dir", "input", "path"), ("data",)),
    **dict.fromkeys(("num_workers", "n_workers", "j"), ("workers",)),
    **dict.fromkeys(("wd", "decay"), ("weight_decay",)),
    **dict.fromkeys(("output", "output_dir", "out_dir", "save_dir", "project", "dir", "o"), ("out",)),
    **dict.fromkeys(("max_epochs", "num_epochs", "n_epochs", "ep"), ("epochs",)),
    **dict.fromkeys(("max_steps", "steps", "iterations"), ("trainer.max_steps",)),
    **dict.fromkeys(("gpus", "gpu", "device", "num_gpus"), ("devices", "trainer.devices")),
    **dict.fromkeys(("fp16", "bf16", "amp", "precision"), ("trainer.precision",)),
    **dict.fromkeys(("weights", "checkpoint", "ckpt", "init", "pretrained_path", "finetune"), ("from", "start_from")),
    **dict.fromkeys(("k_neighbors", "neighbors"), ("k",)),
    **dict.fromkeys(("fraction", "label_fraction", "share"), ("labels",)),
    "target": ("label_column",),
}


def suggested(wrong: str, known: Collection[str], *, in_file: bool = False) -> str:
    """Return the right name of an option in words, or an empty string.

    Args:
        wrong: as it was written, without the dashes in front.
        known: options that there are, without them.
        in_file: whether it stands in a file, where names have underscores.

    Example:
        >>> suggested("lr", ["learning_rate", "data"]), suggested("imgsz", ["image-size"])
        (' Did you mean --learning-rate?', ' Did you mean --image-size?')
        >>> suggested("batch_sise", ["batch_size"]), suggested("xyz", ["batch_size"])
        (' Did you mean --batch-size?', '')
        >>> suggested("batch-size", ["batch_size"], in_file=True)
        " Did you mean 'batch_size'?"
    """
    written = repr if in_file else dashed
    plain = {name.replace("-", "_"): name for name in known}
    asked = wrong.replace("-", "_").lower()
    near = [name for name in SYNONYMS.get(asked, ()) if name in plain][:1]
    near = near or difflib.get_close_matches(asked, plain, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(written, near))}?" if near else ""
