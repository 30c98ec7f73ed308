"""Finding a backbone among the tensors of a file, whatever toolbox wrote it.

Toolboxes differ in what stands before a network's names: ``state_dict.module.encoder_q.``, ``teacher.backbone.``,
``model.``. Here none of them is known by name: the one prefix is looked for under which all names and shapes of the
backbone are. Where several networks are in a file, the user chooses.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ssl_registry._system.terminal import one_line
from ssl_registry.checkpoint.fit import COUNTER, converted_by_timm, listed, problem_of
from ssl_registry.errors import BackboneError

__all__ = ["MEND", "Found", "find_backbone"]

MEND = "give the same --backbone, channels and stem that they were trained with"
# So many prefixes are looked at closely: a file has at most a few networks.
MOST_PREFIXES = 16


@dataclass(frozen=True)
class Found:
    """A backbone's tensors in a file.

    Args:
        prefix: what stands before their names, without the last dot.
        weights: by the names of the backbone's own state dict.
        problem: why they do not fit; empty if they do.
        score: how many names of the backbone are there.
        left: what else there is: names of parts, with the number of tensors.
        missing: how many of BatchNorm's counters are not there.
        resampled: position embeddings that timm brought to the backbone's grid, in words.
    """

    prefix: str
    weights: Mapping[str, Tensor]
    problem: str
    score: int
    left: Mapping[str, int]
    missing: int = 0
    resampled: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f" from {one_line(self.prefix)!r}" if self.prefix else ""
        parts = [f"the whole backbone loaded{where}, {len(self.weights)} tensors"]
        if self.missing:
            parts.append(f"missing: {self.missing} of BatchNorm's {COUNTER}, on which no feature depends")
        if self.left:
            groups = [f"{one_line(name)[:80]} ({count})" for name, count in itertools.islice(self.left.items(), 6)]
            parts.append(f"left: {', '.join(groups)}{' and more' if len(self.left) > 6 else ''}")
        parts += [f"brought to this grid by timm: {one_line(line)}" for line in self.resampled]
        return "; ".join(parts)


def find_backbone(module: nn.Module, tensors: Mapping[str, Tensor], network: str | None = None) -> Found:
    """Return the tensors of a file that are a backbone's.

    Args:
        module: the backbone.
        tensors: of the file, by dotted name.
        network: a part of the names before the backbone's, such as ``teacher`` or ``module.encoder_q``, which chooses
            where several networks fit.

    Raises:
        BackboneError: if no prefix has the whole backbone, with the first differences; or if several have it, with
            other numbers, and ``network`` does not choose one.

    Example:
        >>> weights = {"model.0.bias": torch.ones(2), "model.0.weight": torch.ones(2, 3), "model.head": torch.ones(9)}
        >>> print(find_backbone(nn.Linear(3, 2), weights))
        the whole backbone loaded from 'model.0', 2 tensors; left: model.head (1)
    """
    candidates = _candidates(module, tensors)
    if network is not None:
        parts = [one for one in candidates if f".{network}." in f".{one.prefix}."]
        candidates = [one for one in candidates if one.prefix == network] or parts
        if not candidates:
            known = ", ".join(sorted({one_line(name.partition(".")[0])[:40] for name in tensors})[:8])
            raise BackboneError(f"there is no part {network!r} with tensors of this backbone; at its top are: {known}")
    if not candidates:
        raise BackboneError(
            f"no tensor of it has the name of one of the backbone's, such as {next(iter(module.state_dict()))}; it has "
            f"{listed(list(tensors), tensors)}. Build their network in a file of yours: --backbone FILE.py:NAME"
        )
    fitting = [one for one in candidates if not one.problem]
    if not fitting:
        nearest = max(candidates, key=lambda one: one.score)
        where = f"under {one_line(nearest.prefix)!r} " if nearest.prefix else ""
        raise BackboneError(f"{where}{nearest.problem}; {MEND}")
    first, *others = fitting
    if not all(_same(first.weights, other.weights) for other in others):
        prefixes = [one.prefix for one in fitting]
        raise BackboneError(
            f"it holds {len(fitting)} networks that fit, {_quoted(prefixes)}; choose one by a part of its name, such as "
            f"{_quoted(_words(prefixes))}, with --from-network of train, --network of other commands, weights_network= "
            "of registry.create"
        )
    return first


def _candidates(module: nn.Module, tensors: Mapping[str, Tensor]) -> list[Found]:
    """Return what stands under each prefix that has names of the backbone, most names first."""
    own = module.state_dict()
    return sorted(
        (
            _judged(module, own, names, prefix, tensors)
            for names in (dict(zip(tensors, tensors, strict=True)), *_numbered(own, tensors))
            for prefix in _prefixes(own, names)
        ),
        key=lambda found: -found.score,
    )


def _prefixes(own: Mapping[str, Tensor], names: Mapping[str, str]) -> list[str]:
    """Return what stands before names of the backbone, by the number of them."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in own:
                counts[".".join(parts[:start])] += 1
    return [prefix for prefix, _ in counts.most_common(MOST_PREFIXES)]


