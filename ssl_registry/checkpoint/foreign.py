"""Finding a backbone among the tensors of a file, whatever toolbox wrote it.

Toolboxes differ in what stands before a network's names: ``state_dict.module.encoder_q.``, ``teacher.backbone.``,
``model.``. Here none of them is known by name: the one prefix is looked for under which all names and shapes of the
backbone are. Where several networks are in a file, the user chooses.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ssl_registry._system.terminal import one_line
from ssl_registry.checkpoint.fit import COUNTER, converted_by_timm, listed, problem_of
from ssl_registry.checkpoint.prefixes import numbered, part_of, prefixes_of, telling_words
from ssl_registry.errors import BackboneError

__all__ = ["MEND", "Found", "find_backbone"]

MEND = "give the same --backbone, channels and stem that they were trained with"
BUILD = "it is another network: build that in a file of yours, --backbone FILE.py:NAME (a module in Python)"


@dataclass(frozen=True)
class Found:
    """A backbone's tensors in a file.

    Args:
        prefix: what stands before their names, without the last dot.
        weights: by the names of the backbone's own state dict.
        problem: why they do not fit; empty if they do.
        score: how many names of the backbone are there.
        used: their names in the file.
        missing: how many of BatchNorm's counters are not there.
        resampled: position embeddings that timm brought to the backbone's grid, in words.
        left: what else there is: names of parts, with the number of tensors.
    """

    prefix: str
    weights: Mapping[str, Tensor]
    problem: str
    score: int
    used: Set[str]
    missing: int = 0
    resampled: tuple[str, ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)

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
        own = next(iter(module.state_dict()), "none")
        raise BackboneError(
            f"no tensor of it has the name of one of the backbone's, such as {own}; it has "
            f"{listed(list(tensors), tensors)}; {BUILD}"
        )
    fitting = [one for one in candidates if not one.problem]
    if not fitting:
        nearest = max(candidates, key=lambda one: one.score)
        where = f"under {one_line(nearest.prefix)!r} " if nearest.prefix else ""
        near = 2 * nearest.score >= len(module.state_dict())
        raise BackboneError(f"{where}{nearest.problem}; {MEND if near else BUILD}")
    first, *others = fitting
    if not all(_same(first.weights, other.weights) for other in others):
        prefixes = [one.prefix for one in fitting]
        raise BackboneError(
            f"it holds {len(fitting)} networks that fit, {_quoted(prefixes)}; choose one by a part of its name, such "
            f"as {_quoted(telling_words(prefixes))}, with --from-network of train, --network of other commands, "
            "weights_network= of registry.create"
        )
    return replace(first, left=Counter(part_of(name, first.prefix) for name in tensors if name not in first.used))


def _candidates(module: nn.Module, tensors: Mapping[str, Tensor]) -> list[Found]:
    """Return what stands under each prefix that has names of the backbone, most names first."""
    own = module.state_dict()
    plain = dict(zip(tensors, tensors, strict=True))
    places = [*((prefix, plain) for prefix in prefixes_of(own, plain)), *numbered(own, tensors)]
    found = [_judged(module, own, names, prefix, tensors) for prefix, names in places]
    return sorted(found, key=lambda one: -one.score)


def _judged(
    module: nn.Module, own: Mapping[str, Tensor], names: Mapping[str, str], prefix: str, tensors: Mapping[str, Tensor]
) -> Found:
    """Compare what stands under a prefix with the backbone."""
    before = f"{prefix}." if prefix else ""
    old_names = {name.removeprefix(before): old for name, old in names.items() if name.startswith(before)}
    weights: Mapping[str, Tensor] = {name: tensors[old] for name, old in old_names.items()}
    used = {old_names[name] for name in own if name in weights}
    score, problem, resampled = len(used), problem_of(module, own, weights), {}
    if problem and 2 * score >= len(own) and (converted := converted_by_timm(module, weights)) is not None:
        changes = {name: (weights[name].shape, converted[name].shape) for name in weights if name in converted}
        resampled = {name: pair for name, pair in changes.items() if name in own and pair[0] != pair[1]}
        # Patches of another size are another network; positions of another grid are the same one on other images.
        if all("pos" in name for name in resampled) and not problem_of(module, own, converted):
            taken = {id(converted[name]) for name in own if name in converted}  # some under a new name
            used |= {old for name, old in old_names.items() if id(weights[name]) in taken}
            weights, problem = converted, ""
    return Found(
        prefix,
        {name: weights[name] for name in own if name in weights},
        problem,
        score,
        used,
        sum(name not in weights for name in own),
        tuple(f"{name} {list(old)} to {list(new)}" for name, (old, new) in resampled.items()),
    )


def _quoted(names: list[str]) -> str:
    return " and ".join(repr(one_line(name)[:80]) for name in names[:4])


def _same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        value.dtype == second[name].dtype and torch.equal(value, second[name]) for name, value in first.items()
    )
