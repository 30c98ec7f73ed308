"""The shortlist never claims what it has not proven, and knn_predict is as exact with it as without."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_registry.measures import knn, knn_predict, shortlist
from ssl_registry.measures.shortlist import Shortlist


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Take the shortlist for a few hundred samples, on any CPU, in several tiles."""
    monkeypatch.setattr(shortlist, "LEAST", 1)
    monkeypatch.setattr(shortlist, "TRAIN_ROWS", 450)
    monkeypatch.setattr(shortlist, "fast_bfloat16", lambda device: True)


def features(seed, rows, spread, width=24, offset=0.0):
    """Directions around a few centres, nearer to each other the smaller the spread."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, width))[rng.integers(0, 3, rows)] + spread * rng.normal(size=(rows, width)) + offset
    return torch.from_numpy(x).float()


@given(
    seed=st.integers(0, 2**31),
    train=st.integers(30, 1000),
    k=st.integers(1, 25),
    spread=st.sampled_from([1e-4, 0.02, 0.3, 3.0]),
    offset=st.sampled_from([0.0, 2.0]),
)
def test_what_is_proven_is_true(seed, train, k, spread, offset):
    """Where it says so, its k are the k nearest of float64: nobody left out is nearer."""
    x, queries = features(seed, train, spread, offset=offset), features(seed + 1, 7, spread, offset=offset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortlist, "TRAIN_ROWS", 450)
        found = Shortlist(*knn._prepare(x)).nearest(knn._normalized(queries), k)
    exact = torch.nn.functional.normalize(queries.double()) @ torch.nn.functional.normalize(x.double()).T
    wanted = exact.topk(k, dim=1).values
    assert found.similarity.shape == found.rows.shape == (7, k)
    assert torch.allclose(found.similarity.double(), exact.gather(1, found.rows), atol=1e-6)
    assert torch.allclose(found.similarity.double()[found.proven], wanted[found.proven], atol=1e-6)


@given(
    seed=st.integers(0, 2**31),
    width=st.integers(1, 3000),
    count=st.integers(1, 40),
    modality=st.sampled_from([torch.bfloat16, torch.float32]),
)
def test_largest_are_those_of_a_whole_ranking(seed, width, count, modality):
    """However many levels of groups there are: the same values as topk's, where they stand, and a bound on the rest."""
    count = min(count, width)
    values = torch.randn(3, width, generator=torch.Generator().manual_seed(seed)).to(modality)
    best, columns, outside = shortlist._largest(values, count)
    assert torch.equal(best, values.topk(count, dim=1).values)
    assert torch.equal(values.gather(1, columns), best)
    assert all(len(set(row)) == count for row in columns.tolist())
    rest = values.scatter(1, columns, -torch.inf).amax(1)
    assert bool((rest <= outside).all())


def test_chunks_share_one_buffer():
    """A later chunk, smaller or larger, is answered as if it were the first."""
    x, queries = features(0, 900, 0.5), features(1, 40, 0.5)
    again = Shortlist(*knn._prepare(x))
    for rows in (slice(0, 20), slice(20, 25), slice(0, 40)):
        test = knn._normalized(queries[rows])
        assert torch.equal(again.nearest(test, 5).rows, Shortlist(*knn._prepare(x)).nearest(test, 5).rows)


def test_spread_out_features_are_proven():
    """On features as networks give them nearly every row is settled without float32."""
    found = Shortlist(*knn._prepare(features(0, 4000, 1.0, width=128))).nearest(
        knn._normalized(features(1, 50, 1.0, width=128)), 10
    )
    assert found.proven.float().mean() > 0.9


@pytest.mark.parametrize("spread", [1e-5, 0.5])
def test_predictions_are_those_of_float32(monkeypatch, spread):
    """Near-duplicates, of which bfloat16 can tell nothing, are left to float32; the predictions are the same."""
    x, queries = features(0, 1000, spread), features(1, 60, spread)
    y = torch.randint(0, 5, (1000,), generator=torch.Generator().manual_seed(0))
    asked = []
    nearest = knn._nearest
    monkeypatch.setattr(knn, "_nearest", lambda train, test, k: asked.append(len(test)) or nearest(train, test, k))
    with_it = knn_predict(x, y, queries, k=5, chunk_size=25)
    by_shortlist = sum(asked)
    monkeypatch.setattr(shortlist, "fast_bfloat16", lambda device: False)
    assert torch.equal(with_it, knn_predict(x, y, queries, k=5))
    assert by_shortlist == 60 if spread < 0.1 else by_shortlist < 60


def test_zero_vectors_and_repeated_samples():
    """Ties that no precision can break stay unproven, and are answered all the same."""
    x = torch.cat([torch.zeros(300, 8), torch.eye(8).repeat(50, 1)])
    y = torch.cat([torch.full((300,), 9), torch.arange(8).repeat(50)])
    assert knn_predict(x, y, torch.eye(8), k=5).tolist() == list(range(8))


def test_under_autocast():
    """A surrounding autocast does not lower the precision of the proof."""
    x, queries = features(0, 600, 0.3), features(1, 20, 0.3)
    prepared = Shortlist(*knn._prepare(x))
    plain = prepared.nearest(knn._normalized(queries), 5)
    with torch.autocast("cpu", torch.bfloat16):
        cast = prepared.nearest(knn._normalized(queries), 5)
    assert torch.equal(plain.similarity, cast.similarity)


def test_small_sets_do_without(monkeypatch):
    """Where float32 is as fast, nothing is prepared."""
    monkeypatch.setattr(shortlist, "LEAST", 8192)
    monkeypatch.setattr(knn, "Shortlist", lambda *_: pytest.fail("prepared"))
    x = features(0, 500, 1.0)
    assert len(knn_predict(x, torch.zeros(500, dtype=torch.long), x[:3], k=3)) == 3
