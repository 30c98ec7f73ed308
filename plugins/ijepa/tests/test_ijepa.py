"""I-JEPA: the loss on each target block, what each network sees, and a teacher that follows and is the product."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from lightning.pytorch import Trainer
from ssl_registry_ijepa import IJEPA, latent_loss
from torch.utils.data import DataLoader

from ssl_registry import Context, hookimpl, registry
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.nn import multi_block_masks, tokens
from ssl_registry.testing import method_checks

SMALL = {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2}
ROWS, COLUMNS, PATCH = 4, 6, 4
N, TARGETS, SIZE = ROWS * COLUMNS, 4, 4  # 0.175 of 24 patches


def backbone(name="vit_tiny_patch16_224", **options):
    torch.manual_seed(0)
    size = {"img_size": (ROWS * PATCH, COLUMNS * PATCH), "patch_size": PATCH}
    small = {"depth": 2, "embed_dim": 24, "num_heads": 2, "num_classes": 0, "class_token": False, "global_pool": "avg"}
    return timm.create_model(name, **size | small | options)


def make(network=None, **options):
    shape = (3, ROWS * PATCH, COLUMNS * PATCH)
    return registry.create("ijepa", backbone=network or backbone(), input_shape=shape, seed=0, **SMALL | options)


def images(batch=3, seed=0):
    return torch.randn(batch, 3, ROWS * PATCH, COLUMNS * PATCH, generator=torch.Generator().manual_seed(seed))


def loss_of(model, x, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ctx = Context(0, 0, None, rank=0, world_size=1, generator=generator, log=lambda name, value: None)
    return model.hook.compute_loss(model=model, views=[x], ctx=ctx)


def masks_of(batch=3, seed=0):
    return multi_block_masks(batch, (ROWS, COLUMNS), generator=torch.Generator().manual_seed(seed))


def move_teacher(model, seed=5):
    """Give the teacher weights of its own, so that it is no copy by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.heads["teacher"].parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


def smooth_l1(difference):
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def test_loss_is_the_papers():
    """In float64, number by number: each block predicted by itself, from the context, at its own places."""
    model = make().double()
    move_teacher(model)
    x, chosen = images().double(), masks_of()
    with torch.no_grad():
        whole = tokens(model.heads["teacher"][0], x).patches
        total, count = 0.0, 0
        for sample in range(len(x)):
            context = chosen.context[sample : sample + 1]
            seen = model.tokens(x[sample : sample + 1], keep=context).patches
            for block in chosen.targets[sample]:
                predicted = model.heads["predictor"](seen, context, block.unsqueeze(0))[0].tolist()
                for place, number in enumerate(block.tolist()):
                    wanted = whole[sample, number].tolist()
                    mean = sum(wanted) / len(wanted)
                    deviation = math.sqrt(sum((value - mean) ** 2 for value in wanted) / len(wanted) + 1e-5)
                    total += sum(
                        smooth_l1(a - (b - mean) / deviation) for a, b in zip(predicted[place], wanted, strict=True)
                    )
                    count += len(wanted)
    loss = loss_of(model, x)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(total / count, rel=1e-10)
    assert count == 3 * TARGETS * SIZE * 24


SIGNALS = {
    "backbone": "signal_transformer",
    "backbone_kwargs": {"patch_size": 2, "dim": 24, "depth": 2, "num_heads": 2},
}


