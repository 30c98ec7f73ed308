"""SimMIM: the paper's loss on masked squares, on plain and on hierarchical networks, and where it cannot be."""

from __future__ import annotations

import pytest
import timm
import torch
from ssl_registry_simmim import SimMIM, masked_l1
from torch import nn

from ssl_registry import Context, registry
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.model.optimizers import default_param_groups
from ssl_registry.nn import random_mask
from ssl_registry.testing import method_checks

ROWS, COLUMNS, PATCH, UNIT = 4, 8, 4, 2


def backbone(name="vit_tiny_patch16_224", **options):
    torch.manual_seed(0)
    size = {"img_size": (ROWS * PATCH, COLUMNS * PATCH), "patch_size": PATCH}
    small = {"depth": 2, "embed_dim": 24, "num_heads": 2, "num_classes": 0, "global_pool": "avg"}
    return timm.create_model(name, **size | small | options)


def make(network=None, **options):
    shape = (3, ROWS * PATCH, COLUMNS * PATCH)
    options = {"mask_unit": UNIT * PATCH, "seed": 0} | options
    return registry.create("simmim", backbone=network or backbone(), input_shape=shape, **options)


def images(batch=3, seed=0, shape=(3, ROWS * PATCH, COLUMNS * PATCH)):
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed))


def loss_of(model, x, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ctx = Context(0, 0, None, rank=0, world_size=1, generator=generator, log=lambda name, value: None)
    return model.hook.compute_loss(model=model, views=[x], ctx=ctx)


def masks_of(batch=3, seed=0):
    return random_mask(batch, (ROWS, COLUMNS), 0.6, unit=UNIT, generator=torch.Generator().manual_seed(seed))


def test_loss_is_the_papers():
    """In float64, pixel by pixel, from an image put together again: the mean over masked pixels of all channels."""
    model = make().double()
    x, mask = images().double(), masks_of().mask
    token = model.heads["mask_token"]()
    with torch.no_grad():
        predicted = model.heads["decoder"](model.tokens(x, mask=mask, mask_token=token).patches)
    total, count = 0.0, 0
    for sample in range(len(x)):
        for y in range(ROWS * PATCH):
            for x_ in range(COLUMNS * PATCH):
                number = (y // PATCH) * COLUMNS + x_ // PATCH
                if mask[sample, number]:
                    place = (y % PATCH) * PATCH + x_ % PATCH
                    values = predicted[sample, number, 3 * place : 3 * place + 3].tolist()
                    wanted = x[sample, :, y, x_].tolist()
                    total += sum(abs(a - b) for a, b in zip(values, wanted, strict=True))
                    count += 3
    loss = loss_of(model, x)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(total / count, rel=1e-12)
    assert count == 3 * 5 * (UNIT * PATCH) ** 2 * 3  # 5 of 8 squares


def test_backbone_is_given_whole_masked_squares():
    """Five of eight squares of 2 x 2 patches, for each sample its own; the same seed draws the same."""
    model, given = make(), []
    model.backbone.register_forward_hook(
        lambda module, args, kwargs, output: given.append(kwargs["mask"]), with_kwargs=True
    )
    for seed in (0, 0, 1):
        loss_of(model, images(8), seed)
    squares = given[0].view(8, ROWS // UNIT, UNIT, COLUMNS // UNIT, UNIT)
    assert torch.equal(squares.all(4).all(2), squares.any(4).any(2))
    assert given[0].sum(1).tolist() == [5 * UNIT**2] * 8
    assert len(set(map(tuple, given[0].tolist()))) > 3
    assert torch.equal(given[0], given[1])
    assert not torch.equal(given[0], given[2])


@pytest.mark.parametrize(
    ("patch", "side", "unit"),
    [(16, 224, 32), (16, 192, 32), (4, 192, 32), (32, 192, 32), (14, 224, 28), (8, 96, 16), (4, 32, 4), (4, 16, 4)],
)
def test_default_squares_are_the_papers(patch, side, unit):
    """32 pixels in images of 192; in small ones a sixth of the side, and at least a patch."""
    grid = (side // patch,) * 2
    assert SimMIM(SimMIM.Config()).unit((patch, patch), grid) * patch == unit


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("swin_tiny_patch4_window7_224", {"window_size": 2, "embed_dim": 16, "num_heads": (1, 1, 1, 1)}),
        ("convnext_atto", {"dims": (16, 32, 64, 128)}),
    ],
)
def test_hierarchical_networks_get_a_gradient(name, options):
    """The token has the stem's width and the prediction the stride's; every parameter has a gradient."""
    size = {} if "convnext" in name else {"img_size": 64}
    network = timm.create_model(name, depths=(1, 1, 1, 1), num_classes=0, **size, **options)
    model = registry.create("simmim", backbone=network, input_shape=(3, 64, 64), seed=0)
    assert model.heads["mask_token"]().shape == (16,)
    assert model.heads["decoder"].out_features == 3 * 32**2
    loss_of(model, images(shape=(3, 64, 64))).backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224"])
def test_plain_transformers_get_a_gradient(name):
    """With registers and with rotary positions."""
    model = make(backbone(name))
    loss_of(model, images()).backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


def test_half_precision_is_summed_in_float32():
    """Sums over thousands of pixels lose digits in half precision: not here, nor under autocast."""
    prediction, patches = torch.randn(2, 2, 6, 4096, generator=torch.Generator().manual_seed(0)).bfloat16()
    masked = torch.tensor([[0, 3], [5, 1]])
    found = masked_l1(prediction[:, :2], patches, masked)
    exact = masked_l1(prediction[:, :2].double(), patches.double(), masked)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)
    model = make()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss_of(model, images())
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, loss_of(model, images()), rtol=0.02, atol=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backbone": "resnet10t", "image_size": 64}, "ResNet cannot mask patches"),
        ({"backbone": "convnext_atto", "image_size": 80}, "80 x 80 pixels cannot be masked"),
        ({"backbone": nn.Conv2d(3, 8, 4), "image_size": 32}, "has no tokens"),
    ],
)
def test_other_backbones_are_refused(arguments, words):
    """At creation, with the names of some that work or the size that does."""
    with pytest.raises(BackboneError, match=words) as told:
        registry.create("simmim", **arguments)
    assert "vit_small_patch16_224" in str(told.value) or "multiple" in str(told.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mask_unit": 6}, r"mask_unit=6 does not fit patches of \(4, 4\).*give 4, 8, 16"),
        ({"mask_unit": 2}, "mask_unit=2"),
        ({"mask_ratio": 0.01}, "of 8 squares masks none or all"),
        ({"mask_ratio": 0.99}, "of 8 squares masks none or all"),
    ],
)
def test_squares_that_do_not_fit_are_refused(options, words):
    """With those that do."""
    with pytest.raises(ConfigError, match=words):
        make(**options)


