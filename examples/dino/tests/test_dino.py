"""DINO: loss, center and schedules against the paper, multi-crop through backbones that accept it."""

from __future__ import annotations

import pytest
import torch
from ssl_registry_dino import DINO
from torch.nn import functional as F

from ssl_registry import Registry, hookimpl
from ssl_registry.data import open_source
from ssl_registry.errors import BackboneError
from ssl_registry.testing import method_checks

SMALL = {"hidden_dim": 16, "bottleneck_dim": 8, "prototypes": 12, "local_views": 2}
VIT = {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 4}
REGISTRY = Registry(entry_points=False)
REGISTRY.register("dino", DINO)


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
    """Cross-entropy of every pair of a large and another view, computed by hand."""
    model = make(DINO, **SMALL)
    model.heads["center"].value.uniform_(-0.1, 0.1)
    x = views(model)
    loss = loss_of(model, x)
    total, pairs = 0.0, 0
    for i in range(2):
        target = F.softmax((DINO.forward_momentum(model, x[i]) - model.heads["center"].value) / 0.04, dim=1)
        for j in range(4):
            if i != j:
                total, pairs = (
                    total - (target * (DINO.forward(model, x[j]) / 0.1).log_softmax(1)).sum(1).mean(),
                    pairs + 1,
                )
    torch.testing.assert_close(loss, total / pairs)


def test_center_moves_once_a_step(make, fit):
    """Towards the mean of the teacher's outputs over all micro-batches of the step."""
    seen = []

    class Watch:
        @hookimpl(wrapper=True)
        def compute_loss(self, model, views):
            seen.append(torch.cat([DINO.forward_momentum(model, view) for view in views[:2]]))
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
    outputs = DINO.forward_momentum(model, digits) - model.heads["center"].value
    assert len(outputs.argmax(dim=1).unique()) > 6


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_resumes_exactly(resumes):
    """Center, teacher, and the frozen epoch included, from every step, under accumulation."""
    resumes(DINO, **SMALL)


# Before the center has moved, student and teacher agree on one prototype whatever they see, and the loss is low.
RISES = "the loss begins low, with all samples alike, and rises as the center takes away what they share"
EXPECTED = dict.fromkeys(("learns_images", "learns_signals", "learns_tables"), RISES)
KIT = {"registry": REGISTRY, "slow": True, "options": SMALL, "expected_failures": EXPECTED}


@pytest.mark.slow
@pytest.mark.parametrize("check", method_checks("dino", **KIT))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
