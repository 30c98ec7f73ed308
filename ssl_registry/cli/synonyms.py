"""How other tools call our options: what a user writes out of habit, and what it is called here."""

from __future__ import annotations

from collections.abc import Collection

from ssl_registry.cli.words import dashed
from ssl_registry.errors import did_you_mean

__all__ = ["suggested"]

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


def suggested(wrong: str, known: Collection[str]) -> str:
    """Return the right name of an option in words, or an empty string.

    Args:
        wrong: as it was written, without the dashes in front.
        known: options that there are, without them.

    Example:
        >>> suggested("lr", ["learning_rate", "data"]), suggested("imgsz", ["image-size"])
        (' Did you mean --learning-rate?', ' Did you mean --image-size?')
        >>> suggested("batch_sise", ["batch_size"]), suggested("xyz", ["batch_size"])
        (' Did you mean --batch-size?', '')
    """
    plain = {name.replace("-", "_"): name for name in known}
    asked = wrong.replace("-", "_").lower()
    for name in SYNONYMS.get(asked, ()):
        if name in plain:
            return f" Did you mean {dashed(name)}?"
    # Quoted words of `did_you_mean` become options.
    words = did_you_mean(asked, plain)
    for name in plain:
        words = words.replace(repr(name), dashed(name))
    return words
