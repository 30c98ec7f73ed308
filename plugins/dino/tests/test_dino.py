"""DINO: loss, center and schedules against the paper, multi-crop through backbones that accept it."""

from __future__ import annotations

import math

import pytest
import torch
from ssl_registry_dino import DINO
from torch import nn

from ssl_registry import hookimpl
from ssl_registry.data import open_source
from ssl_registry.errors import BackboneError
from ssl_registry.testing import method_checks

SMALL = {"hidden_dim": 16, "bottleneck_dim": 8, "prototypes": 12, "local_views": 2}
VIT = {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 4}


def views(model, count=6):
    images = torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return model.view_policy.draw(images, torch.Generator().manual_seed(1))


@pytest.fixture
def loss_of(ctx):
    def loss_of(model, x):
        return model.hook.compute_loss(model=model, views=x, ctx=ctx)

    return loss_of


def test_views_are_two_large_and_some_small(make):
    """At 16 pixels the small ones have 7, the same share as 96 of 224."""
    model = make(DINO, **SMALL)
    assert [view.shape[-1] for view in views(model)] == [16, 16, 7, 7]
    assert [v.size for v in DINO(DINO.Config()).build_views(224).views] == [None, None, 96]


def test_loss_is_the_papers(make, loss_of):
    """Equation 3 over every pair of a large and another view, a sample at a time in float64."""
    model = make(DINO, temperature=0.2, teacher_temperature=0.05, **SMALL)
    model.heads["center"].value.uniform_(-0.1, 0.1)
    x = views(model)
    loss = loss_of(model, x)
    student, teacher = DINO.forward(model, x).detach().double(), DINO.forward_momentum(model, x[:2]).double()
    center, terms = model.heads["center"].value.double(), []
    for i in range(2):
        for j in range(4):
            for n in range(6) if i != j else ():
                wanted = ((teacher[i, n] - center) / 0.05).exp()
                given = (student[j, n] / 0.2).exp()
                terms.append(-(wanted / wanted.sum() * (given / given.sum()).log()).sum())
    assert loss.item() == pytest.approx(torch.stack(terms).mean().item(), abs=1e-5)


def test_gradient_is_the_students_alone(make, loss_of):
    """The teacher gets none; everything of the student has one."""
    model = make(DINO, **SMALL)
    loss_of(model, views(model)).backward()
    assert all(p.grad is None for p in model.heads["target"].parameters())
    trained = [p for name, p in model.named_parameters() if not name.startswith("heads.target")]
    assert all(p.grad is not None for p in trained)


def test_views_of_one_size_share_a_pass(make, loss_of):
    """The student makes two passes, the teacher one with the two large views."""
    model, student, teacher = make(DINO, **SMALL | {"local_views": 5}), [], []
    model.backbone.register_forward_pre_hook(lambda module, args: student.append(tuple(args[0].shape[::3])))
    model.heads["target"].register_forward_pre_hook(lambda module, args: teacher.append(tuple(args[0].shape[::3])))
    loss_of(model, views(model))
    assert (student, teacher) == ([(12, 16), (30, 7)], [(12, 16)])


@pytest.mark.parametrize(("batch_norm", "between"), [(False, ["GELU"]), (True, ["BatchNorm1d", "GELU"])])
def test_head_is_the_papers(batch_norm, between, make):
    """Three layers, 2048 and 256, GELU between, no BatchNorm unless asked for; 65,536 directions of length 1."""
    heads = make(DINO, batch_norm=batch_norm).heads
    head, last = heads["projection_head"], heads["last_layer"]
    assert [type(part).__name__ for part in head] == ["Linear", *between, "Linear", *between, "Linear"]
    assert [part.out_features for part in head if isinstance(part, nn.Linear)] == [2048, 2048, 256]
    assert head[0].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert head[0].bias.count_nonzero() == 0
    assert last.weight.shape == (65536, 256)
    assert last.weight_norm


