"""Whose the parameters are."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

from ssl_registry import hookimpl
from ssl_registry.testing.check import CheckFailure, check
from ssl_registry.testing.subject import Subject, ready_made


class _Used(TorchFunctionMode):
    """Collects each parameter that a function of torch is given."""

    def __init__(self) -> None:
        super().__init__()
        self.parameters: dict[int, nn.Parameter] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._look((args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _look(self, value: Any) -> None:
        if isinstance(value, nn.Parameter):
            self.parameters[id(value)] = value
        elif isinstance(value, tuple | list):
            for part in value:
                self._look(part)
        elif isinstance(value, dict):
            self._look(tuple(value.values()))


class _Watch:
    """An observer that looks at what a loss is made of."""

    def __init__(self) -> None:
        self.used = _Used()

    @hookimpl(wrapper=True)
    def compute_loss(self) -> Any:
        """Watch the method's own."""
        with self.used:
            return (yield)


@check()
def ownership(subject: Subject) -> None:
    """Each parameter that the loss is made of is one of the model's, and in its state dict.

    Why: a head in a Python list trains for a while, or never; it is in no checkpoint, on no device, in no optimizer.
    Usual cause: modules in a list, a dict or a closure instead of `nn.ModuleList`, in a head or in the method; a head
    that is built at the first loss.
    """
    watch = _Watch()
    model = subject.model(observers=[watch])
    subject.fit(model, max_steps=2, max_epochs=-1)
    watch.used.parameters.clear()
    loss, _ = model.batch_loss(ready_made(subject.views(model)), 0)
    known = {id(parameter) for parameter in model.parameters()}
    state = {tensor.data_ptr() for tensor in model.state_dict().values()}
    leaves = {id(leaf): leaf for leaf in _leaves(loss.grad_fn)}
    for key, tensor in {**watch.used.parameters, **leaves}.items():
        if key not in known:
            raise CheckFailure(
                f"the loss uses a parameter of shape {list(tensor.shape)} that is none of the model's; register its "
                "module in a head (nn.ModuleList instead of a list)"
            )
        if tensor.numel() and tensor.data_ptr() not in state:
            raise CheckFailure(f"the loss uses a parameter of shape {list(tensor.shape)} that is not in the state dict")


def _leaves(root: Any) -> list[Any]:
    """Return the tensors that get a gradient from a loss."""
    found, left, seen = [], [root], set()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        left += [following for following, _ in node.next_functions]
    return found
