"""The vote of the nearest neighbours: against a brute force in float64, at its edges, and on real digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from ssl_registry.errors import ConfigError, DataError
from ssl_registry.measures import knn, knn_accuracy, knn_predict, pixels


def brute_force(train, labels, test, classes, k, temperature):
    """The equation, pair by pair in float64: votes [M, classes], and how far the k-th place is from the next."""
    train, test = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, test))
    votes, gaps = np.zeros((len(test), classes)), np.full(len(test), np.inf)
    for row, sample in enumerate(test):
        similarity = np.array([float(np.dot(sample, other)) for other in train])
        order = np.argsort(-similarity)
        for i in order[:k]:
            votes[row, labels[i]] += np.exp((similarity[i] - similarity[order[0]]) / temperature)
        if k < len(train):
            gaps[row] = similarity[order[k - 1]] - similarity[order[k]]
    return votes, gaps


def cloud(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


sizes = {
    "seed": st.integers(0, 2**32 - 1),
    "samples": st.integers(1, 40),
    "tests": st.integers(1, 12),
    "width": st.integers(2, 9),
    "classes": st.integers(1, 6),
    "k": st.integers(1, 50),
    "temperature": st.sampled_from([1e-3, 0.01, 0.07, 0.1, 1.0, 100.0]),
}


@given(**sizes, scale=st.sampled_from([1e-3, 1.0, 1e4]))
def test_equals_brute_force(seed, samples, tests, width, classes, k, temperature, scale):
    """The winner has the most votes of the equation in float64, for lengths of any size."""
    train, test = cloud(seed, samples, width) * scale, cloud(seed + 1, tests, width)
    labels = np.random.default_rng(seed + 2).integers(0, classes, samples)
    found = knn_predict(
        torch.from_numpy(train).float(),
        torch.from_numpy(labels),
        torch.from_numpy(test).float(),
        k=k,
        temperature=temperature,
    ).numpy()
    votes, gaps = brute_force(train, labels, test, classes, min(k, samples), temperature)
    # Where two samples all but tie for the last place, float32 and float64 may choose differently.
    clear = gaps > 1e-5
    most = votes.max(1)[clear]
    assert (votes[np.arange(tests), found][clear] >= most * (1 - 2e-3)).all()


@given(
    seed=sizes["seed"],
    tests=sizes["tests"],
    k=sizes["k"],
    chunk_size=st.integers(1, 15),
    train_rows=st.integers(1, 50),
)
def test_chunks_change_nothing(seed, tests, k, chunk_size, train_rows):
    """Predictions are the same however test and training samples are cut into tiles."""
    train, test = (torch.from_numpy(cloud(seed + i, n, 6)).float() for i, n in enumerate((40, tests)))
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, 40))
    with pytest.MonkeyPatch.context() as patch:
        whole = knn_predict(train, labels, test, k=k)
        patch.setattr(knn, "TRAIN_ROWS", train_rows)
        assert torch.equal(knn_predict(train, labels, test, k=k, chunk_size=chunk_size), whole)


def test_memory_is_flat(monkeypatch):
    """No tile is larger than asked for, however many samples there are."""
    made = []
    vote = knn._vote
    monkeypatch.setattr(knn, "_vote", lambda s, *rest: made.append(s.shape) or vote(s, *rest))
    prepare = knn._prepare
    monkeypatch.setattr(knn, "_prepare", lambda x: made.append(x.shape) or prepare(x))
    monkeypatch.setattr(knn, "TRAIN_ROWS", 7)
    x, y = torch.from_numpy(cloud(0, 100, 3)), torch.zeros(100, dtype=torch.long)
    assert len(knn_predict(x, y, x, k=5, chunk_size=9)) == 100
    assert max(rows for rows, _ in made) == 9
    assert max(columns for _, columns in made) == 5


def test_k_above_n():
    """With fewer training samples than k all of them vote."""
    train, test = (torch.from_numpy(cloud(seed, n, 3)) for seed, n in enumerate((5, 20)))
    labels = torch.tensor([0, 1, 2, 1, 0])
    assert torch.equal(knn_predict(train, labels, test, k=200), knn_predict(train, labels, test, k=5))


@pytest.mark.parametrize("temperature", [1e-2, 1e-4, 1e-12, 1e-45, 1e-300])
def test_small_temperature_is_the_nearest_neighbour(temperature):
    """Nothing overflows, and one near sample outvotes many that are a little less near."""
    train = torch.tensor([[1.0, 0.05], [1.0, 0.5], [1.0, 0.5], [1.0, 0.5]])
    labels = torch.tensor([1, 0, 0, 0])
    test = torch.tensor([[1.0, 0.0]])
    assert knn_predict(train, labels, test, k=4, temperature=temperature).tolist() == [1]
    assert knn_predict(train, labels, test, k=4, temperature=1.0).tolist() == [0]


def test_infinite_temperature_counts_heads():
    """Without a weight by similarity the larger group wins."""
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    labels = torch.tensor([0, 1, 1])
    assert knn_predict(train, labels, train[:1], k=3, temperature=float("inf")).tolist() == [1]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_ties_go_to_the_lower_class(order):
    """Equal votes are won by the lower class, whatever the samples' order."""
    train = torch.tensor([[0.3, 0.7, 0.1]]).repeat(4, 1) * torch.tensor([[1.0], [3.0], [0.7], [11.0]])
    labels = torch.tensor([9, 3, 9, 3])
    assert knn_predict(train[order], labels[order], train[:2], k=4).tolist() == [3, 3]