def test_teacher_and_weight_decay_follow_their_schedules(make, fit):
    """By optimizer steps: momentum 0.9 to 1, weight decay 0.04 to 0.4, each along half a cosine."""
    decays, weights = [], []

    class Watch:
        @hookimpl(trylast=True)
        def on_step_end(self, model):
            decays.append(model.trainer.optimizers[0].param_groups[0]["weight_decay"])
            weights.append(model.backbone[0].weight.detach().clone())

    model = make(DINO, observers=[Watch()], momentum=0.9, learning_rate=0.01, **SMALL)
    expected = model.heads["target"][0][0].weight.clone()
    fit(model, max_steps=4, batch_size=16, accumulate_grad_batches=2)
    shares = [(1 - math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert decays == pytest.approx([0.04 + 0.36 * share for share in shares])
    for share, online in zip(shares, weights, strict=True):
        momentum = 0.9 + 0.1 * share
        expected = momentum * expected + (1 - momentum) * online
    torch.testing.assert_close(model.heads["target"][0][0].weight, expected)


def test_product_is_the_teachers_backbone(make):
    """What the paper evaluates."""
    model = make(DINO, **SMALL)
    assert model.product is model.heads["target"][0]


def test_center_moves_once_a_step(make, fit):
    """Towards the mean of the teacher's outputs over all micro-batches of the step."""
    seen = []

    class Watch:
        @hookimpl(wrapper=True)
        def compute_loss(self, model, views):
            seen.append(DINO.forward_momentum(model, views[:2]).flatten(0, 1))
            return (yield)

    model = make(DINO, observers=[Watch()], center_momentum=0.75, **SMALL)
    fit(model, max_steps=1, batch_size=16, accumulate_grad_batches=2)
    torch.testing.assert_close(model.heads["center"].value, 0.25 * torch.cat(seen).mean(0))


def test_last_layer_rests_in_the_first_epoch(make, fit):
    """Its weights do not move in epoch 0, and do in epoch 1."""
    model = make(DINO, weight_decay=0.5, learning_rate=0.01, **SMALL)
    first = model.heads["last_layer"].weight.clone()
    fit(model, max_epochs=1, limit_train_batches=2)
    assert torch.equal(first, model.heads["last_layer"].weight)
    fit(model, max_epochs=2, limit_train_batches=2)
    assert not torch.equal(first, model.heads["last_layer"].weight)


def test_teacher_temperature_warms_up():
    """Linear over epochs, then constant."""
    method = DINO(DINO.Config(warmup_teacher_temperature=0.04, teacher_temperature=0.08, warmup_teacher_epochs=4))
    assert [method.teacher_temperature_at(n) for n in (0, 2, 4, 9)] == pytest.approx([0.04, 0.06, 0.08, 0.08])


def test_vision_transformer_of_one_size_is_refused(make):
    """At creation, not in the first step; the message has the argument that mends it."""
    with pytest.raises(BackboneError, match=r"views of 7 pixels.*dynamic_img_size"):
        make(DINO, backbone="vit_tiny_patch16_224", backbone_kwargs=VIT | {"patch_size": 7}, **SMALL)


def test_vision_transformer_takes_small_views(make, fit):
    """With dynamic_img_size it trains on views of two sizes."""
    kwargs = VIT | {"dynamic_img_size": True, "dynamic_img_pad": True}
    model = make(DINO, backbone="vit_tiny_patch16_224", backbone_kwargs=kwargs, **SMALL)
    assert fit(model, max_steps=1, batch_size=8).global_step == 1


def test_trains_on_digits_without_collapse(learns):
    """Sixty steps bring the loss down, and the teacher spreads the digits over most of its prototypes."""
    model = learns(DINO, rate=1e-3, left=0.9, momentum=0.98, **SMALL)
    digits = model.view_policy.prepare(open_source("digits").test.x)
    outputs = DINO.forward_momentum(model, [digits])[0] - model.heads["center"].value
    assert len(outputs.argmax(dim=1).unique()) > 6


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_resumes_exactly(resumes):
    """Center, teacher, and the frozen epoch included, from every step, under accumulation."""
    resumes(DINO, **SMALL)


EXPECTED = DINO.declares.fails
KIT = {"slow": True, "options": SMALL, "expected_failures": EXPECTED}


@pytest.mark.parametrize("check", method_checks("dino", **KIT))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
