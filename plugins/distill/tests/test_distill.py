"""Distillation: both losses, the teacher that rests, its weights, and the queue."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer
from ssl_registry_distill import Distill, Teacher, mix, similarity_loss
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import create_backbone, registry
from ssl_registry.errors import BackboneError, CheckpointError, ConfigError
from ssl_registry.testing import method_checks

SMALL = {"teacher": "test_resnet", "teacher_weights": "random"}
SHAPE = (1, 16, 16)


def student():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def make(**options):
    torch.manual_seed(0)
    return registry.create("distill", backbone=student(), input_shape=SHAPE, seed=0, **SMALL | options)


def fit(model, folder=None, **arguments):
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = Trainer(**{"max_steps": 2} | arguments, accelerator="cpu", **dict.fromkeys(quiet, False))
    trainer.fit(model, DataLoader(images(12), batch_size=4))
    return trainer


def images(count):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))


def vectors(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_similarity_loss_is_a_divergence(temperature):
    """KL of two softmax distributions over the anchors' cosines, sample by sample, and its gradient."""
    s, t = vectors(5, 3).requires_grad_(), vectors(5, 3, seed=1)
    anchors = nn.functional.normalize(vectors(7, 3, seed=2), dim=1)
    expected = 0.0
    for row in range(5):
        p, q = ([torch.exp((x[row] / x[row].norm()) @ a / temperature) for a in anchors] for x in (t, s))
        expected = expected + sum(
            a / sum(p) * ((a / sum(p)).log() - (b / sum(q)).log()) for a, b in zip(p, q, strict=True)
        )
    found = similarity_loss(s, t, anchors, temperature)
    torch.testing.assert_close(found, expected / 5)
    torch.testing.assert_close(torch.autograd.grad(found, s), torch.autograd.grad(expected / 5, s))


def test_similarity_loss_leaves_out_anchors():
    """Those that are not used have no part in it: loss and gradient are those of the others alone."""
    s, t, used = vectors(4, 3).requires_grad_(), vectors(4, 3, seed=1), torch.tensor([True, False, True, True, False])
    anchors = nn.functional.normalize(vectors(5, 3, seed=2), dim=1)
    found, expected = similarity_loss(s, t, anchors, 0.07, used), similarity_loss(s, t, anchors[used], 0.07)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, s), torch.autograd.grad(expected, s))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Also under autocast, and with anchors that are not used."""
    s, t, anchors = (vectors(4, 3, seed=n).to(dtype) for n in range(3))
    used = torch.tensor([True, True, False, True])
    with torch.autocast("cpu", torch.bfloat16):
        found = similarity_loss(s, t, anchors, 0.07, used)
    assert found.dtype == torch.float32
    exact = similarity_loss(s.double(), t.double(), anchors.double(), 0.07, used)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-6)


def test_wrong_arguments_are_refused():
    """The error shows shapes and values."""
    with pytest.raises(ValueError, match=r"\[2, 3\] and \[2, 4\]"):
        similarity_loss(torch.ones(2, 3), torch.ones(2, 4), torch.ones(5, 3))
    with pytest.raises(ValueError, match="temperature=0"):
        similarity_loss(torch.ones(2, 3), torch.ones(2, 3), torch.ones(5, 3), temperature=0)


def test_mixing_is_in_one_proportion():
    """Each sample with another one: the mean of the batch stays, and one share explains all rows."""
    x = torch.eye(6)
    shares = set()
    for seed in range(4):
        mixed = mix(x, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(mixed.sum(0), torch.ones(6))
        values = {round(v, 4) for v in mixed.flatten().tolist()} - {0.0, 1.0}
        assert len(values) == 2
        assert sum(values) == pytest.approx(1, abs=1e-3)
        shares |= values
    assert len(shares) == 8


@pytest.mark.parametrize("loss", ["similarity", "features"])
def test_loss_is_of_one_view_for_both(loss):
    """Teacher and student get the same tensor: the view, mixed where that is asked for."""
    for mixup in (True, False):
        model, seen = make(loss=loss, mixup=mixup), {}
        for name, part in {"student": model.backbone, "teacher": model.heads["teacher_model"]}.items():
            part.register_forward_pre_hook(lambda _, inputs, name=name, seen=seen: seen.update({name: inputs[0]}))
        view = images(4)
        model.batch_loss({"views": [view]}, 0)
        assert torch.equal(seen["student"], seen["teacher"])
        assert torch.equal(seen["student"], view) != mixup


def test_feature_loss_is_the_squared_error():
    """Over samples and dimensions, of features that are not normalized."""
    model = make(loss="features", mixup=False).double()
    view = images(4).double()
    found, _ = model.batch_loss({"views": [view]}, 0)
    given, wanted = model.heads["projection_head"](model(view)), model.heads["teacher_model"](view)
    torch.testing.assert_close(found, ((given - wanted) ** 2).sum() / wanted.numel())
    assert "queue" not in model.heads


def test_teacher_rests():
    """A fit changes neither its weights nor its statistics; it is in evaluation mode and in no optimizer."""
    model = make()
    teacher = model.heads["teacher_model"]
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    trainer = fit(model)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    model.train()
    assert not any(part.training for part in teacher.network.modules())
    ours = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert not ours & {id(p) for p in teacher.parameters()}
    assert ours == {id(p) for p in [*model.backbone.parameters(), *model.heads["projection_head"].parameters()]}


def test_queue_takes_in_the_teachers_features():
    """Of length 1, behind the step, once an optimizer step; the batch meets itself as anchors of its own."""
    model = make(queue_size=10, mixup=False)
    queue = model.heads["queue"]
    loss, _ = model.batch_loss({"views": [images(4)]}, 0)
    assert int(queue.enqueued) == 0
    wanted = nn.functional.normalize(model.heads["teacher_model"](images(4)), dim=1)
    given = model.heads["projection_head"](model(images(4)))
    torch.testing.assert_close(loss, similarity_loss(given, wanted, wanted, 0.07))  # nothing of an empty queue
    model.hook.on_step_end(model=model, ctx=None)
    torch.testing.assert_close(queue.values[:4], wanted)
    fit(other := make(queue_size=16), accumulate_grad_batches=3, max_steps=1)
    assert int(other.heads["queue"].enqueued) == 12


@pytest.mark.parametrize(("samples", "size"), [(None, 8192), (400, 100), (1_000_000, 8192), (2, 1)])
def test_queue_is_a_quarter_of_the_samples(samples, size):
    """And not more than lightly-train's largest."""
    assert len(make(num_samples=samples).heads["queue"].values) == size


