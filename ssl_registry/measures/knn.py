"""Weighted k-nearest-neighbor classification: features judged without training anything on them."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_registry.errors import ConfigError, DataError, FeaturesNotFiniteError
from ssl_registry.model.batches import describe

__all__ = ["knn_accuracy", "knn_predict"]

# Similarities are computed in tiles of this many rows and columns: 64 MiB. The products alone are nine tenths of the
# time (benchmarks/evaluation.py).
TEST_ROWS = 1024
TRAIN_ROWS = 16_384
# Bound on the error of a similarity in float32: products summed in another order differ by less.
ROUNDING = 1e-6
# Between these lengths no product of two rows overflows or vanishes in float32.
MIN_LENGTH, MAX_LENGTH = 1e-15, 1e15


@torch.no_grad()
def knn_predict(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    *,
    num_classes: int | None = None,
    k: int = 20,
    temperature: float = 0.1,
    chunk_size: int | None = None,
) -> Tensor:
    """Predict the class of each test sample from its k most similar training samples.

    With s_i the cosine similarity to training sample i and N_k the k largest, class c gets the votes

        w_c = sum_{i in N_k, c_i = c} exp(s_i / T)

    and the class with the most wins. Source: Wu et al., 2018, arXiv:1805.01978, section 3.4, who take k=200
    and T=0.07.

    Votes that are equal within float32's rounding are a tie, which the lower class wins. Which one of
    several equally similar samples takes the last of the k places is left open. A zero vector has
    similarity 0 to everything.

    Args:
        train_features: [N, D], of any length and any real type; computed with in float32, on their device.
        train_labels: [N], whole numbers from 0.
        test_features: [M, D]; they may be on another device, and are moved chunk by chunk.
        num_classes: one above the highest label that may occur, to check the labels; None asks for no check.
        k: number of neighbours; all N of them where N is smaller.
        temperature: T, above 0. The smaller, the more the nearest neighbours count.
        chunk_size: test samples at a time; None takes 1,024. Memory beyond the features grows with this, and
            neither with M nor with N.

    Returns:
        [M], in the type of ``train_labels`` and on the device of ``test_features``.

    Raises:
        DataError: naming the argument, for features that are not [N, D], empty, of different width or not
            finite, and for labels that are not N whole numbers from 0 to ``num_classes`` - 1.
        ConfigError: if ``k``, ``temperature`` or ``chunk_size`` is out of range.

    Example:
        >>> train = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> knn_predict(train, torch.tensor([4, 4, 2]), torch.tensor([[2.0, 0.1], [0.1, 3.0]]), k=2)
        tensor([4, 2])
    """
    _check_options(k, temperature, chunk_size)
    _check_features("train_features", train_features)
    _check_features("test_features", test_features)
    if train_features.shape[1] != test_features.shape[1]:
        raise DataError(
            f"train_features have width {train_features.shape[1]}, test_features {test_features.shape[1]}; "
            "both must come from the same backbone"
        )
    _check_labels("train_labels", train_labels, "train_features", len(train_features))
    if num_classes is not None and int(train_labels.max()) >= num_classes:
        top = int(train_labels.max())
        raise DataError(f"train_labels hold {top}; num_classes={num_classes} must be above every label")

    # Votes are counted for the classes that occur, whatever their numbers are.
    labels = train_labels.to(train_features.device)
    classes, members = torch.unique(labels, return_inverse=True)
    predictions = train_labels.new_empty(len(test_features), device=test_features.device)
    size = chunk_size or TEST_ROWS
    for start in range(0, len(test_features), size):
        tests = slice(start, start + size)
        similarity, neighbours = _nearest(train_features, test_features[tests].to(train_features.device), k)
        winners = _vote(similarity, members[neighbours], len(classes), temperature)
        predictions[tests] = classes[winners].to(predictions)
    return predictions


def knn_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    num_classes: int | None = None,
    k: int = 20,
    temperature: float = 0.1,
    chunk_size: int | None = None,
) -> float:
    """Return the share of test samples, in [0, 1], whose class `knn_predict` finds.

    Args:
        train_features: see `knn_predict`, as for all that is not told here.
        train_labels: [N].
        test_features: [M, D].
        test_labels: [M]; a class that no training sample has is never found.
        num_classes: one above the highest label.
        k: number of neighbours.
        temperature: above 0.
        chunk_size: test samples at a time.

    Raises:
        DataError, ConfigError: as `knn_predict`; and for ``test_labels`` that do not fit ``test_features``.

    Example:
        >>> x, y = torch.eye(3), torch.tensor([0, 1, 2])
        >>> knn_accuracy(x, y, x, torch.tensor([0, 1, 1]), k=1) == 2 / 3
        True
    """
    _check_features("test_features", test_features)
    _check_labels("test_labels", test_labels, "test_features", len(test_features))
    predictions = knn_predict(
        train_features,
        train_labels,
        test_features,
        num_classes=num_classes,
        k=k,
        temperature=temperature,
        chunk_size=chunk_size,
    )
    return int((predictions == test_labels.to(predictions.device)).sum()) / len(test_labels)


def _nearest(train: Tensor, test: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the similarities [m, k], largest first, and the rows of ``train`` that have them."""
    test = _normalized(test)
    similarity = test.new_empty(len(test), 0)
    rows = torch.empty(len(test), 0, dtype=torch.int64, device=test.device)
    # One buffer for all tiles: fresh memory for each costs a tenth of the time.
    buffer = test.new_empty(len(test) * min(TRAIN_ROWS, len(train)))
    for start in range(0, len(train), TRAIN_ROWS):
        tile, scale = _prepare(train[start : start + TRAIN_ROWS])
        products = buffer[: len(test) * len(tile)].view(len(test), len(tile))
        with torch.autocast(test.device.type, enabled=False):
            torch.mm(test, tile.T, out=products)
        # Scaling the products saves a copy of the features.
        best, found = products.mul_(scale).topk(min(k, len(tile)), dim=1)
        # The k best of all tiles so far are among this tile's best and the best before it.
        similarity, rows = torch.cat([similarity, best], 1), torch.cat([rows, found + start], 1)
        similarity, order = similarity.topk(min(k, similarity.shape[1]), dim=1)
        rows = rows.gather(1, order)
    return similarity, rows


