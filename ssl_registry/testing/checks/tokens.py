"""Tokens of a network: what they are beside its plain forward pass, and what hidden patches can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_registry.contract.needs import needs_of
from ssl_registry.nn import Tokens, evaluating
from ssl_registry.nn import tokens as tokens_of
from ssl_registry.testing.check import CheckFailure, NotApplicable, check
from ssl_registry.testing.subject import Subject, ready_made

NEAR = 1e-4  # of the largest value: float32 adds up in another order where fewer tokens are in a batch


@check()
def tokens(subject: Subject) -> None:
    """After training, the tokens of backbone and product are still those that their plain forward pass computes.

    Why: what is learned on tokens is used through the plain forward pass, by every tool that loads the weights.
    Usual cause: a part of the network that is replaced or wrapped in `build_heads`, a `forward` or a method `tokens`
    that leaves out the positions, the last norm or the registers.
    """
    if not needs_of(subject.method_class).tokens:
        raise NotApplicable("its needs ask for no tokens")
    model = subject.model()
    subject.fit(model)
    x = subject.views(model, 4)[0]
    for word, network in (("backbone", model.backbone), ("product", model.product)):
        with torch.no_grad(), evaluating(network):
            plain = network(x)
            found = tokens_of(network, x)
            if not torch.equal(network(x), plain):
                raise CheckFailure(f"the {word}'s features are others after its tokens were asked for")
            if not (hasattr(network, "forward_features") and hasattr(network, "forward_head")):
                continue  # only timm says which tokens a plain forward pass has
            whole: Any = network.forward_features(x)  # type: ignore[operator]  # timm's
            pooled: Any = network.forward_head(whole, pre_logits=True)  # type: ignore[operator]  # as above
            if isinstance(norm := getattr(network, "fc_norm", None), nn.Module):
                whole = norm(whole)  # each token goes through it
        if not _near(plain, pooled):
            raise CheckFailure(f"the {word}'s plain forward pass does not pool the tokens of its forward_features")
        if whole.ndim == 3 and not _near(torch.cat([found.prefix, found.patches], 1), whole):
            raise CheckFailure(f"the {word}'s tokens are not those of its forward_features")


@dataclass
class _Call:
    """One forward pass that hides patches."""

    network: nn.Module
    x: Tensor
    arguments: Mapping[str, Any]
    grid: tuple[int, ...]

    @property
    def hidden(self) -> Tensor:
        """Which patches are hidden, bool [batch, patches]."""
        keep, mask = self.arguments.get("keep"), self.arguments.get("mask")
        number = int(torch.tensor(self.grid).prod())
        hidden = torch.zeros(len(self.x), number, dtype=torch.bool)
        if keep is not None:
            hidden = torch.ones_like(hidden).scatter_(1, keep, torch.zeros_like(keep, dtype=torch.bool))
        return hidden if mask is None else hidden | mask

    def elsewhere(self) -> Tensor:
        """Return the inputs with other values where patches are hidden."""
        where = self.hidden.to(self.x.dtype)
        if self.x.ndim > 2:  # the features of a table are its patches
            where = functional.interpolate(where.view(-1, 1, *self.grid), self.x.shape[2:])
        return self.x + where * torch.randn(self.x.shape, generator=torch.Generator().manual_seed(0))


@dataclass
class _Calls:
    """Notes the forward passes that hide patches, in any network of a model."""

    found: list[_Call] = field(default_factory=list)

    def __call__(self, network: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        hides = kwargs.get("keep") is not None or kwargs.get("mask") is not None
        if hides and isinstance(output, Tokens):
            known = {key: kwargs.get(key) for key in ("keep", "mask", "mask_token", "layers")}
            detached = {key: value.detach() if isinstance(value, Tensor) else value for key, value in known.items()}
            self.found.append(_Call(network, args[0].detach(), detached, output.grid))


@check()
def masking(subject: Subject) -> None:
    """What a network is not to see changes nothing of what it computes: pixels of dropped and of masked patches.

    Why: a network that can see what it shall predict learns to copy; the loss falls fast, and the features are poor.
    Usual cause: patches that are dropped or masked behind the first block, where attention has spread them already.
    What a loss computes of all patches by itself, without `keep` and `mask`, is not looked at: targets do that.
    """
    if not needs_of(subject.method_class).tokens:
        raise NotApplicable("its needs ask for no tokens")
    model, calls = subject.model(), _Calls()
    hooks = [part.register_forward_hook(calls, with_kwargs=True) for part in model.modules()]
    with torch.no_grad():
        model.batch_loss(ready_made(subject.views(model)), 0)
    for hook in hooks:
        hook.remove()
    hiding = [call for call in calls.found if call.hidden.any()]
    if not hiding:
        raise NotApplicable("its loss hides no patches: it gives neither keep nor mask")
    names = {id(part): name for name, part in model.named_modules()}
    for call in hiding:
        with torch.no_grad(), evaluating(call.network):
            seen, changed = (tokens_of(call.network, x, **call.arguments) for x in (call.x, call.elsewhere()))
        for a, b in zip((*seen[:2], *seen.layers), (*changed[:2], *changed.layers), strict=True):
            if not _near(a, b):
                way = "dropped (keep)" if call.arguments["keep"] is not None else "masked (mask)"
                raise CheckFailure(f"{names[id(call.network)]}: pixels of {way} patches change what it computes")


def _near(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=NEAR * float(b.abs().max()) if b.numel() else 0)
