"""iBOT: both losses, masks, centers and schedules against the paper, on transformers of every kind."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from ssl_registry_ibot import IBOT

from ssl_registry import Context, hookimpl, registry
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.nn import tokens
from ssl_registry.testing import method_checks
from ssl_registry.testing.fixtures import tiny_backbone

ROWS, COLUMNS, PATCH = 4, 6, 4
SMALL = {"hidden_dim": 16, "bottleneck_dim": 8, "prototypes": 12, "local_views": 2}
DIGITS = {"hidden_dim": 16, "bottleneck_dim": 8, "prototypes": 12, "local_views": 2, "warmup_teacher_epochs": 0}


def backbone(name="vit_tiny_patch16_224", **options):
    torch.manual_seed(0)
    size = {"img_size": (ROWS * PATCH, COLUMNS * PATCH), "patch_size": PATCH, "dynamic_img_size": True}
    return timm.create_model(name, **size | {"depth": 2, "embed_dim": 24, "num_heads": 2, "num_classes": 0} | options)


def make(network=None, **options):
    shape = (3, ROWS * PATCH, COLUMNS * PATCH)
    options = SMALL | {"local_size": 8, "seed": 0} | options
    return registry.create("ibot", backbone=network or backbone(), input_shape=shape, **options)


def views(batch=3, count=4):
    generator = torch.Generator().manual_seed(0)
    sides = [(ROWS * PATCH, COLUMNS * PATCH)] * 2 + [(8, 8)] * (count - 2)
    return [torch.randn(batch, 3, *side, generator=generator) for side in sides]


def context(seed=0, epoch=0):
    generator = torch.Generator().manual_seed(seed)
    return Context(epoch, 0, 10, rank=0, world_size=1, generator=generator, log=lambda name, value: None)


def loss_of(model, x, **where):
    return model.hook.compute_loss(model=model, views=x, ctx=context(**where))


def softmax(values, temperature):
    scaled = [math.exp(value / temperature) for value in values]
    return [value / sum(scaled) for value in scaled]


def entropy(wanted, given):
    return -sum(t * math.log(s) for t, s in zip(wanted, given, strict=True))


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def outputs(x, projection, last):
    return (unit(projection(x)) @ unit(last.weight).T).detach()


@pytest.mark.parametrize("shared", [True, False])
def test_loss_is_the_papers(shared):
    """Equations 2 and 3 number by number in float64; 0.3 of the way of the teacher's warm-up."""
    model = make(shared_head=shared, temperature=0.2, warmup_teacher_epochs=10, patch_weight=0.7).double()
    heads, x, sharp = model.heads, [view.double() for view in views()], 0.04 + 0.3 * 0.03
    generator = torch.Generator().manual_seed(5)
    for tensor in [*heads["target"].parameters(), heads["center"].value]:
        tensor.data += 0.1 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)  # no copy by chance
    heads["patch_center"].value.uniform_(-0.2, 0.2, generator=generator)
    network, *target = heads["target"]
    own = [heads["projection_head"], heads["last_layer"]]
    patch_own = own if shared else [heads["patch_projection_head"], heads["patch_last_layer"]]
    mask = model.method.masks(3, model.token_grid, context()).mask.view(2, 3, -1)
    token = heads["mask_token"]()
    student = [tokens(model.backbone, v, mask=m, mask_token=token) for v, m in zip(x[:2], mask, strict=True)]
    student += [tokens(model.backbone, v) for v in x[2:]]
    teacher = [tokens(network, v) for v in x[:2]]
    wanted = [(outputs(found.prefix[:, 0], *target[:2]) - heads["center"].value).tolist() for found in teacher]
    given = [outputs(found.prefix[:, 0], *own).tolist() for found in student]
    pairs = [
        entropy(softmax(wanted[i][n], sharp), softmax(given[j][n], 0.2))
        for i in range(2)
        for j in range(4)
        for n in range(3)
        if i != j
    ]
    images = []
    for i in range(2):
        wanted_patches = (outputs(teacher[i].patches, *target[-2:]) - heads["patch_center"].value).tolist()
        given_patches = outputs(student[i].patches, *patch_own).tolist()
        for n in range(3):
            terms = [
                entropy(softmax(t, sharp), softmax(s, 0.2))
                for t, s, hidden in zip(wanted_patches[n], given_patches[n], mask[i, n].tolist(), strict=True)
                if hidden
            ]
            images.append(sum(terms) / max(1, len(terms)))
    found = loss_of(model, x, epoch=3)
    assert found["class_loss"].item() == pytest.approx(sum(pairs) / len(pairs), rel=1e-6)
    assert found["patch_loss"].item() == pytest.approx(sum(images) / len(images), rel=1e-6)
    assert found["loss"].item() == pytest.approx((found["class_loss"] + 0.7 * found["patch_loss"]).item(), rel=1e-12)


def test_student_and_teacher_are_not_masked_alike():
    """The student sees masked large views and whole small ones; the teacher sees large ones, whole."""
    model, seen = make(), []
    for word, network in (("student", model.backbone), ("teacher", model.heads["target"][0])):
        network.register_forward_hook(
            lambda module, args, kwargs, output, word=word: seen.append(
                (word, len(args[0]), kwargs["mask"] is not None)
            ),
            with_kwargs=True,
        )
    loss_of(model, views())
    assert seen == [("student", 6, True), ("student", 6, False), ("teacher", 6, False)]


