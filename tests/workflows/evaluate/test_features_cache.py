"""Features are computed once for the same weights, preparation and samples, and again for any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Subset, TensorDataset

from ssl_registry.data import open_source
from ssl_registry.data.sample_set import sample_set
from ssl_registry.data.samples import Samples
from ssl_registry.workflows.evaluate.features_cache import cached, features_key

X, Y = torch.arange(12.0).view(6, 2), torch.arange(6)


def test_computed_once(tmp_path):
    """The second time the file answers."""
    calls = []

    def compute():
        calls.append(1)
        return X, Y

    for _ in range(2):
        features, labels = cached(tmp_path, "key", compute)
        assert torch.equal(features, X)
        assert torch.equal(labels, Y)
    assert len(calls) == 1
    assert cached(tmp_path, "other", lambda: (X, None))[1] is None


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_damaged_file_is_computed_again(tmp_path, content):
    """What cannot be read is replaced."""
    (tmp_path / "key.safetensors").write_bytes(content)
    assert torch.equal(cached(tmp_path, "key", lambda: (X, Y))[0], X)
    assert torch.equal(cached(tmp_path, "key", lambda: pytest.fail("computed again"))[0], X)


def test_unknown_samples_are_not_kept(tmp_path):
    """Without a key nothing is written."""
    assert features_key(nn.Linear(2, 2), "", sample_set(TensorDataset(X))) is None
    cached(tmp_path, None, lambda: (X, Y))
    assert not list(tmp_path.iterdir())


def test_key_depends_on_everything():
    """A weight, a buffer, the network's shape, the preparation, a sample, a label, the choice of samples."""
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    samples = Samples(X, Y)
    keys = [features_key(network, "a", samples), features_key(network, "b", samples)]
    with torch.no_grad():
        network[0].weight[0, 0] += 1e-3
    keys.append(features_key(network, "a", samples))
    network[1].running_mean[0] = 1
    keys.append(features_key(network, "a", samples))
    keys.append(features_key(nn.Sequential(*network, nn.ReLU()), "a", samples))
    others = (
        Samples(X + 1, Y),
        Samples(X, Y + 1),
        Samples(X),
        sample_set(Subset(samples, [0, 1])),
        sample_set(Subset(samples, [1, 0])),
    )
    keys += [features_key(network, "a", changed) for changed in others]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert features_key(network, "a", Samples(X.clone(), Y.clone())) == features_key(network, "a", samples)


def test_image_files_by_content(tmp_path: Path):
    """A file that was written again counts as another."""
    for name in "ab":
        Image.new("L", (8, 8), 7).save(tmp_path / f"{name}.png")
    first = open_source(str(tmp_path), image_size=8).train.fingerprint()
    assert first == open_source(str(tmp_path), image_size=8).train.fingerprint()
    assert first != open_source(str(tmp_path), image_size=4).train.fingerprint()
    Image.new("L", (9, 9), 200).save(tmp_path / "b.png")
    assert first != open_source(str(tmp_path), image_size=8).train.fingerprint()
