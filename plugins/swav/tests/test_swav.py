"""SwAV: codes and loss against the paper, prototypes on the sphere, a queue from a given epoch on, multi-crop."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ssl_registry_swav import SwAV
from torch import nn

from ssl_registry import hookimpl
from ssl_registry.errors import BackboneError
from ssl_registry.testing import method_checks

SMALL = {"hidden_dim": 16, "projection_dim": 8, "prototypes": 12, "local_views": 2}
QUEUE = SMALL | {"queue_size": 20, "queue_start_epoch": 0}


def views(model, count=6):
    images = torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return model.view_policy.draw(images, torch.Generator().manual_seed(1))


@pytest.fixture
def loss_of(ctx):
    def loss_of(model, x, **where):
        return model.hook.compute_loss(model=model, views=x, ctx=replace(ctx, **where))

    return loss_of


def codes(scores, epsilon=0.05, rounds=3):
    """Sinkhorn-Knopp as equation 5 and the authors write it, in float64: samples are columns."""
    q = (scores.double() / epsilon).exp().T
    q /= q.sum()
    for _ in range(rounds):
        q /= q.sum(1, keepdim=True) * q.shape[0]
        q /= q.sum(0, keepdim=True) * q.shape[1]
    return (q * q.shape[1]).T


def swapped(wanted, scores, temperature):
    """Equations 1 and 2 over all pairs of a large and another view."""
    terms = [
        -(wanted[i] * (scores[j].double() / temperature).log_softmax(1)).sum(1).mean()
        for i in range(2)
        for j in range(len(scores))
        if i != j
    ]
    return torch.stack(terms).mean().item()


def scores_of(model, x):
    z = SwAV.project(model, x).detach().double()
    weight = model.heads["prototypes"].weight.detach().double()
    return z @ (weight / weight.norm(dim=1, keepdim=True)).T


def test_loss_is_the_papers(make, loss_of):
    """Codes of the large views, predicted from every other view."""
    model = make(SwAV, temperature=0.2, **SMALL)
    x = views(model)
    scores = scores_of(model, x)
    expected = swapped([codes(scores[0]), codes(scores[1])], scores, 0.2)
    assert loss_of(model, x).item() == pytest.approx(expected, abs=1e-5)


def test_full_queue_takes_part_in_the_codes(make, loss_of):
    """Each large view's own queue, scored by the prototypes of now; not before it is full, nor before its epoch."""
    model = make(SwAV, **QUEUE | {"queue_start_epoch": 3})
    x = views(model)
    scores = scores_of(model, x)
    alone = swapped([codes(scores[0]), codes(scores[1])], scores, 0.1)
    for number, queue in enumerate(model.heads["queues"]):
        queue.enqueue(nn.functional.normalize(torch.randn(19, 8, generator=torch.Generator().manual_seed(number))))
    assert loss_of(model, x, epoch=3).item() == pytest.approx(alone, abs=1e-5)
    for queue in model.heads["queues"]:
        queue.enqueue(torch.eye(8)[:1])
    weight = model.heads["prototypes"].weight.detach().double()
    with_queue = [
        codes(torch.cat([q.values.double() @ weight.T, s]))[20:]
        for q, s in zip(model.heads["queues"], scores, strict=False)
    ]
    expected = swapped(with_queue, scores, 0.1)
    assert expected != pytest.approx(alone, abs=1e-3)
    assert loss_of(model, x, epoch=3).item() == pytest.approx(expected, abs=1e-5)
    assert loss_of(model, x, epoch=2).item() == pytest.approx(alone, abs=1e-5)


def test_each_rank_brings_its_share_of_the_queue(make, ctx, monkeypatch):
    """Over both ranks each past projection is counted once."""
    seen = []

    def watch(scores, **rounds):
        seen.append(scores[:-6])
        return torch.softmax(scores, 1)

    monkeypatch.setattr("ssl_registry_swav.method.sinkhorn", watch)
    model = make(SwAV, **QUEUE)
    for queue in model.heads["queues"]:
        queue.enqueue(nn.functional.normalize(torch.randn(20, 8)))
    for rank in (0, 1):
        model.hook.compute_loss(model=model, views=views(model), ctx=replace(ctx, rank=rank, world_size=2))
    both = torch.cat([seen[0], seen[2]])
    expected = model.heads["prototypes"](model.heads["queues"][0].values)
    torch.testing.assert_close(both.sort(0).values, expected.sort(0).values)