def test_only_direction_counts():
    """Lengths do not, even where squares overflow or vanish in float32."""
    train, test = (torch.from_numpy(cloud(seed, n, 4)) for seed, n in enumerate((30, 10)))
    labels = torch.arange(30) % 3
    expected = knn_predict(train, labels, test, k=3)
    lengths = torch.logspace(-36, 36, 30).unsqueeze(1)
    assert torch.equal(knn_predict(train.float() * lengths, labels, test.float(), k=3), expected)
    assert torch.equal(knn_predict(train * 1e-200, labels, test * 1e200, k=3), expected)


def test_zero_vector_has_an_answer():
    """It is equally far from all, so all tie."""
    x = torch.eye(3)
    assert knn_predict(x, torch.tensor([2, 1, 5]), torch.zeros(1, 3)).tolist() == [1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.uint8])
def test_any_real_type(dtype):
    """Features of any real type are computed with in float32."""
    train, test = torch.tensor([[9, 1], [1, 9]]).to(dtype), torch.tensor([[200, 30], [3, 20]]).to(dtype)
    assert knn_predict(train, torch.tensor([0, 1]), test, k=1).tolist() == [0, 1]


def test_float32_under_autocast():
    """A surrounding autocast does not lower the precision."""
    angles = torch.tensor([0.0, 1e-2, 2e-2])  # cosines closer to each other than bfloat16 can tell
    train = torch.stack([angles.cos(), angles.sin()], 1)
    labels = torch.tensor([2, 1, 0])
    with torch.autocast("cpu", torch.bfloat16):
        assert knn_predict(train, labels, train, k=1).tolist() == [2, 1, 0]


def test_no_gradient():
    """Features that require gradients are used without them."""
    x = torch.from_numpy(cloud(0, 4, 3)).requires_grad_()
    assert knn_predict(x, torch.arange(4), x, k=1).tolist() == [0, 1, 2, 3]


def test_huge_labels_cost_no_memory():
    """Only the classes that occur are counted, and their numbers and type come back."""
    labels = torch.tensor([10**12, 7])
    found = knn_predict(torch.eye(2), labels, torch.eye(2), k=1)
    assert found.tolist() == [10**12, 7]
    assert knn_predict(torch.eye(2), labels.clamp(max=9).to(torch.uint8), torch.eye(2)).dtype == torch.uint8


# --- accuracy ---------------------------------------------------------------------------------------------


def test_accuracy_counts():
    """The share of right predictions, as a float."""
    x = torch.eye(4)
    found = knn_accuracy(x, torch.arange(4), x, torch.tensor([0, 1, 0, 0]), k=1)
    assert isinstance(found, float)
    assert found == 0.5


def test_accuracy_of_raw_digits():
    """Raw pixels tell real digits apart well, each sample is nearest to itself, and wrong labels give chance."""
    scans = load_digits()
    x, y = pixels(torch.from_numpy(scans.images[:, None])), torch.from_numpy(scans.target)
    train, test = slice(0, 1300), slice(1300, None)
    assert 0.93 < knn_accuracy(x[train], y[train], x[test], y[test], num_classes=10, k=20) < 0.98
    assert knn_accuracy(x[test], y[test], x[test], y[test], k=1) == 1.0
    shuffled = y[train][torch.randperm(1300, generator=torch.Generator().manual_seed(0))]
    assert knn_accuracy(x[train], shuffled, x[test], y[test]) < 0.2


# --- errors -----------------------------------------------------------------------------------------------

X, Y = torch.eye(3), torch.arange(3)


def with_nan(value=float("nan")):
    x = torch.zeros(3, 3)
    x[1, 2] = value
    return x


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_features": X[:0], "train_labels": Y[:0]}, r"train_features is float32\[0, 3\].*not empty"),
        ({"test_features": X[:0], "test_labels": Y[:0]}, r"test_features is float32\[0, 3\].*not empty"),
        ({"train_features": X[:, :0]}, r"train_features is float32\[3, 0\]"),
        ({"train_features": X[None]}, r"train_features is float32\[1, 3, 3\]"),
        ({"test_features": X.tolist()}, "test_features is "),
        ({"test_features": X.to(torch.complex64)}, "test_features is complex64"),
        ({"test_features": X[:, :2]}, "train_features have width 3, test_features 2"),
        ({"train_features": with_nan()}, "train_features has NaN or infinite values in 1 of 3 rows, first in row 1"),
        ({"test_features": with_nan()}, "test_features has NaN"),
        ({"test_features": with_nan(float("-inf"))}, "test_features has NaN"),
        ({"train_labels": Y[:2]}, "train_labels has 2 entries, train_features has 3"),
        ({"test_labels": Y[:2]}, "test_labels has 2 entries, test_features has 3"),
        ({"train_labels": Y.float()}, "train_labels is float32.*whole numbers"),
        ({"test_labels": X}, "test_labels is float32"),
        ({"train_labels": Y - 1}, "train_labels holds -1"),
        ({"test_labels": Y - 2}, "test_labels holds -2"),
        ({"num_classes": 2}, "train_labels hold 2; num_classes=2"),
    ],
)
def test_wrong_data(change, message):
    """The error names the argument and shows what came."""
    arguments = {"train_features": X, "train_labels": Y, "test_features": X, "test_labels": Y} | change
    with pytest.raises(DataError, match=message):
        knn_accuracy(**arguments)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"k": 0}, "k=0"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"chunk_size": 0}, "chunk_size=0"),
    ],
)
def test_wrong_options(option, message):
    """An option out of range is named."""
    with pytest.raises(ConfigError, match=message):
        knn_predict(X, Y, X, **option)
