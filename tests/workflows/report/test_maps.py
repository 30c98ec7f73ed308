"""Maps of embeddings: which there are, where their points lie, and that they repeat."""

from __future__ import annotations

import sys
from textwrap import dedent

import numpy as np
import pytest

from ssl_registry.workflows.report.maps import draw_maps

UMAP = """
class UMAP:
    def __init__(self, n_neighbors, random_state):
        assert 2 <= n_neighbors <= 15
        assert random_state == 3

    def fit_transform(self, x):
        return x[:, :2]
"""


def clusters(count=60, width=8):
    """Three directions, well apart."""
    rng = np.random.default_rng(0)
    return np.eye(width)[np.arange(count) % 3] * 5 + rng.normal(size=(count, width)) * 0.2


def test_points_fill_the_unit_square_and_repeat():
    """Both axes from 0 to 1, the same for the same seed."""
    maps, notes = draw_maps(clusters(), seed=3)
    assert notes == []
    assert maps.keys() >= {"PCA", "t-SNE"}
    for points in maps.values():
        assert np.min(points, axis=0).tolist() == [0, 0]
        assert np.max(points, axis=0).tolist() == [1, 1]
    assert draw_maps(clusters(), seed=3)[0] == maps


def test_pca_keeps_clusters_apart():
    """Samples of one direction lie nearer to each other than to the others' centre."""
    points = np.array(draw_maps(clusters(), seed=3)[0]["PCA"])
    centers = np.array([points[start::3].mean(axis=0) for start in range(3)])
    nearest = np.linalg.norm(points[:, None] - centers, axis=2).argmin(axis=1)
    assert nearest.tolist() == (np.arange(60) % 3).tolist()


def test_umap_is_the_third_where_it_is_installed(tmp_path, monkeypatch):
    """Found without being imported for anything else."""
    (tmp_path / "umap.py").write_text(dedent(UMAP))
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert list(draw_maps(clusters(), seed=3)[0]) == ["PCA", "t-SNE", "UMAP"]
    finally:
        sys.modules.pop("umap", None)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.ones((2, 4)), "three samples"),
        (np.full((9, 4), np.nan), "NaN"),
        (np.ones((9, 4)), "the network has collapsed"),
        (np.zeros((9, 4)), "the network has collapsed"),
    ],
)
def test_what_has_no_map(features, words):
    """Says so in words."""
    maps, (note,) = draw_maps(features, seed=3)
    assert maps == {}
    assert words in note