def _normalized(x: Tensor) -> Tensor:
    x, scale = _prepare(x)
    return x * scale.unsqueeze(1)


def _prepare(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x`` in float32, and what its rows must be multiplied with to have length one."""
    single = x.float()
    lengths = torch.linalg.vector_norm(single, dim=1)
    if not bool(((lengths > MIN_LENGTH) & (lengths < MAX_LENGTH)).all()):
        # By the largest entry first: the square of a huge one overflows, that of a tiny one vanishes.
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        largest = x.abs().amax(1, keepdim=True)
        single = (x / largest.masked_fill(largest == 0, 1)).float()
        lengths = torch.linalg.vector_norm(single, dim=1)
    return single, 1 / lengths.masked_fill(lengths == 0, 1)


def _vote(similarity: Tensor, members: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Return the class [m] with the most votes, the lowest of those that tie."""
    temperature = max(temperature, torch.finfo(torch.float32).tiny)
    # The nearest neighbour weighs 1, the others less: exp(1 / T) itself overflows for a T below 0.012.
    weights = ((similarity - similarity[:, :1]) / temperature).exp()  # [m, k]
    votes = weights.new_zeros(len(weights), num_classes).scatter_add_(1, members, weights)
    # A similarity that is off by r moves a vote by a share of r / T.
    slack = min(ROUNDING / temperature, 1e-3)
    tied = votes >= votes.amax(1, keepdim=True) * (1 - slack)
    return tied.to(torch.uint8).argmax(1)


def _check_options(k: int, temperature: float, chunk_size: int | None) -> None:
    if k < 1:
        raise ConfigError(f"k={k} must be at least 1; 20 and 200 are usual")
    if not temperature > 0:
        raise ConfigError(f"temperature={temperature} must be above 0; 0.07 and 0.1 are usual")
    if chunk_size is not None and chunk_size < 1:
        raise ConfigError(f"chunk_size={chunk_size} must be at least 1, or None")


def _check_features(name: str, features: Tensor) -> None:
    if not isinstance(features, Tensor) or features.ndim != 2 or 0 in features.shape or features.is_complex():
        raise DataError(f"{name} is {describe(features)}; it must be a tensor [samples, features], not empty")
    # The extremes show every NaN and infinity, and need no copy of the features.
    if not all(bool(extreme.isfinite()) for extreme in features.aminmax()):
        bad = (~features.isfinite()).any(1).nonzero()[:, 0]
        raise FeaturesNotFiniteError(
            f"{name} has NaN or infinite values in {len(bad)} of {len(features)} rows, first in row "
            f"{int(bad[0])}; look at the input there, or for a training that diverged"
        )


def _check_labels(name: str, labels: Tensor, of: str, count: int) -> None:
    whole = isinstance(labels, Tensor) and not (labels.is_floating_point() or labels.is_complex())
    if not whole or labels.ndim != 1:
        raise DataError(f"{name} is {describe(labels)}; it must be a tensor [samples] of whole numbers")
    if len(labels) != count:
        raise DataError(f"{name} has {len(labels)} entries, {of} has {count}; each sample needs one label")
    if int(labels.min()) < 0:
        raise DataError(f"{name} holds {int(labels.min())}; classes count from 0, leave out unlabelled samples")
