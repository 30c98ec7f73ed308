"""data2vec: the averaged, normalized target, the loss at masked patches, and a teacher that follows."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from lightning.pytorch import Trainer
from ssl_registry_data2vec import Data2Vec, averaged_target
from ssl_registry_data2vec.method import default_layers
from torch.utils.data import DataLoader

from ssl_registry import Context, hookimpl, registry
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.nn import block_mask, random_mask, tokens
from ssl_registry.testing import method_checks

ROWS, COLUMNS, PATCH, MASKED = 4, 6, 4, 14  # 0.6 of 24 patches
N = ROWS * COLUMNS


def backbone(name="vit_tiny_patch16_224", **options):
    torch.manual_seed(0)
    size = {"img_size": (ROWS * PATCH, COLUMNS * PATCH), "patch_size": PATCH}
    small = {"depth": 3, "embed_dim": 24, "num_heads": 2, "num_classes": 0, "global_pool": "avg"}
    return timm.create_model(name, **size | small | options)


def make(network=None, **options):
    options = {"top_layers": 2, "min_block": 4, "seed": 0} | options
    shape = (3, ROWS * PATCH, COLUMNS * PATCH)
    return registry.create("data2vec", backbone=network or backbone(), input_shape=shape, **options)


def images(batch=3, seed=0):
    return torch.randn(batch, 3, ROWS * PATCH, COLUMNS * PATCH, generator=torch.Generator().manual_seed(seed))


def loss_of(model, x, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ctx = Context(0, 0, None, rank=0, world_size=1, generator=generator, log=lambda name, value: None)
    return model.hook.compute_loss(model=model, views=[x], ctx=ctx)


def masks_of(batch=3, seed=0):
    return block_mask(batch, (ROWS, COLUMNS), 0.6, min_patches=4, generator=torch.Generator().manual_seed(seed))


def standardized(values):
    """Mean 0 and variance 1, with PyTorch's epsilon, of a list."""
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values) + 1e-5)
    return [(value - mean) / deviation for value in values]


def wanted_target(layers, sample, norm):
    """The target of one image, [N][dim], as lists: the formula, written out."""
    normed = []
    for layer in layers:
        rows = layer[sample].tolist()
        columns = [standardized([row[column] for row in rows]) for column in range(len(rows[0]))]
        by_token = [[column[number] for column in columns] for number in range(len(rows))]
        normed.append([standardized(row) for row in rows] if norm == "layer" else by_token)
    means = [[sum(parts) / len(parts) for parts in zip(*rows, strict=True)] for rows in zip(*normed, strict=True)]
    return [standardized(row) for row in means]


