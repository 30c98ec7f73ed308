"""MoCo: its losses and queue against the papers, what moves and what rests, and a queue that survives everything."""

from __future__ import annotations

import copy

import pytest
import torch
from ssl_registry_moco import MoCo
from torch import nn

from ssl_registry import hookimpl
from ssl_registry.testing import method_checks

SMALL = {"queue_size": 100, "hidden_dim": 16, "projection_dim": 8}
TOGETHER = SMALL | {"key_group": 0}
V3 = SMALL | {"version": "v3"}
VIT = {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 4}


def views(count=6):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(count, 1, 16, 16, generator=generator) for _ in range(2)]


@pytest.fixture
def loss_of(ctx):
    def loss_of(model, x=None):
        return model.hook.compute_loss(model=model, views=views() if x is None else x, ctx=ctx)

    return loss_of


def unit(x):
    x = x.detach().double()
    return x / x.norm(dim=1, keepdim=True)


def contrast(queries, keys, negatives, temperature):
    """Equation 1, a query at a time, in float64; without negatives among all keys."""
    rows = []
    for i, q in enumerate(queries):
        positive = (q @ keys[i] / temperature).exp()
        others = positive + (negatives @ q / temperature).exp().sum() if len(negatives) else None
        rows.append(-torch.log(positive / (others if others is not None else (keys @ q / temperature).exp().sum())))
    return torch.stack(rows).mean()


@pytest.mark.parametrize("symmetric", [False, True])
def test_v2_is_the_papers_equation(symmetric, make, loss_of):
    """InfoNCE of each query over its own key and the queue; both ways, the queue stays as it was until the step."""
    model = make(MoCo, temperature=0.3, symmetric=symmetric, **TOGETHER)
    queue = model.heads["queue"].values.double()
    loss = loss_of(model).detach()
    expected = []
    for x, y in [views(), views()[::-1]][: 2 if symmetric else 1]:
        expected.append(contrast(unit(MoCo.query(model, x)), unit(MoCo.key(model, y)), queue, 0.3))
    assert float(loss) == pytest.approx(float(torch.stack(expected).mean()), abs=1e-5)
    keys = model.heads["queue"].collector.take()
    assert len(keys) == (12 if symmetric else 6)
    torch.testing.assert_close(keys.norm(dim=1), torch.ones(len(keys)))


def test_v3_is_symmetric_over_the_batch(make, loss_of):
    """Both directions, with the batch's other keys as negatives, times twice the temperature."""
    model = make(MoCo, temperature=0.3, **V3)
    queries, keys = [unit(MoCo.query(model, v)) for v in views()], [unit(MoCo.key(model, v)) for v in views()]
    none = torch.zeros(0, 8)
    both = contrast(queries[0], keys[1], none, 0.3) + contrast(queries[1], keys[0], none, 0.3)
    assert float(loss_of(model).detach()) == pytest.approx(float(2 * 0.3 * both), abs=1e-5)
    assert "queue" not in model.heads


def test_keys_are_normalised_in_random_groups(make, loss_of, ctx):
    """Batches of 2 of 6 samples go through BatchNorm; each sample keeps its own key, of its own group."""
    model, groups = make(MoCo, key_group=2, **SMALL), []
    model.heads["target"].register_forward_pre_hook(lambda module, args: groups.append(args[0]))
    loss_of(model)
    keys = model.heads["queue"].collector.take()
    x = views()[1]
    assert [len(group) for group in groups] == [2, 2, 2]
    places = [[i for i in range(6) if torch.equal(x[i], sample)] for sample in torch.cat(groups)]
    assert sorted(place for (place,) in places) == list(range(6))
    first = [places[0][0], places[1][0]]
    torch.testing.assert_close(keys[first], MoCo.key(model, x[first]))


@pytest.mark.parametrize("mode", ["evaluation", "without BatchNorm"])
def test_groups_only_where_they_matter(mode, make, loss_of):
    """One pass in evaluation, and for a network without BatchNorm."""
    options = {"backbone": nn.Sequential(nn.Flatten(), nn.Linear(256, 12))} if mode != "evaluation" else {}
    model, groups = make(MoCo, key_group=2, **options, **SMALL), []
    model.heads["target"].register_forward_pre_hook(lambda module, args: groups.append(len(args[0])))
    loss_of(model.eval() if mode == "evaluation" else model)
    assert groups == [6]