def _numbered(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Iterator[dict[str, str]]:
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
    for prefix, found in itertools.islice(numbers.items(), 100):
        if len(found) < len(children):
            continue
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


def _judged(
    module: nn.Module, own: Mapping[str, Tensor], names: Mapping[str, str], prefix: str, tensors: Mapping[str, Tensor]
) -> Found:
    """Compare what stands under a prefix with the backbone."""
    before = f"{prefix}." if prefix else ""
    under = {name.removeprefix(before): tensors[old] for name, old in names.items() if name.startswith(before)}
    used = {names[f"{before}{name}"] for name in own if name in under}
    left = Counter(_part(name, prefix) for name in tensors if name not in used)
    problem, resampled = problem_of(module, own, under), ()
    score = len(used)
    converted = converted_by_timm(module, under) if problem and 2 * score >= len(own) else None
    if converted is not None and not problem_of(module, own, converted):
        changed = {name: (under[name], converted[name]) for name in own if name in under}
        changed = {name: pair for name, pair in changed.items() if pair[0].shape != pair[1].shape}
        # Patches of another size are another network; positions of another grid are the same one on other images.
        if all("pos" in name for name in changed):
            under, problem = converted, ""
            resampled = tuple(f"{name} {list(old.shape)} to {list(new.shape)}" for name, (old, new) in changed.items())
    weights = {name: under[name] for name in own if name in under}
    return Found(prefix, weights, problem, score, left, len(own) - len(weights), resampled)


def _part(name: str, prefix: str) -> str:
    """Return the part of a file that a tensor belongs to: as much of its name as it shares with a prefix, and one more.

    >>> _part("model.decoder.0.weight", "model.encoder"), _part("model.encoder.fc.weight", "model.encoder")
    ('model.decoder', 'model.encoder.fc')
    """
    parts, before = name.split("."), prefix.split(".") if prefix else []
    shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(parts, before, strict=False)))
    return ".".join(parts[: shared + 1])


def _words(prefixes: list[str]) -> list[str]:
    """Return for each prefix the first part that no other one has.

    >>> _words(["student.module.backbone", "teacher.backbone"])
    ['student', 'teacher']
    """
    parts = [prefix.split(".") for prefix in prefixes]
    others = [{part for other in parts if other is not own for part in other} for own in parts]
    return [
        next((part for part in own if part not in there), prefix)
        for own, there, prefix in zip(parts, others, prefixes, strict=True)
    ]


def _quoted(names: list[str]) -> str:
    return " and ".join(repr(one_line(name)[:80]) for name in names[:4])


def _same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        value.dtype == second[name].dtype and torch.equal(value, second[name]) for name, value in first.items()
    )
