"""What is measured of a run without labels: whether one view of a sample finds the other."""

from __future__ import annotations

import numpy as np
import pytest

import ssl_registry


@pytest.mark.slow  # a training with a look before and after
def test_neighbours_before_and_after(tmp_path, caplog):
    """The verdict tells them, with the rank and what would give certainty; nothing is claimed of accuracy."""
    caplog.set_level("INFO", "ssl_registry")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", X=rng.integers(0, 255, (96, 1, 16, 16), dtype=np.uint8))
    result = ssl_registry.train(
        "simclr",
        data=str(tmp_path / "x.npz"),
        backbone="regnetx_002",
        batch_size=128,
        out=tmp_path / "run",
        report=False,
        trainer={"max_steps": 11, "enable_progress_bar": False, "accelerator": "cpu"},
    )
    assert result.knn == {}
    assert "a batch of 128 is larger than the 96 samples: a step takes 96" in caplog.text
    assert "Of two views of a sample the one found the other among all for" in result.verdict
    assert "directions of at most 96" in result.verdict
    assert "20 labelled samples a class" in result.verdict
