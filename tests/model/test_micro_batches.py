"""A large batch through networks that see a part of it at a time: the loss and the step of the whole."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_registry import registry, train
from ssl_registry.errors import ConfigError
from ssl_registry.testing import Subject, tiny_backbone
from ssl_registry.testing.subject import loader, ready_made

SHAPE = (1, 16, 16)
SMALL = {
    "byol": {"hidden_dim": 16, "projection_dim": 8},
    "simclr": {"projection_dim": 8},
    "vicreg": {"projection_dim": 8},
}


def fitted(method, micro_batch, *, norm=False, dropout=0.2, steps=3):
    subject = Subject(method, registry, SMALL[method])
    with torch.random.fork_rng():
        torch.manual_seed(1)
        backbone = tiny_backbone(SHAPE, norm=norm, dropout=dropout)
    model = subject.model(backbone=backbone, optimizer="sgd", learning_rate=0.1, optimizer_kwargs={}).double()
    model.micro_batch = micro_batch
    batches = [ready_made(subject.views(model, 40, seed=step)) for step in range(steps)]
    subject.fit(model, data=loader(batches))
    return model


@pytest.mark.parametrize("method", SMALL)
@pytest.mark.parametrize("size", [8, 7, 64])
def test_steps_are_those_of_the_whole_batch(method, size):
    """To rounding, whether or not the parts are of one size; a momentum target goes in parts too."""
    whole, parts = fitted(method, None, dropout=0.0), fitted(method, size, dropout=0.0)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, rtol=1e-9, atol=1e-11, msg=name)


def test_the_network_sees_parts_alone():
    """Forward and backward, and the target's too: five parts of eight, twice where there is a gradient."""
    model, seen = fitted("byol", 8, steps=1), []
    for network in (model.backbone, model.heads["target"][0]):
        network[0].register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    subject = Subject("byol", registry, SMALL["byol"])
    model.batch_loss(ready_made(subject.views(model, 40)), 0)[0].backward()
    assert set(seen) == {8}
    assert len(seen) == 5 * (2 + 2 + 2)  # two views through both networks, and those of the trained one again


def test_dropout_is_the_same_in_both_passes():
    """The gradient is that of the loss that was computed: the slope in a weight tells."""
    model = fitted("simclr", 8, dropout=0.5, steps=1)
    subject = Subject("simclr", registry, SMALL["simclr"])
    batch = ready_made(subject.views(model, 40))

    def loss():
        torch.manual_seed(3)
        return model.batch_loss(batch, 0)[0]

    weight = model.backbone[6].weight
    model.zero_grad()
    loss().backward()
    told, step = weight.grad[0, 0].item(), 1e-5
    with torch.no_grad():
        weight[0, 0] += step
        high = loss()
        weight[0, 0] -= 2 * step
        low = loss()
    assert told == pytest.approx(float(high - low) / (2 * step), rel=1e-4)


def test_running_statistics_count_each_part_once():
    """As if the parts had gone through the network one after the other, without a second pass."""
    model = fitted("simclr", 8, norm=True, dropout=0.0, steps=1)
    subject = Subject("simclr", registry, SMALL["simclr"])
    views = subject.views(model, 40)
    plain = copy.deepcopy(model)
    model.batch_loss(ready_made(views), 0)[0].backward()
    with torch.no_grad():
        for view in views:
            for part in view.tensor_split(5):
                plain.backbone(part)
    for norm, other in zip(model.backbone.modules(), plain.backbone.modules(), strict=True):
        if isinstance(norm, _BatchNorm):
            torch.testing.assert_close(norm.running_mean, other.running_mean)
            torch.testing.assert_close(norm.running_var, other.running_var)
            assert norm.num_batches_tracked == other.num_batches_tracked
            assert norm.momentum == 0.1


def test_the_network_is_as_before():
    """No trace of it in the module, so that it can be copied, saved and called."""
    model = fitted("byol", 8, steps=1)
    assert "forward" not in vars(model.backbone)
    assert len(copy.deepcopy(model).embed(torch.rand(20, *SHAPE))) == 20


class Kept:
    """Counts what autograd keeps for backward passes at once."""

    def __init__(self):
        self.now = self.most = 0

    def pack(self, tensor):
        self.now += tensor.numel()
        self.most = max(self.most, self.now)
        return tensor


def test_activations_are_those_of_a_part():
    """What a forward pass keeps for the backward pass grows with the batch's features, not with its activations."""
    kept = {}
    for micro_batch in (None, 8):
        model = fitted("simclr", micro_batch, steps=1)
        subject, counter = Subject("simclr", registry, SMALL["simclr"]), Kept()
        with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda tensor: tensor):
            model.batch_loss(ready_made(subject.views(model, 64)), 0)
        kept[micro_batch] = counter.most
    assert kept[8] < 0.2 * kept[None]


@pytest.mark.parametrize(
    ("run", "match"),
    [
        ({"large_batch": 4, "batch_size": 8}, "must be at least batch_size"),
        ({"large_batch": 64, "batch_size": 8, "compile": True}, "compile"),
    ],
)
def test_what_does_not_go_together_is_told(run, match, tmp_path):
    """Before anything is written."""
    with pytest.raises(ConfigError, match=match):
        train("simclr", data="digits", out=tmp_path / "run", **run)
    assert not (tmp_path / "run").exists()


def test_a_run_takes_a_large_batch(tmp_path):
    """From the options: 64 samples a step, 16 at a time."""
    limits = {"max_steps": 2, "enable_progress_bar": False, "accelerator": "cpu"}
    file = tmp_path / "net.py"
    file.write_text(
        "from ssl_registry.testing import tiny_backbone\n\n"
        "def build(**options):\n    return tiny_backbone((1, 16, 16))\n"
    )
    result = train(
        "simclr", data="digits", backbone=f"{file}:build", large_batch=64, batch_size=16, out=tmp_path / "run",
        knn=False, report=False, trainer=limits,
    )  # fmt: skip
    assert result.model.micro_batch == 16
    assert isinstance(result.model.backbone, nn.Module)
