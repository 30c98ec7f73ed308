"""The same run in another process."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from numpy.typing import NDArray

from ssl_registry.testing.check import CheckFailure, check
from ssl_registry.testing.comparable import Comparable
from ssl_registry.testing.processes import PRELOAD
from ssl_registry.testing.remote import describe, rebuild
from ssl_registry.testing.subject import Subject

EPOCHS = 2
# In float64, where the order of a sum does not show: another number of threads adds in another order.
NEAR = 1e-7


def _weights(subject: Subject, *, reverse: bool = False) -> dict[str, NDArray[Any]]:
    """Return the weights after a few steps, as numpy's arrays, which need no memory in common."""
    plain: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.01, "optimizer_kwargs": {}}
    model = subject.model(observers=[Comparable()], **plain).double()
    if reverse:
        for name in list(model.heads)[::-1][1:]:
            model.heads[name] = model.heads.pop(name)
    subject.fit(model, max_epochs=EPOCHS)
    return {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}


def _in_process(told: dict[str, Any], threads: int) -> dict[str, NDArray[Any]]:
    torch.set_num_threads(threads)
    return _weights(rebuild(told))


@check(slow=True)
def elsewhere(subject: Subject) -> None:
    """A run is the same in a fresh process, with another number of threads, and with its heads in another order.

    Why: a model that is trained on another day, or on another machine, must be the one that was described.
    Usual cause: a loop over a set of names, whose order is another one in each process; heads that are found by their
    place; what an earlier model left in a module or a class.
    """
    wanted = _weights(subject)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        for threads in (1, 2):
            found = pool.submit(_in_process, describe(subject), threads).result()
            _compare(found, wanted, f"in a fresh process with {threads} thread{'s' * (threads > 1)}")
    _compare(_weights(subject, reverse=True), wanted, "with the heads in another order")


def _compare(found: dict[str, NDArray[Any]], wanted: dict[str, NDArray[Any]], words: str) -> None:
    if found.keys() != wanted.keys():
        raise CheckFailure(f"{words} the model has other parameters: {sorted(found.keys() ^ wanted.keys())[0]}")
    for name, weight in wanted.items():
        if abs(found[name] - weight).max(initial=0) > NEAR:
            raise CheckFailure(f"{words} {name} ends elsewhere; does an order of a set or of the heads decide?")
