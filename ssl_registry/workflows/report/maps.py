"""Maps of embeddings: many dimensions drawn in two."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Map", "draw_maps"]

Map = list[tuple[float, float]]

PERPLEXITY = 30.0


def draw_maps(features: NDArray[Any], seed: int) -> tuple[dict[str, Map], list[str]]:
    """Draw PCA, t-SNE and, if umap-learn is installed, UMAP.

    Args:
        features: [N, D]; rows are brought to length one first, as k-NN compares them.
        seed: of t-SNE and UMAP.

    Returns:
        The maps by name, each N points in [0, 1], and in words what was left out.
    """
    from sklearn.decomposition import PCA

    count = len(features)
    if count < 3:
        return {}, ["a map needs three samples"]
    if not np.isfinite(features).all():
        return {}, ["no map: the features hold NaN or infinite values; training has diverged"]
    x = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    if np.ptp(x, axis=0).max() < 1e-6:
        return {}, ["no map: all embeddings are the same; the network has collapsed"]
    reduced = PCA(min(50, *x.shape), random_state=seed).fit_transform(x)
    maps = {"PCA": _scaled(_two(reduced)), "t-SNE": _scaled(_tsne(reduced, seed))}
    if importlib.util.find_spec("umap") is None:
        return maps, []
    return maps | {"UMAP": _scaled(_umap(reduced, seed))}, []


def _tsne(x: NDArray[Any], seed: int) -> NDArray[Any]:
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    points: NDArray[Any] = TSNE(2, perplexity=perplexity, max_iter=500, random_state=seed).fit_transform(x)
    return points


def _umap(x: NDArray[Any], seed: int) -> NDArray[Any]:
    import umap

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_jobs value")  # a seed makes it one thread, as we want
        points: NDArray[Any] = umap.UMAP(n_neighbors=min(15, len(x) - 1), random_state=seed).fit_transform(x)
    return points


def _two(x: NDArray[Any]) -> NDArray[Any]:
    return x[:, :2] if x.shape[1] >= 2 else np.column_stack([x[:, 0], np.zeros(len(x))])


def _scaled(points: NDArray[Any]) -> Map:
    """Bring both axes to [0, 1]."""
    low, span = points.min(axis=0), np.ptp(points, axis=0)
    scaled = (points - low) / np.where(span > 0, span, 1)
    return [(round(float(x), 4), round(float(y), 4)) for x, y in scaled]
