"""The fixtures, and what they cost a run that does not use them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch


def test_isolated_registry(isolated_registry):
    """It knows no installed method."""
    assert isolated_registry.methods() == []


@pytest.mark.parametrize("modality", ["image", "signal", "table"])
def test_backbone_takes_the_digits(modality, tiny_backbone, real_digits):
    """Each kind of sample has its network; images are uint8, the others standardised."""
    source = real_digits(modality, train=20, test=10)
    assert (source.modality, len(source.train), len(source.test)) == (modality, 20, 10)
    x, y = source.train[0]
    assert x.shape == source.input_shape
    assert 0 <= y < 10
    features = tiny_backbone(source.input_shape)(torch.stack([source.train[i][0].float() for i in range(4)]))
    assert features.shape == (4, 24)
    if modality == "image":
        assert x.dtype == torch.uint8
    else:
        assert source.train.x.mean().abs() < 0.1
        assert (source.train.x.std() - 1).abs() < 0.1


def test_loading_the_plugin_imports_no_torch():
    """Other people's runs pay for none of it."""
    code = "import sys, ssl_registry.testing.pytest_plugin; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_entry_point():
    """pytest finds the plugin by the distribution's metadata."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"ssl_registry": "ssl_registry.testing.pytest_plugin"}