def test_loss_on_signals_is_the_papers():
    """Runs of steps in the place of blocks, each predicted by itself from what is in none of them."""
    model = registry.create("ijepa", input_shape=(3, 48), seed=0, **SIGNALS, **SMALL).double()
    move_teacher(model)
    x = torch.randn(3, 3, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    chosen = multi_block_masks(3, (24,), generator=torch.Generator().manual_seed(0))
    assert (chosen.targets.diff() == 1).all()
    distances = []
    with torch.no_grad():
        whole = tokens(model.heads["teacher"][0], x).patches
        seen = model.tokens(x, keep=chosen.context).patches
        for sample in range(3):
            for block in chosen.targets[sample]:
                one = slice(sample, sample + 1)
                predicted = model.heads["predictor"](seen[one], chosen.context[one], block[None])[0]
                wanted = whole[sample, block]
                deviation = (wanted.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
                away = predicted - (wanted - wanted.mean(1, keepdim=True)) / deviation
                distances += [smooth_l1(value) for value in away.flatten().tolist()]
    assert loss_of(model, x).item() == pytest.approx(sum(distances) / len(distances), rel=1e-10)
    assert model.view_policy.is_plain
    with pytest.raises(ConfigError, match=r"ijepa does not take tables; it takes images.* or signals"):
        registry.create("ijepa", input_shape=(8,))


def test_what_each_network_sees():
    """The backbone the context alone, which is in no target; the teacher everything, once, without gradient."""
    model, calls = make(), []

    def note(module, args, kwargs, output):
        calls.append((module is model.backbone, kwargs["keep"], output.patches.shape, output.patches.requires_grad))

    for network in (model.backbone, model.heads["teacher"][0]):
        network.register_forward_hook(note, with_kwargs=True)
    loss_of(model, images()).backward()
    (teacher,) = [call for call in calls if not call[0]]
    (student,) = [call for call in calls if call[0]]
    assert (teacher[1], teacher[2], teacher[3]) == (None, (3, N, 24), False)
    assert torch.equal(student[1], masks_of().context)
    assert student[2] == (3, N - TARGETS * SIZE, 24)
    for context, targets in zip(student[1].tolist(), masks_of().targets.flatten(1).tolist(), strict=True):
        assert not {*context} & {*targets}


def test_gradient_flows_into_backbone_and_predictor_alone():
    """The teacher follows; it gets none, and no place in the optimizer."""
    model = make()
    loss_of(model, images()).backward()
    without = {name.split(".")[1] for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {"teacher"}
    assert not any(parameter.requires_grad for parameter in model.heads["teacher"].parameters())


class Replay:
    """Computes the teacher anew from the backbone's weights of every step, with the paper's formula."""

    def __init__(self, start, end):
        self.start, self.end, self.teacher, self.momenta = start, end, None, []

    @hookimpl
    def on_fit_start(self, model):
        self.teacher = [p.detach().clone() for p in model.heads["teacher"].parameters()]

    @hookimpl(trylast=True)
    def on_step_end(self, model, ctx):
        momentum = self.start + (self.end - self.start) * (ctx.step - 1) / ctx.max_steps
        self.momenta.append(momentum)
        online = model.backbone.parameters()
        self.teacher = [momentum * t + (1 - momentum) * p.detach() for t, p in zip(self.teacher, online, strict=True)]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_teacher_is_the_papers_moving_average(accumulate):
    """By optimizer steps, whatever the accumulation, along a straight line; and it is the product."""
    replay = Replay(0.9, 1.0)
    model = make(observers=[replay], learning_rate=0.01, momentum=0.9)
    data = DataLoader(torch.rand(12, 3, ROWS * PATCH, COLUMNS * PATCH), batch_size=3)
    quiet = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
    Trainer(max_epochs=1, accelerator="cpu", accumulate_grad_batches=accumulate, **quiet).fit(model, data)
    assert len(replay.momenta) == 4 // accumulate
    for ours, expected in zip(model.heads["teacher"].parameters(), replay.teacher, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)
    assert model.product is model.heads["teacher"][0]
    assert any(
        not torch.equal(a, b) for a, b in zip(model.product.parameters(), model.backbone.parameters(), strict=True)
    )


def test_teacher_starts_as_a_copy_without_dropout():
    """The same weights, other tensors; what is random in the backbone rests in it."""
    model = make(backbone(drop_path_rate=0.5, proj_drop_rate=0.5)).train()
    teacher = model.heads["teacher"][0]
    for ours, theirs in zip(teacher.parameters(), model.backbone.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours is not theirs
    assert torch.equal(tokens(teacher, images()).patches, tokens(teacher, images()).patches)
    assert not torch.equal(model.tokens(images()).patches, model.tokens(images()).patches)


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224"])
def test_other_transformers_get_a_gradient(name):
    """With registers and with rotary positions."""
    model = make(backbone(name, class_token=True))
    loss_of(model, images()).backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, gradient in trained.items() if gradient is None] == []


def test_half_precision_is_normalized_in_float32():
    """Sums of squares of 300 overflow float16: not here, nor under autocast."""
    target = (300 * torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0))).half()
    prediction = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(1)).half()
    with torch.autocast("cpu", torch.bfloat16):
        found = latent_loss(prediction, target)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), latent_loss(prediction.double(), target.double()), rtol=1e-5, atol=0)


def test_default_backbone_has_no_class_token():
    """The paper's has none: its feature is the mean of the patch tokens. Views are crops without a flip."""
    assert IJEPA.needs.backbone_kwargs == {"class_token": False, "global_pool": "avg"}
    (view,) = IJEPA(IJEPA.Config()).build_views(224).views
    assert (view.crop_scale, view.flip) == ((0.3, 1.0), 0)


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto"])
def test_other_backbones_are_refused(name):
    """At creation, with the names of some that work."""
    with pytest.raises(BackboneError, match=r"works on tokens.*vit_small_patch16_224"):
        registry.create("ijepa", backbone=name, image_size=64)


@pytest.mark.parametrize("options", [{"target_scale": 0.3}, {"num_targets": 6}, {"predictor_heads": 3}])
def test_targets_that_leave_no_context_are_refused(options):
    """With the option to change."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        make(**options)


@pytest.mark.parametrize("check", method_checks("ijepa", options=SMALL, slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()


@pytest.mark.slow
@pytest.mark.parametrize(
    "check",
    # Of the kit's signals of 16 moments 16 patches, as its images have: enough for another share to be another number.
    method_checks("ijepa", options={**SIGNALS, "backbone_kwargs": {**SIGNALS["backbone_kwargs"], "patch_size": 1}}),
)
def test_conformance_on_signals(check):
    """The same on runs of steps."""
    check()