@pytest.mark.parametrize("options", [TOGETHER, V3], ids=["v2", "v3"])
def test_half_precision_changes_little(options, make, loss_of):
    """Under autocast the similarities are float32."""
    model = make(MoCo, **options)
    plain = loss_of(model).detach()
    with torch.autocast("cpu", torch.bfloat16):
        half = loss_of(model)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.detach(), plain, atol=0.1, rtol=0.02)


def test_queue_moves_once_a_step(make, fit):
    """Four micro-batches of 16 are one step, and 64 keys."""
    model = make(MoCo, **SMALL)
    fit(model, max_steps=1, batch_size=16, accumulate_grad_batches=4)
    assert int(model.heads["queue"].enqueued) == 64


def test_validation_leaves_the_queue_alone(make, fit, loss_of):
    """Keys of held-out samples are no negatives."""
    model = make(MoCo, **SMALL)
    before = copy.deepcopy(model.heads["queue"].state_dict())
    model.eval()
    loss_of(model)
    assert model.heads["queue"].collector.take() is None
    model.train()
    fit(model, max_epochs=1, limit_train_batches=2, limit_val_batches=2, batch_size=16)
    assert int(model.heads["queue"].enqueued) == 32
    assert not torch.equal(before["values"], model.heads["queue"].values)


@pytest.mark.parametrize("options", [SMALL, V3], ids=["v2", "v3"])
def test_target_gets_no_gradient(options, make, loss_of):
    """Keys are computed without gradient; all that makes queries has one."""
    model = make(MoCo, **options)
    loss_of(model).backward()
    assert all(p.grad is None for p in model.heads["target"].parameters())
    trained = [p for name, p in model.named_parameters() if not name.startswith("heads.target")]
    assert all(p.grad is not None for p in trained)


def test_momentum_of_both_versions():
    """Constant in v2; in v3 to 1 along half a cosine; each begins as its paper does, unless it is told."""
    v2, v3 = (MoCo(MoCo.Config(version=version, momentum=0.9)) for version in ("v2", "v3"))
    assert v2.momentum_at(50, 100) == 0.9
    assert [v3.momentum_at(step, 100) for step in (0, 50, 100)] == [0.9, pytest.approx(0.95), 1.0]
    assert [MoCo(MoCo.Config(version=version)).momentum_at(0, 100) for version in ("v2", "v3")] == [0.999, 0.99]


def test_target_moves_by_steps(make, fit):
    """By the momentum of each step, whatever the accumulation: the moving average of v3, computed anew."""
    seen = []

    class Watch:
        @hookimpl(trylast=True)
        def on_step_end(self, model):
            seen.append(model.heads["projection_head"][0].weight.detach().clone())

    model = make(MoCo, observers=[Watch()], optimizer="adamw", learning_rate=0.01, **V3 | {"momentum": 0.5})
    expected = model.heads["target"][1][0].weight.clone()
    fit(model, max_steps=3, batch_size=16, accumulate_grad_batches=2)
    for step, online in enumerate(seen):
        momentum = model.method.momentum_at(step, 3)
        expected = momentum * expected + (1 - momentum) * online
    torch.testing.assert_close(model.heads["target"][1][0].weight, expected)


def widths(head):
    return [(part.in_features, part.out_features) for part in head if isinstance(part, nn.Linear)]


def test_heads_of_v2_are_the_papers(make):
    """Two layers, as wide as the features, then 128; without BatchNorm (section 3)."""
    head = make(MoCo, queue_size=4).heads["projection_head"]
    assert [type(part).__name__ for part in head] == ["Linear", "ReLU", "Linear"]
    assert widths(head) == [(128, 128), (128, 128)]


