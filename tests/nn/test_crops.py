"""Views of one size share a pass, and keep their order."""

from __future__ import annotations

import pytest
import torch

from ssl_registry.nn import forward_crops


@pytest.mark.parametrize(
    ("sizes", "passes"),
    [([8, 8, 4, 4, 4], [(4, 8), (6, 4)]), ([8], [(2, 8)]), ([8, 4, 8], [(2, 8), (2, 4), (2, 8)])],
)
def test_passes(sizes, passes):
    """As few as sizes change; what comes out is in the order of the views."""
    seen = []

    def network(x):
        seen.append((len(x), x.shape[-1]))
        return x.mean((2, 3))

    views = [torch.full((2, 3, size, size), float(number)) for number, size in enumerate(sizes)]
    out = forward_crops(network, views)
    assert seen == passes
    assert out[:, 0].tolist() == [number for number in range(len(sizes)) for _ in range(2)]


def test_tables_and_signals():
    """Views without height and width, of one length and of two."""
    assert forward_crops(lambda x: x, [torch.ones(2, 5), torch.zeros(2, 5)]).sum(1).tolist() == [5, 5, 0, 0]
    signals = [torch.ones(1, 2, 6), torch.ones(1, 2, 3)]
    assert forward_crops(lambda x: x.sum(2), signals)[:, 0].tolist() == [6, 3]
