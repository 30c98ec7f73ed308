"""Contrast by labels: the formula, its gradient, and the losses it stands for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ssl_registry_simclr import NTXentLoss, contrast, contrastive_loss
from ssl_registry_simclr.blocks import row_blocks
from torch import Tensor
from torch.nn import functional as F

properties = settings(deadline=None, derandomize=True, max_examples=60)


def draw(seed: int, queries: int, keys: int, dim: int = 4, classes: int = 3) -> tuple[Tensor, ...]:
    """Return queries, keys and labels of both, in float64."""
    generator = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(n, dim, dtype=torch.float64, generator=generator) for n in (queries, keys))
    labels = (torch.randint(classes, (n,), generator=generator) for n in (queries, keys))
    return (q, k, *labels)


def plain(q: Tensor, k: Tensor, ql: Tensor, kl: Tensor, temperature: float, first: int | None) -> Tensor:
    """The formula, query by query."""
    logits = F.normalize(q, dim=1) @ F.normalize(k, dim=1).T / temperature
    losses = []
    for i, row in enumerate(logits):
        others = torch.tensor([j for j in range(len(k)) if first is None or j != i + first], dtype=torch.long)
        same = others[kl[others] == ql[i]]
        if len(same):
            losses.append(row[others].logsumexp(0) - row[same].mean())
    return torch.stack(losses).mean() if losses else 0 * logits.sum()


@properties
@given(
    st.integers(0, 10**6), st.integers(1, 7), st.integers(0, 5), st.sampled_from([None, 0, 2]), st.sampled_from([1, 64])
)
def test_is_the_formula(seed, queries, more, first, block):
    """Value and both gradients in float64, with and without the queries among the keys, in blocks."""
    keys = queries + more + (first or 0)
    tensors = draw(seed, queries, keys)
    found, wanted = ([x.clone().requires_grad_() for x in tensors[:2]] for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrast, "row_blocks", lambda rows, keys: row_blocks(rows, keys, block))
        ours = contrastive_loss(*found, *tensors[2:], temperature=0.3, first=first)
    theirs = plain(*wanted, *tensors[2:], 0.3, first)
    torch.testing.assert_close(ours, theirs)
    (2 * ours).backward()
    (2 * theirs).backward()
    torch.testing.assert_close([x.grad for x in found], [x.grad for x in wanted])


def test_pairs_are_nt_xent():
    """Two views of a batch against themselves, by sample number, are SimCLR's loss."""
    z0, z1 = draw(0, 6, 6)[:2]
    z, number = torch.cat([z0, z1]), torch.arange(6).repeat(2)
    found = contrastive_loss(z, z, number, number, temperature=0.5, first=0)
    torch.testing.assert_close(found, NTXentLoss(0.5)(z0, z1))


def test_queue_gets_no_gradient_and_asks_for_no_work():
    """Keys without gradient, as of a queue, keep none."""
    q, k, _, _ = draw(0, 3, 8)
    q.requires_grad_()
    labels = torch.cat([torch.arange(3), torch.full((5,), -1)])
    contrastive_loss(q, k, torch.arange(3), labels).backward()
    assert q.grad.isfinite().all()
    assert k.grad is None


def test_low_temperature_and_half_precision():
    """Neither overflows."""
    q, k, ql, kl = draw(0, 8, 16)
    for dtype in (torch.float16, torch.bfloat16):
        half = (100 * q).to(dtype).requires_grad_()
        loss = contrastive_loss(half, k.to(dtype), ql, kl, temperature=0.005)
        loss.backward()
        assert loss.dtype == torch.float32
        assert loss.isfinite()
        assert half.grad.isfinite().all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"keys": torch.zeros(5, 3)}, r"\[4, 4\] and keys \[5, 3\]"),
        ({"key_labels": torch.zeros(4)}, r"4 queries and 5 keys have one each"),
        ({"first": 2}, "first=2 leaves no room"),
    ],
)
def test_what_does_not_fit_is_named(change, match):
    """The error shows what came."""
    names = ("queries", "keys", "query_labels", "key_labels")
    with pytest.raises(ValueError, match=match):
        contrastive_loss(**dict(zip(names, draw(0, 4, 5), strict=True)) | change)
