"""Which part of a data set a name means: one reading for folders, tables, shards, arrays and Hugging Face's splits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["HELD_OUT", "PartName", "Split", "folder_part", "name_part", "part_level", "split_names", "split_paths"]

PartName = Literal["train", "test", "validation", "unlabeled"]

# The words that data sets of the Hub, torchvision, Kaggle and LibriSpeech use for their parts.
WORDS: dict[str, PartName] = {
    **dict.fromkeys(("train", "training", "tr", "trn"), "train"),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "dev", "holdout"), "validation"),
    **dict.fromkeys(("unlabeled", "unlabelled", "unsupervised", "unsup"), "unlabeled"),
}
# What is written beside such a word in the name of a folder and says nothing of its own: train_images, seg_train.
FILLERS = frozenset(
    [
        "set",
        "split",
        "part",
        "data",
        "dataset",
        "image",
        "images",
        "img",
        "imgs",
        "sample",
        "samples",
        "seg",
        "file",
        "files",
        "folder",
    ]
)
# Of several held-out parts the first of these is taken.
HELD_OUT: tuple[PartName, ...] = ("test", "validation")


@dataclass(frozen=True)
class Split:
    """Names by part, each as it was given.

    Args:
        train: what is trained on, with labels where there are some.
        unlabeled: what is trained on without labels.
        test: the held-out part; empty where there is none.
        validation: a second held-out part, which is left out.
        train_is_named: whether a name said that it is the train part.
    """

    train: tuple[str, ...]
    unlabeled: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    train_is_named: bool = False


def folder_part(name: str) -> PartName | None:
    """Return the part that a folder's whole name means.

    >>> [folder_part(name) for name in ("Train", "val2017", "test_images", "hold-out", "train_station", "cat")]
    ['train', 'validation', 'test', 'validation', None, None]
    """
    found = [word for word in _words(name) if word not in FILLERS]
    return WORDS.get(found[0]) if len(found) == 1 else None


def name_part(name: str) -> PartName | None:
    """Return the part that a file's name means: by its first word, its last, or the only one that is a part's.

    >>> [name_part(name) for name in ("train-00000-of-00002", "cifar_train", "x_Test_1", "values_2", "testament")]
    ['train', 'train', 'test', None, None]
    """
    words = _words(name)
    if not words:
        return None
    ends = WORDS.get(words[0]) or WORDS.get(words[-1])
    if ends is not None:
        return ends
    within = {WORDS[word] for word in words if word in WORDS}
    return within.pop() if len(within) == 1 else None


def part_level(folders: Iterable[tuple[str, ...]]) -> int | None:
    """Find the level of folders that are parts: a train part beside another.

    It is the first level at which folders differ, or one below class folders each of which has the same parts.

    Args:
        folders: of each file, the names of its folders from the root down.

    Example:
        >>> part_level([("set", "Train", "cat"), ("set", "val", "cat"), ("set", "masks")])
        1
        >>> part_level([("cat", "train"), ("cat", "test"), ("dog", "train"), ("dog", "test")])
        1
        >>> part_level([("cat",), ("dog",)]) is None
        True
    """
    distinct = {path for path in folders if path}  # what lies in the root itself is in no part
    first = True
    for level in range(max(map(len, distinct), default=0)):
        names = {path[level] if len(path) > level else "" for path in distinct}
        parts = {name: folder_part(name) for name in names}
        found = set(parts.values()) - {None}
        if "train" in found and len(found) > 1 and (first or None not in parts.values()):
            return level
        first = first and len(names - {""}) == 1
    return None


def split_names(names: Sequence[str], parts: Sequence[PartName | None]) -> Split:
    """Sort names into parts.

    Without a held-out part, or where all of them are held out, everything is trained on. What has no part's name is
    trained on too.

    >>> split_names(["a", "b", "c"], ["train", "test", None])
    Split(train=('a', 'c'), unlabeled=(), test=('b',), validation=(), train_is_named=True)
    """
    by: dict[PartName | None, list[str]] = {}
    for name, part in zip(names, parts, strict=True):
        by.setdefault(part, []).append(name)
    train = (*by.get("train", ()), *by.get(None, ()))
    unlabeled = tuple(by.get("unlabeled", ()))
    held = [tuple(by[part]) for part in HELD_OUT if part in by]
    if not train and not (unlabeled and held):
        # The user named held-out files alone: they are the data.
        return Split(tuple(names))
    test = held[0] if held else ()
    return Split(train, unlabeled, test, held[1] if len(held) > 1 else (), "train" in by)


def split_paths(paths: Sequence[str | Path]) -> Split:
    """Sort files into parts, by their folders where these are parts, else by their own names.

    >>> split_paths(["conv/train/0000.parquet", "conv/test/0000.parquet"])
    Split(train=('conv/train/0000.parquet',), unlabeled=(), test=('conv/test/0000.parquet',), validation=(), \
train_is_named=True)
    """
    names = [str(path) for path in paths]
    folders = [Path(name).parts[:-1] for name in names]
    level = part_level(folders)
    if level is not None:
        parts = [folder_part(folder[level]) if len(folder) > level else None for folder in folders]
    else:
        parts = [name_part(Path(name).name.partition(".")[0]) for name in names]
    return split_names(names, parts)


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case, without numbers and the "set" behind them.

    >>> _words("Train2017-00000-of-00002"), _words("myTestSet"), _words("un-labelled")
    (['train'], ['my', 'test'], ['unlabelled'])
    """
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    joined = re.sub(r"\b(hold|un)[-_ ]+(?=out|label|super)", r"\1", split.lower().replace("_", " "))
    words = re.sub(r"[\W\d]+", " ", joined).split()
    short = (word.removesuffix("set") if word.removesuffix("set") in WORDS else word for word in words)
    return [word for word in short if word not in ("of", "set")]