def test_weights_of_a_file_are_loaded_when_training_begins(tmp_path):
    """Not at creation; once they are loaded, the checkpoint has them, and the file may go."""
    source = create_backbone("test_resnet", SHAPE).module
    torch.save(source.state_dict(), tmp_path / "teacher.pt")
    model = make(teacher_weights=str(tmp_path / "teacher.pt"))
    assert not model.heads["teacher_model"].loaded
    trainer = fit(model)
    for name, value in source.state_dict().items():
        assert torch.equal(model.heads["teacher_model"].network[0].state_dict()[name], value)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    (tmp_path / "teacher.pt").unlink()
    again = registry.load(tmp_path / "last.ckpt", backbone=student())
    assert again.heads["teacher_model"].loaded
    fit(again)
    assert torch.equal(again.heads["teacher_model"](images(2)), model.heads["teacher_model"](images(2)))


def test_checkpoint_holds_the_teacher_once(tmp_path):
    """As a head; the optimizer has nothing of it."""
    fit(make()).save_checkpoint(tmp_path / "last.ckpt")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    plain = create_backbone("test_resnet", SHAPE).module.state_dict()
    stored = [name for name in state["state_dict"] if any(name.endswith(f".{key}") for key in plain)]
    of_teacher = [name for name in stored if not name.startswith("backbone.")]
    assert sorted(of_teacher) == sorted(f"heads.teacher_model.network.0.{key}" for key in plain)


def test_missing_weights_are_refused(tmp_path):
    """A path where nothing is; weights of another network."""
    with pytest.raises(CheckpointError, match="nothing-here"):
        fit(make(teacher_weights=str(tmp_path / "nothing-here")))
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(BackboneError, match="do not fit"):
        fit(make(teacher_weights=str(tmp_path / "other.pt")))


def test_no_network_is_told_in_words(monkeypatch):
    """What timm raises becomes an error that names the ways without a network."""
    import timm

    plain = timm.create_model

    def create(name, *, pretrained=False, **arguments):
        if pretrained:
            raise OSError("no route to host")
        return plain(name, **arguments)

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(ConfigError, match=r"test_resnet cannot be fetched \(OSError\).*teacher_weights=PATH"):
        fit(make(teacher_weights="pretrained"))


@pytest.mark.parametrize("name", ["hf-hub:someone/network", "net.py:Net"])
def test_teachers_that_are_fetched_or_run_are_refused(name):
    """Reopening a checkpoint of a stranger's must do neither."""
    with pytest.raises(BackboneError, match="would be fetched or run"):
        make(teacher=name)


def test_teacher_of_ones_own():
    """A module takes the place of the name; it is frozen, and nothing is loaded into it."""
    own = nn.Sequential(nn.Flatten(), nn.Linear(256, 7), nn.Dropout())
    model = make(teacher_model=own, teacher_weights="pretrained")
    assert model.heads["teacher_model"].network[0] is own
    assert model.heads["projection_head"].out_features == 7
    fit(model)
    assert not own.training


def test_view_and_head():
    """One view with the usual colors; a linear layer that begins small."""
    (view,) = Distill(Distill.Config()).build_views(224).views
    assert (view.copies, view.crop_scale, view.flip, view.color_jitter, view.grayscale) == (
        1,
        (0.14, 1.0),
        0.5,
        0.8,
        0.2,
    )
    head = make().heads["projection_head"]
    assert (head.in_features, head.out_features) == (4, 96)
    assert head.weight.std().item() == pytest.approx(0.02, rel=0.2)


def test_teacher_stays_frozen():
    """After `.train()` and `.double()`, and in a copy."""
    teacher = Teacher(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))).train().double()
    assert not teacher.network[0][1].training
    assert not any(p.requires_grad for p in teacher.parameters())


# As in every method with a queue.
EXPECTED = Distill.declares.fails


@pytest.mark.parametrize("check", method_checks("distill", options=SMALL, slow=True, expected_failures=EXPECTED))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["similarity", "features"])
def test_conformance_without_mixing(loss):
    """What mixing hides: two processes, and the checks that move an option."""
    only = ["two_processes", "unequal_batches", "options", "views", "reference", "stopped_gradients"]
    options = SMALL | {"mixup": False, "loss": loss}
    for case in method_checks("distill", options=options, slow=True, only=only):
        case.values[0]()