def test_queue_is_filled_from_its_epoch_on(make, fit):
    """Once a step, with each large view's projections."""
    model = make(SwAV, **QUEUE | {"queue_start_epoch": 1})
    fit(model, max_epochs=1, limit_train_batches=2, batch_size=8)
    assert [int(queue.enqueued) for queue in model.heads["queues"]] == [0, 0]
    fit(model, max_epochs=2, limit_train_batches=2, batch_size=8, accumulate_grad_batches=2)
    assert [int(queue.enqueued) for queue in model.heads["queues"]] == [16, 16]
    first, second = model.heads["queues"]
    assert not torch.equal(first.values[:16], second.values[:16])


def test_prototypes_rest_in_the_first_epoch_and_stay_on_the_sphere(make, fit):
    """To the bit in epoch 0; from epoch 1 on they move, and have length 1 after every step."""
    lengths = []

    class Watch:
        @hookimpl(trylast=True)
        def on_step_end(self, model):
            lengths.append(model.heads["prototypes"].weight.norm(dim=1).detach().clone())

    model = make(SwAV, observers=[Watch()], optimizer="adamw", learning_rate=0.05, **SMALL)
    first = model.heads["prototypes"].weight.detach().clone()
    fit(model, max_epochs=1, limit_train_batches=2)
    assert torch.equal(first, model.heads["prototypes"].weight)
    fit(model, max_epochs=2, limit_train_batches=2)
    assert not torch.allclose(first, model.heads["prototypes"].weight, atol=1e-2)
    torch.testing.assert_close(torch.stack(lengths), torch.ones(6, 12))


def test_gradient_is_in_the_right_places(make, loss_of):
    """Network, head and prototypes learn by the predictions; codes are given."""
    model = make(SwAV, **SMALL)
    loss_of(model, views(model)).backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in model.parameters() if p.ndim > 1)


def test_views_are_two_large_and_some_small(make):
    """At 224 pixels the small ones have 96, and keep 5 to 14 % of the area (section 3.3)."""
    model = make(SwAV, **SMALL)
    assert [view.shape[-1] for view in views(model)] == [16, 16, 7, 7]
    large, small = SwAV(SwAV.Config()).build_views(224).views
    assert [(v.copies, v.size, v.crop_scale) for v in (large, small)] == [(2, None, (0.14, 1.0)), (6, 96, (0.05, 0.14))]
    assert len(SwAV(SwAV.Config(local_views=0)).build_views(224).views) == 1


def test_views_of_one_size_share_a_pass(make, loss_of):
    """Two passes through the network, whatever the number of views."""
    model, sizes = make(SwAV, **SMALL | {"local_views": 5}), []
    model.backbone.register_forward_pre_hook(lambda module, args: sizes.append(tuple(args[0].shape[::3])))
    loss_of(model, views(model))
    assert sizes == [(12, 16), (30, 7)]


def test_default_heads_are_the_papers(make):
    """2048 and 128, with BatchNorm between; 3000 prototypes, no queue."""
    heads = make(SwAV).heads
    assert [type(part).__name__ for part in heads["projection_head"]] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert heads["projection_head"][0].out_features == 2048
    assert heads["prototypes"].weight.shape == (3000, 128)
    assert "queues" not in heads


def test_half_precision_changes_little(make, loss_of):
    """Under autocast scores and codes are float32."""
    model = make(SwAV, **QUEUE)
    x = views(model)
    plain = loss_of(model, x).detach()
    with torch.autocast("cpu", torch.bfloat16):
        half = loss_of(model, x)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.detach(), plain, atol=0.2, rtol=0)


def test_vision_transformer_of_one_size_is_refused(make):
    """At creation; the message has the argument that mends it."""
    kwargs = {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 7}
    with pytest.raises(BackboneError, match="dynamic_img_size"):
        make(SwAV, backbone="vit_tiny_patch16_224", backbone_kwargs=kwargs, **SMALL)


def test_trains_on_digits(learns):
    """Sixty steps bring the loss down, with a queue."""
    learns(SwAV, rate=3e-3, left=0.95, **SMALL | {"local_views": 0, "queue_size": 64, "queue_start_epoch": 1})


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_resumes_exactly(resumes):
    """Queues and the frozen epoch included, from every step, under accumulation."""
    resumes(SwAV, **QUEUE | {"optimizer": "adamw", "learning_rate": 1e-3})


OPTIONS = SMALL | {"optimizer": "adamw", "learning_rate": 1e-3}


@pytest.mark.parametrize("check", method_checks("swav", slow=True, options=OPTIONS))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