def test_heads_of_v3_are_the_papers(make):
    """Projection of three layers, prediction of two, 4096 and 256, BatchNorm behind each layer (section 4.1)."""
    projection, prediction = (make(MoCo, version="v3").heads[name] for name in ("projection_head", "prediction_head"))
    assert widths(projection) == [(128, 4096), (4096, 4096), (4096, 256)]
    assert widths(prediction) == [(256, 4096), (4096, 256)]
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    assert [type(part).__name__ for part in projection] == [*hidden, *hidden, "Linear", "BatchNorm1d"]
    assert [type(part).__name__ for part in prediction] == [*hidden, "Linear", "BatchNorm1d"]
    assert not any(head[-1].affine or head[-2].bias is not None for head in (projection, prediction))


@pytest.mark.parametrize(("options", "moves"), [({}, False), ({"freeze_patch_embed": False}, True)])
def test_v3_keeps_a_transformers_patch_embedding(options, moves, make, fit):
    """Section 4.2: drawn at random and never trained, while all else learns."""
    network = {"backbone": "vit_tiny_patch16_224", "backbone_kwargs": VIT, "input_shape": None, "image_size": 16}
    model = make(MoCo, **network, in_chans=1, optimizer="adamw", **V3 | options)
    before = copy.deepcopy(model.backbone.state_dict())
    fit(model, max_steps=1, batch_size=8)
    after = model.backbone.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert ("patch_embed.proj.weight" in changed) is moves
    assert {"pos_embed", "blocks.0.attn.qkv.weight"} <= changed


def test_v2_and_networks_without_patches_rest_nowhere(make, ctx):
    """v2 trains every part; a ResNet has no patch embedding."""
    assert make(MoCo, **V3).hook.frozen_modules(model=make(MoCo, **V3), ctx=ctx) == set()
    vit = {"backbone": "vit_tiny_patch16_224", "backbone_kwargs": VIT, "input_shape": None, "image_size": 16}
    model = make(MoCo, **vit, in_chans=1, **SMALL)
    assert model.hook.frozen_modules(model=model, ctx=ctx) == set()


def test_views_of_both_versions():
    """v2's are alike and keep a fifth of the area at least; v3's are unequal, as BYOL's."""
    (both,) = MoCo(MoCo.Config()).build_views(224).views
    assert (both.copies, both.blur, both.crop_scale, both.saturation) == (2, 0.5, (0.2, 1.0), 0.4)
    first, second = MoCo(MoCo.Config(version="v3")).build_views(224).views
    assert [(v.blur, v.solarize, v.crop_scale) for v in (first, second)] == [
        (1.0, 0.0, (0.08, 1.0)),
        (0.1, 0.2, (0.08, 1.0)),
    ]


@pytest.mark.parametrize(("version", "rate", "left"), [("v2", 1e-3, 0.95), ("v3", 1e-2, 0.9)])
def test_trains_on_digits(version, rate, left, learns):
    """Sixty steps bring the loss down; the queue holds one batch, so that it is filled at once."""
    options = SMALL | {"queue_size": 64, "projection_dim": 16, "momentum": 0.9}
    options |= {"temperature": 0.07} if version == "v2" else {}
    learns(MoCo, rate=rate, left=left, version=version, **options)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_resumes_exactly(resumes):
    """Queue and position included, from every step, under accumulation."""
    resumes(MoCo, **SMALL)


EXPECTED = MoCo.declares.fails
OPTIONS = SMALL | {"optimizer": "adamw", "learning_rate": 1e-3}


@pytest.mark.parametrize("check", method_checks("moco", slow=True, options=OPTIONS, expected_failures=EXPECTED))
def test_conformance(check):
    """Every check of the kit that applies, on v2."""
    check()


@pytest.mark.slow
@pytest.mark.parametrize(
    "check", method_checks("moco", slow=True, only=["two_processes"], options=OPTIONS | {"key_group": 0})
)
def test_two_processes_are_one(check):
    """With all keys in one group: the kit does not compare what mixes a rank's batch at random."""
    check()


@pytest.mark.parametrize("check", method_checks("moco", slow=True, options=OPTIONS | {"version": "v3"}))
def test_conformance_of_v3(check):
    """The same on v3."""
    check()