@pytest.mark.parametrize("norm", ["layer", "instance"])
def test_target_is_the_papers(norm):
    """Each block normalized, averaged, and each token of the mean normalized; in float64, number by number."""
    layers = torch.randn(3, 2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4 + 1
    found = averaged_target(list(layers), norm)
    wanted = torch.tensor([wanted_target(layers, sample, norm) for sample in range(2)], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("beta", [2.0, 0.5])
def test_loss_is_the_papers(beta):
    """Smooth L1 with its beta at masked patches alone; the student sees masked blocks, the teacher everything."""
    model = make(beta=beta).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.heads["teacher"].parameters():  # no copy by chance
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        x, choice = images().double(), masks_of()
        layers = tokens(model.heads["teacher"][0], x, layers=(1, 2)).layers
        student = model.tokens(x, mask=choice.mask, mask_token=model.heads["mask_token"]()).patches
        predicted = model.heads["regression_head"](student)
    total, count = 0.0, 0
    for sample in range(len(x)):
        wanted = wanted_target(layers, sample, "layer")
        for number in range(N):
            if choice.mask[sample, number]:
                for a, b in zip(predicted[sample, number].tolist(), wanted[number], strict=True):
                    difference = abs(a - b)
                    total += 0.5 * difference**2 / beta if difference < beta else difference - 0.5 * beta
                    count += 1
    loss = loss_of(model, x)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(total / count, rel=1e-10)
    assert count == 3 * MASKED * 24


def test_gradient_flows_into_student_head_and_mask_token_alone():
    """The teacher follows; it is computed without gradient, and has no place in the optimizer."""
    model = make()
    loss_of(model, images()).backward()
    without = {name.split(".")[1] for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {"teacher"}
    assert not any(parameter.requires_grad for parameter in model.heads["teacher"].parameters())
    assert model.product is model.backbone


def test_masks_are_blocks_of_one_count():
    """Fourteen patches of each image, another choice for each, and the same from the same seed."""
    model, given = make(), []
    model.backbone.register_forward_hook(
        lambda module, args, kwargs, output: given.append(kwargs["mask"]), with_kwargs=True
    )
    for seed in (0, 0, 1):
        loss_of(model, images(8), seed)
    assert given[0].sum(1).tolist() == [MASKED] * 8
    assert len(set(map(tuple, given[0].tolist()))) > 3
    assert torch.equal(given[0], given[1])
    assert not torch.equal(given[0], given[2])


class Replay:
    """Computes the teacher anew from the backbone's weights of every step, with the paper's formula."""

    def __init__(self, start, end, steps):
        self.start, self.end, self.steps, self.teacher, self.count = start, end, steps, None, 0

    @hookimpl
    def on_fit_start(self, model):
        self.teacher = [p.detach().clone() for p in model.heads["teacher"].parameters()]

    @hookimpl(trylast=True)
    def on_step_end(self, model, ctx):
        self.count += 1
        momentum = self.start + (self.end - self.start) * min(1.0, (ctx.step - 1) / (self.steps or ctx.max_steps))
        online = model.backbone.parameters()
        self.teacher = [momentum * t + (1 - momentum) * p.detach() for t, p in zip(self.teacher, online, strict=True)]


@pytest.mark.parametrize(("accumulate", "steps"), [(1, None), (1, 2), (2, None)])
def test_teacher_is_the_papers_moving_average(accumulate, steps):
    """By optimizer steps, whatever the accumulation; the momentum rises over the run or the first steps."""
    replay = Replay(0.5, 0.9, steps)
    options = {"momentum": 0.5, "final_momentum": 0.9, "momentum_steps": steps}
    model = make(observers=[replay], learning_rate=0.01, **options)
    data = DataLoader(torch.rand(12, 3, ROWS * PATCH, COLUMNS * PATCH), batch_size=3)
    quiet = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False)
    Trainer(max_epochs=1, accelerator="cpu", accumulate_grad_batches=accumulate, **quiet).fit(model, data)
    assert replay.count == 4 // accumulate
    for ours, expected in zip(model.heads["teacher"].parameters(), replay.teacher, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224"])
def test_other_transformers_get_a_gradient(name):
    """With registers and with rotary positions."""
    model = make(backbone(name))
    loss_of(model, images()).backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, gradient in trained.items() if gradient is None] == []


def test_half_precision_is_normalized_in_float32():
    """Sums of squares of 300 overflow float16: not here, nor under autocast."""
    layers = list((300 * torch.randn(2, 2, 5, 64, generator=torch.Generator().manual_seed(0))).half())
    with torch.autocast("cpu", torch.bfloat16):
        found = averaged_target(layers)
    assert found.dtype == torch.float32
    exact = averaged_target([layer.double() for layer in layers])
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    model = make()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss_of(model, images())
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, loss_of(model, images()), rtol=0.05, atol=0)


def test_defaults_are_the_papers():
    """Six blocks, beta 2, 60 % masked in blocks of at least 16 patches, and a constant momentum of 0.9998."""
    config = Data2Vec.Config()
    assert (config.top_layers, config.beta, config.mask_ratio, config.min_block) == (None, 2.0, 0.6, None)
    assert (config.momentum, config.final_momentum, config.target_norm) == (0.9998, 0.9998, "layer")
    drawn = Data2Vec(config).masks(8, (3, 224, 224), (14, 14), generator=torch.Generator().manual_seed(0))
    wanted = block_mask(8, (14, 14), 0.6, min_patches=16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn.mask, wanted.mask)
    assert [default_layers(backbone(depth=depth, embed_dim=8)) for depth in (12, 24, 4, 1)] == [6, 6, 2, 1]


SHAPES = {"signal": (3, 48), "table": (10,)}
OTHERS = {
    "signal": {
        "backbone": "signal_transformer",
        "backbone_kwargs": {"patch_size": 4, "dim": 24, "depth": 4, "num_heads": 2},
    },
    "table": {"backbone": "table_transformer", "backbone_kwargs": {"dim": 24, "depth": 4, "num_heads": 2}},
}


@pytest.mark.parametrize("kind", ["signal", "table"])
def test_loss_on_signals_and_tables_is_the_papers(kind):
    """Runs of four steps and more, or features at random; the mean of half of the blocks; number by number."""
    model = registry.create("data2vec", input_shape=SHAPES[kind], seed=0, **OTHERS[kind]).double()
    x = torch.randn(3, *SHAPES[kind], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    if kind == "signal":
        choice = block_mask(3, (12,), 0.6, min_patches=4, generator=generator)
    else:
        choice = random_mask(3, (10,), 0.6, generator=generator)
    with torch.no_grad():
        for parameter in model.heads["teacher"].parameters():
            parameter *= 1.1  # no copy by chance
        layers = tokens(model.heads["teacher"][0], x, layers=(2, 3)).layers
        student = model.tokens(x, mask=choice.mask, mask_token=model.heads["mask_token"]()).patches
        predicted = model.heads["regression_head"](student)
    distances = []
    for sample in range(3):
        target = wanted_target(layers, sample, "layer")
        for number in choice.masked[sample].tolist():
            pairs = zip(predicted[sample, number].tolist(), target[number], strict=True)
            differences = [abs(a - b) for a, b in pairs]
            distances += [d**2 / 4 if d < 2 else d - 1 for d in differences]
    assert loss_of(model, x).item() == pytest.approx(sum(distances) / len(distances), rel=1e-10)
    assert model.view_policy.is_plain


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backbone": "resnet10t"}, "ResNet cannot mask patches.*vit_small_patch16_224"),
        ({"backbone": "convnext_atto"}, "blocks of one width, and those of ConvNeXt differ.*vit_small_patch16_224"),
    ],
)
def test_other_backbones_are_refused(arguments, words):
    """At creation, with the names of some that work."""
    with pytest.raises(BackboneError, match=words):
        registry.create("data2vec", image_size=64, **arguments)


@pytest.mark.parametrize("ratio", [0.01, 0.99])
def test_a_ratio_that_leaves_nothing_to_do_is_refused(ratio):
    """Nothing masked, or nothing visible."""
    with pytest.raises(ConfigError, match="mask_ratio"):
        make(mask_ratio=ratio)


def test_more_blocks_than_there_are_are_refused():
    """When the teacher is asked for them."""
    with pytest.raises(BackboneError, match="there is no layer -6; the network has layers 0 to 2"):
        loss_of(make(top_layers=6), images())


@pytest.mark.slow
@pytest.mark.parametrize(
    "check",
    [
        *method_checks("data2vec", options=OTHERS["signal"]),
        *method_checks(
            "data2vec",
            options=OTHERS["table"],
            expected_failures={"options": "min_block acts where patches have neighbors"},
        ),
    ],
)
def test_conformance_on_signals_and_tables(check):
    """The same on patches of time and on features."""
    check()


@pytest.mark.parametrize(
    "check", method_checks("data2vec", options={"top_layers": 2, "min_block": 2, "learning_rate": 1e-4}, slow=True)
)
def test_conformance(check):
    """Every check of the kit that applies."""
    check()
