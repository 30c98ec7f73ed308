"""`apply_each`: many small networks of one architecture applied to one input, together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["apply_each"]

# Layers without parameters that do to each row, or to each entry, the same whatever stands beside it.
ROW_BY_ROW = (
    nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Hardtanh
)  # fmt: skip
# On a CPU, weights of so many entries keep it busy by themselves; copying them into a stack takes longer than it saves.
WIDE = 1 << 18


def apply_each(modules: Iterable[nn.Module], x: Tensor) -> Tensor | list[Tensor]:
    """Apply every module to the same input; those of one architecture in one computation.

    Linear layers with functions of single entries between them, alone or in `nn.Sequential`, become one wide
    matrix product and then one batched product a layer, over weights that are stacked on the way: the modules
    and their state dict stay what they are, and each gets its own gradient. All else, modules that differ among
    themselves or have hooks included, is called one by one, and so are layers of 2^18 weights and more on a CPU.

    Args:
        modules: K modules, each mapping ``x`` to [batch, ...].
        x: their common input, [batch, ...].

    Returns:
        [K, batch, features] where they were computed together, else the list of the K outputs.

    Example:
        >>> layers = nn.ModuleList(nn.Linear(3, 2) for _ in range(5))
        >>> apply_each(layers, torch.zeros(4, 3)).shape
        torch.Size([5, 4, 2])
    """
    modules = list(modules)
    chains = [_chain(module) for module in modules] if x.ndim == 2 and len(modules) > 1 else []
    if not chains or not all(chain and _same(chain, chains[0]) for chain in chains) or _wide(chains[0]):
        return [module(x) for module in modules]
    out = x  # [batch, features], until the first linear layer makes it [K, batch, features]
    for layers in zip(*chains, strict=True):
        out = _linear(layers, out) if isinstance(layers[0], nn.Linear) else layers[0](out)
    return out if out.ndim == 3 else out.expand(len(modules), *out.shape)


def _chain(module: nn.Module) -> list[nn.Module]:
    """Return the layers that a module applies one after the other, or nothing if it may do anything else."""
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        return []
    if type(module).forward is nn.Sequential.forward:
        parts = [_chain(part) for part in module.children()]
        return [layer for part in parts for layer in part] if all(parts) else []
    return [module] if type(module) in (nn.Linear, *ROW_BY_ROW) else []


def _same(chain: Sequence[nn.Module], first: Sequence[nn.Module]) -> bool:
    """Whether two chains differ in nothing but the values of their weights."""
    return len(chain) == len(first) and all(
        type(a) is type(b)
        and (
            (a.weight.shape, a.weight.dtype, a.bias is None) == (b.weight.shape, b.weight.dtype, b.bias is None)
            if isinstance(a, nn.Linear) and isinstance(b, nn.Linear)
            else a.extra_repr() == b.extra_repr()
        )
        for a, b in zip(chain, first, strict=True)
    )


def _wide(chain: Sequence[nn.Module]) -> bool:
    """Whether a layer is so wide that stacking costs more than it saves."""
    weights = [layer.weight for layer in chain if isinstance(layer, nn.Linear)]
    return any(weight.numel() >= WIDE and weight.device.type == "cpu" for weight in weights)


def _linear(layers: Sequence[nn.Linear], x: Tensor) -> Tensor:
    """Apply layer k to [batch, features], or to x[k] of [K, batch, features]."""
    weight = torch.stack([layer.weight for layer in layers])  # [K, out, features]
    bias = None if layers[0].bias is None else torch.stack([layer.bias for layer in layers])  # [K, out]
    if x.ndim == 2:
        out = F.linear(x, weight.flatten(0, 1), None if bias is None else bias.flatten())  # [batch, K * out]
        return out.view(len(x), *weight.shape[:2]).transpose(0, 1)
    return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)
