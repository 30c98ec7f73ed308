"""What stands before a backbone's names in a file, and numbers in the place of its parts' names."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from torch import Tensor

__all__ = ["numbered", "part_of", "prefixes_of", "telling_words"]

# So many prefixes are looked at closely: a file has at most a few networks.
MOST_PREFIXES = 16
# So many places are tried where parts may stand under numbers: each list of blocks is one.
MOST_LISTS = 30


def prefixes_of(own: Mapping[str, Tensor], names: Mapping[str, str]) -> list[str]:
    """Return what stands before names of the backbone, by the number of them."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in own:
                counts[".".join(parts[:start])] += 1
    return [prefix for prefix, _ in counts.most_common(MOST_PREFIXES)]


def numbered(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Iterator[dict[str, str]]:
    """Yield the file's names by new ones, where parts of a backbone stand in an ``nn.Sequential``, under numbers.

    ``nn.Sequential(*resnet.children())`` has ``0.weight`` for ``conv1.weight``: the numbers that have tensors are
    the parts that have tensors, in order.
    """
    children = list(dict.fromkeys(name.partition(".")[0] for name in own))
    if all(child.isdecimal() for child in children):
        return
    numbers: defaultdict[str, set[int]] = defaultdict(set)
    for name in tensors:
        parts = name.split(".")
        for place, part in enumerate(parts):
            if re.fullmatch(r"[0-9]{1,4}", part):
                numbers[".".join(parts[:place])].add(int(part))
    long = ((prefix, found) for prefix, found in numbers.items() if len(found) >= len(children))
    for prefix, found in itertools.islice(long, MOST_LISTS):
        before = f"{prefix}." if prefix else ""
        renamed = {
            f"{before}{number}.": f"{before}{child}." for number, child in zip(sorted(found), children, strict=False)
        }
        names = {}
        for name in tensors:
            head = re.match(rf"{re.escape(before)}[0-9]{{1,4}}\.", name)
            if head is not None and head[0] in renamed:
                names[renamed[head[0]] + name[head.end() :]] = name
        yield names


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