def test_half_of_the_large_views_is_masked_at_ratios_from_the_generator():
    """Of each sample one; where, the generator of the step says, so a resumed run has the same."""
    model = make()
    first, again, other = (model.method.masks(64, (14, 14), context(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.mask, again.mask)
    assert not torch.equal(first.mask, other.mask)
    counts = first.mask.sum(1).view(2, 64)
    assert ((counts > 0).sum(0) == 1).all()
    shares = counts[counts > 0] / 196
    assert 0.1 <= shares.min() < 0.12 < 0.48 < shares.max() <= 0.5


def test_gradient_is_the_students_alone():
    """The teacher and the centers get none; everything of the student, the mask token too, has one."""
    model = make(shared_head=False)
    loss_of(model, views())["loss"].backward()
    without = {name.split(".")[1] for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {"target"}
    assert model.product is model.heads["target"][0]


def test_centers_move_once_a_step(fit):
    """Towards the means of the teacher's outputs over all micro-batches of the step: class tokens, masked patches."""
    seen = {"center": [], "patch_center": []}
    model = registry.create("ibot", backbone=tiny_backbone((1, 16, 16), tokens=True), input_shape=(1, 16, 16), **DIGITS)
    for name, outputs in seen.items():
        model.heads[name].register_forward_hook(
            lambda module, args, output, outputs=outputs: outputs.append(args[0].flatten(0, -2))
        )
    fit(model, max_steps=1, batch_size=16, accumulate_grad_batches=2)
    for name, outputs in seen.items():
        assert len(outputs) == 2
        torch.testing.assert_close(model.heads[name].value, 0.1 * torch.cat(outputs).mean(0))


def test_teacher_follows_all_parts_and_weight_decay_rises(fit):
    """By optimizer steps: momentum 0.9 to 1, weight decay 0.04 to 0.4, each along half a cosine."""
    decays, weights, names = [], [], ["projection_head", "last_layer", "patch_projection_head", "patch_last_layer"]

    class Watch:
        @hookimpl(trylast=True)
        def on_step_end(self, model):
            decays.append(model.trainer.optimizers[0].param_groups[0]["weight_decay"])
            parts = [model.backbone, *(model.heads[name] for name in names)]
            weights.append([p.detach().clone() for part in parts for p in part.parameters()])

    options = DIGITS | {"momentum": 0.9, "learning_rate": 0.01, "shared_head": False}
    model = registry.create(
        "ibot",
        backbone=tiny_backbone((1, 16, 16), tokens=True),
        input_shape=(1, 16, 16),
        observers=[Watch()],
        **options,
    )
    expected = [p.clone() for p in model.heads["target"].parameters()]
    fit(model, max_steps=4, batch_size=16, accumulate_grad_batches=2)
    shares = [(1 - math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert decays == pytest.approx([0.04 + 0.36 * share for share in shares])
    for share, online in zip(shares, weights, strict=True):
        momentum = 0.9 + 0.1 * share
        expected = [momentum * t + (1 - momentum) * p for t, p in zip(expected, online, strict=True)]
    for found, wanted in zip(model.heads["target"].parameters(), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_last_layers_rest_in_the_first_epoch():
    """Of both heads where there are two."""
    for shared, wanted in ((True, {"last_layer"}), (False, {"last_layer", "patch_last_layer"})):
        model = make(shared_head=shared)
        assert model.method.frozen_modules(model, context(epoch=0)) == wanted
        assert model.method.frozen_modules(model, context(epoch=1)) == set()


@pytest.mark.parametrize(
    "name",
    [
        *("deit3_small_patch16_224", "vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224"),
        "vit_small_patch16_dinov3",
    ],
)
def test_other_transformers_get_a_gradient(name):
    """Without a position for the class token, with registers, with rotary positions; on a grid of rectangles."""
    model = make(backbone(name))
    loss_of(model, views())["loss"].backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, gradient in trained.items() if gradient is None] == []


def test_a_swin_trains_on_the_mean_of_its_patches():
    """Without small views, as it is built for one size."""
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=64, depths=(1, 1), num_heads=(2, 2), embed_dim=16, window_size=4
    )
    model = registry.create("ibot", backbone=swin, input_shape=(3, 64, 64), **SMALL | {"local_views": 0})
    x = list(torch.randn(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert loss_of(model, x)["loss"].isfinite()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backbone": "resnet10t"}, "ResNet cannot mask patches.*vit_small_patch16_224"),
        ({"backbone": "vit_tiny_patch16_224"}, "views of 24 pixels.*dynamic_img_size"),
    ],
)
def test_other_backbones_are_refused(arguments, words):
    """At creation, with the names of some that work, or the argument that mends it."""
    with pytest.raises(BackboneError, match=words):
        registry.create("ibot", image_size=64, **SMALL, **arguments)


def test_a_ratio_that_masks_everything_is_refused():
    """The backbone has too few patches for it."""
    with pytest.raises(ConfigError, match="masks all of the 24 patches"):
        make(max_mask_ratio=0.99)


def test_views_are_two_large_and_some_small():
    """The authors' shares of the area; small views are whole patches."""
    large, other, small = IBOT(IBOT.Config()).build_views(224).views
    assert (large.crop_scale, other.solarize, small.crop_scale) == ((0.25, 1.0), 0.2, (0.05, 0.25))
    assert (small.copies, small.size) == (10, 96)
    assert IBOT(IBOT.Config()).build_views(32).views[2].size == 12


@pytest.mark.slow
def test_trains_on_digits_without_collapse(learns):
    """Sixty steps bring the loss down."""
    learns(IBOT, rate=1e-3, left=0.95, momentum=0.98, backbone=tiny_backbone((1, 16, 16), tokens=True), **DIGITS)


@pytest.mark.parametrize("check", method_checks("ibot", slow=True, expected_failures=IBOT.declares.fails))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