def test_mask_token_is_not_decayed():
    """As the authors' code leaves it out."""
    model = make()
    decayed = {id(p) for p in default_param_groups([model.backbone, model.heads])[0]["params"]}
    assert id(model.heads["mask_token"].weight) not in decayed
    assert id(model.heads["decoder"].weight) in decayed


@pytest.mark.parametrize("check", method_checks("simmim", options={"mask_unit": 4}, slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()


def test_reconstruction_has_the_prediction_in_masked_squares():
    """Pixel by pixel, from the network's tokens; elsewhere the image itself."""
    model, x = make(), images()
    generator = torch.Generator().manual_seed(0)
    ctx = Context(0, 0, None, rank=0, world_size=1, generator=generator, log=lambda name, value: None)
    found = model.hook.reconstruct(model=model, x=x, ctx=ctx)
    mask = masks_of().mask
    assert torch.equal(found.mask, mask.view(3, ROWS, COLUMNS))
    with torch.no_grad():
        token = model.heads["mask_token"]()
        predicted = model.heads["decoder"](model.tokens(x, mask=mask, mask_token=token).patches)
        for sample in range(3):
            for y in range(ROWS * PATCH):
                for x_ in range(COLUMNS * PATCH):
                    number = (y // PATCH) * COLUMNS + x_ // PATCH
                    place = 3 * ((y % PATCH) * PATCH + x_ % PATCH)
                    values = predicted[sample, number, place : place + 3]
                    wanted = values if mask[sample, number] else x[sample, :, y, x_]
                    assert found.output[sample, :, y, x_].tolist() == pytest.approx(wanted.tolist(), abs=1e-6)
