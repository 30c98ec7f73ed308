"""What stands before a backbone's names in a file, and numbers in the place of its parts' names."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from torch import Tensor

__all__ = ["numbered", "part_of", "prefixes_of", "telling_words"]

# So many prefixes are looked at closely: a file has at most a few networks.
MOST_PREFIXES = 16
# So many places are tried where parts may stand under numbers: each list of blocks is one.
MOST_LISTS = 30
LONGEST_NUMBER = 4


def prefixes_of(own: Mapping[str, Tensor], names: Mapping[str, str]) -> list[str]:
    """Return what stands before names of the backbone, by the number of them."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in own:
                counts[".".join(parts[:start])] += 1
    return [prefix for prefix, _ in counts.most_common(MOST_PREFIXES)]


def numbered(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield prefixes under which parts of a backbone may stand under numbers, and the file's names by the true ones.

    ``nn.Sequential(*resnet.children())`` has ``0.weight`` for ``conv1.weight``: the numbers that have tensors are
    the parts that have tensors, in order.
    """
    children = list(dict.fromkeys(name.partition(".")[0] for name in own))
    if all(child.isdecimal() for child in children):
        return
    lists: defaultdict[str, defaultdict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in tensors:
        parts = name.split(".")
        for place, part in enumerate(parts[:-1]):
            if part.isascii() and part.isdecimal() and len(part) <= LONGEST_NUMBER:
                lists[".".join(parts[:place])][int(part)].append(name)
    long = ((prefix, found) for prefix, found in lists.items() if len(found) >= len(children))
    for prefix, found in itertools.islice(long, MOST_LISTS):
        before = f"{prefix}." if prefix else ""
        names = {
            f"{before}{child}.{name.removeprefix(before).partition('.')[2]}": name
            for number, child in zip(sorted(found), children, strict=False)
            for name in found[number]
        }
        if any(f"{before}{name}" in names for name in own):
            yield prefix, names


def part_of(name: str, prefix: str) -> str:
    """Return the part of a file that a tensor belongs to: as much of its name as it shares with a prefix, and one more.

    >>> part_of("model.decoder.0.weight", "model.encoder"), part_of("model.encoder.fc.weight", "model.encoder")
    ('model.decoder', 'model.encoder.fc')
    """
    parts, before = name.split("."), prefix.split(".") if prefix else []
    shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(parts, before, strict=False)))
    return ".".join(parts[: shared + 1])


def telling_words(prefixes: list[str]) -> list[str]:
    """Return for each prefix the first part that no other one has.

    >>> telling_words(["student.module.backbone", "teacher.backbone"])
    ['student', 'teacher']
    """
    parts = [prefix.split(".") for prefix in prefixes]
    others = [{part for other in parts if other is not own for part in other} for own in parts]
    return [
        next((part for part in own if part not in there), prefix)
        for own, there, prefix in zip(parts, others, prefixes, strict=True)
    ]
