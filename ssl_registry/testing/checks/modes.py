"""Normalisation: in which mode it runs, and over which samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_registry import hookimpl
from ssl_registry.contract.declares import declares_of
from ssl_registry.model.module import SSLModule
from ssl_registry.testing.check import CheckFailure, NotApplicable, check
from ssl_registry.testing.checks.following import pairs
from ssl_registry.testing.subject import BATCH, Subject

EPOCHS = 4  # as for frozen phases


@dataclass
class _Norms:
    """An observer that notes how each normalisation layer is used in a loss."""

    still: set[str] = field(default_factory=set)  # used with running statistics, while its part trains
    views: int = 1
    shared: dict[str, int] = field(default_factory=dict)  # how many views' samples it was given at once
    used: bool = False

    @hookimpl(wrapper=True)
    def compute_loss(self, model: SSLModule) -> Any:
        """Watch the method's own."""
        with self._watch(model):
            return (yield)

    @contextmanager
    def _watch(self, model: SSLModule) -> Iterator[None]:
        with ExitStack() as stack:
            for name, part in model.named_modules():
                if isinstance(part, _BatchNorm):
                    stack.callback(part.register_forward_pre_hook(self._note(model, name)).remove)
            yield

    def _note(self, model: SSLModule, name: str) -> Any:
        def note(norm: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
            self.used = True
            if not norm.training and not any(_is_in(name, frozen) for frozen in model.frozen):
                self.still.add(name)
            count = len(inputs[0]) // BATCH
            if norm.training and len(inputs[0]) % BATCH == 0 and 1 < count <= model.view_policy.num_views:
                self.shared[name] = max(count, self.shared.get(name, 0))

        return note


def _is_in(name: str, part: str) -> bool:
    return f"{name.removeprefix('heads.')}.".startswith(f"{part}.")


@check()
def modes(subject: Subject) -> None:
    """BatchNorm uses the batch's statistics in what trains and in its targets, those of one view at a time.

    Why: running statistics in a trained network or its target are another function than the paper's, and the reason for
    collapses that were hard to find; two views in one batch see each other through the statistics.
    Usual cause: `.eval()` on a target or on the backbone, `torch.cat(views)` before the network. Where a paper does it,
    say so: `declares = Declares(statistics={"target": ...}, shared_statistics=...)`.
    """
    watch = _Norms()
    model = subject.model(observers=[watch])
    targets = {pair.head for pair in pairs(model)}
    subject.fit(model, max_epochs=EPOCHS)
    if not watch.used:
        raise NotApplicable("its loss goes through no BatchNorm")
    declared = declares_of(subject.method_class)
    found: dict[str, str] = {}
    for name in sorted(watch.still):
        part = _part(name)
        trains = any(p.requires_grad for p in model.get_submodule(name).parameters()) or part == "backbone"
        if trains or part in targets:
            found.setdefault(part, name)
    for part, name in found.items():
        if part not in declared.statistics:
            raise CheckFailure(
                f"{name} runs on running statistics in training; leave it in train mode (nn.MomentumTeacher does), or "
                f"declare statistics={{{part!r}: ...}}"
            )
    for part in declared.statistics:
        if part not in found:
            raise CheckFailure(f"statistics of {part} are declared as running ones, and are the batch's; take it off")
    if watch.shared and not declared.shared_statistics:
        name, count = next(iter(watch.shared.items()))
        raise CheckFailure(
            f"{name} takes its statistics over {count} views at once; pass the views one by one, or declare "
            "shared_statistics"
        )
    if declared.shared_statistics and not watch.shared:
        raise CheckFailure(
            "shared_statistics is declared, and no BatchNorm is given several views at once; take it off"
        )


def _part(name: str) -> str:
    first, _, rest = name.partition(".")
    return rest.partition(".")[0] if first == "heads" else first
