"""Features of a whole loader: complete, in order, without a trace in the network that made them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ssl_registry.errors import BatchError, DataError
from ssl_registry.measures import extract_features, pixels
from ssl_registry.measures.features import choose_devices, replicate, stream_features

X = torch.randn(10, 2, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(10)


class Network(nn.Module):
    """Has what eval mode changes, and a method as `SSLModule.embed` is one."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.norm(x.flatten(1)))

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self(x)


def test_labelled():
    """Features and labels of all batches, the last smaller one too, in the loader's order."""
    features, labels = extract_features(pixels, DataLoader(TensorDataset(X, Y), batch_size=4))
    assert torch.equal(features, X.flatten(1))
    assert torch.equal(labels, Y)


@pytest.mark.parametrize("loader", [[X[:4], X[4:]], [(X,)], [[X]], [(X, None)], DataLoader(X, batch_size=3)])
def test_unlabelled(loader):
    """Without labels there are none."""
    features, labels = extract_features(pixels, loader)
    assert torch.equal(features, X.flatten(1))
    assert labels is None


@pytest.mark.parametrize("method", [None, "forward", "embed"])
def test_network_is_left_as_it_was(method):
    """A module in training mode is used in eval mode, and left in training mode with its statistics."""
    network = Network()
    network.dropout.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    embed = network if method is None else getattr(network, method)
    features, _ = extract_features(embed, [X])
    assert torch.allclose(features, X.flatten(1), atol=1e-4)
    assert (network.training, network.norm.training, network.dropout.training) == (True, True, False)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_no_graph_within_and_none_left():
    """Inference mode inside; what comes out can be trained on."""
    inside = []

    def embed(x: torch.Tensor) -> torch.Tensor:
        inside.append(torch.is_inference_mode_enabled())
        return layer(x.flatten(1))

    layer = nn.Linear(6, 4)
    features, labels = extract_features(embed, [(X, Y)])
    assert inside == [True]
    assert not features.requires_grad
    head = nn.Linear(4, 10)
    nn.functional.cross_entropy(head(features), labels).backward()
    assert head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_float32(dtype):
    """Features of any type come out in float32."""
    features, _ = extract_features(lambda x: x.flatten(1).to(dtype), [X])
    assert features.dtype == torch.float32


def test_device():
    """Inputs go where they are told to; results come back to the CPU."""
    seen = []

    def embed(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.device.type)
        return torch.zeros(len(x), 2)

    features, labels = extract_features(embed, [(X, Y)], device="meta")
    assert seen == ["meta"]
    assert features.device.type == labels.device.type == "cpu"


@pytest.mark.parametrize(
    "batch", [None, {"x": X}, [], (X, Y, Y), (X, Y[:3]), (X, X), ([X, X], Y), (X, ["a"] * 10), torch.tensor(1.0)]
)
def test_wrong_batches(batch):
    """The error lists what is accepted."""
    with pytest.raises(BatchError, match=r"accepted: a tensor x \[batch, ...\], or \(x, y\)"):
        extract_features(pixels, [batch])


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "no batch"),
        ([(X, Y), X], "1 of 2 batches have labels"),
        ([X, X[:, :, :2]], r"float32\[10, 4\] after vectors of width 6"),
    ],
)
def test_wrong_loaders(loader, message):
    """What cannot become one matrix is told apart."""
    with pytest.raises(DataError, match=message):
        extract_features(pixels, loader)


@pytest.mark.parametrize("embed", [lambda x: x, lambda x: x.flatten(1)[:3], lambda x: [x], lambda x: x.mean()])
def test_wrong_embed(embed):
    """An embedding that is not one vector a sample is shown."""
    with pytest.raises(DataError, match=r"for 10 samples; it must return one vector a sample"):
        extract_features(embed, [X])


def test_pixels_scales_bytes():
    """Images in bytes and in [0, 1] give the same numbers; other whole numbers stay."""
    image = torch.randint(0, 256, (2, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(pixels(image.to(torch.uint8)), pixels(image.float() / 255))
    assert torch.equal(pixels(image), image.flatten(1).float())
    assert pixels(image.double()).dtype == torch.float32


def test_several_devices_keep_the_order():
    """Batches go round, features come back in the loader's order, one batch a replica is held."""
    batches = [(X[i : i + 2], Y[i : i + 2]) for i in range(0, 10, 2)]
    at_work = []

    def embed(x: torch.Tensor) -> torch.Tensor:
        at_work.append(int(x.numel()))
        return x.flatten(1)

    stream = stream_features([(embed, "cpu")] * 3, batches)
    first, labels = next(stream)
    assert len(at_work) == 3
    assert torch.equal(first, X[:2].flatten(1))
    assert torch.equal(labels, Y[:2])
    assert torch.equal(torch.cat([features for features, _ in stream]), X[2:].flatten(1))


def test_no_mode_leaks_between_batches():
    """Whoever consumes the stream may train between two batches."""
    stream = stream_features([(pixels, None)], [(X, Y), (X, Y)])
    next(stream)
    assert not torch.is_inference_mode_enabled()


def test_replicas_are_copies():
    """Each device has weights of its own, the first the network itself."""
    network = Network()
    (first, _), (second, _) = replicate(network, choose_devices("cpu,cpu"))
    assert first is network
    assert second.norm.weight is not network.norm.weight
