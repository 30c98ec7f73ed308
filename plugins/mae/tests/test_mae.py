"""MAE: the paper's loss on masked patches alone, an encoder that sees the rest alone, and where it cannot be."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from ssl_registry_mae import MAE, reconstruction_loss
from torch import nn

from ssl_registry import Context, registry
from ssl_registry.errors import BackboneError, ConfigError
from ssl_registry.model.optimizers import default_param_groups
from ssl_registry.nn import random_mask
from ssl_registry.testing import method_checks

SMALL = {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2}
ROWS, COLUMNS, PATCH = 2, 4, 4
N = ROWS * COLUMNS


def backbone(name="vit_tiny_patch16_224", **options):
    torch.manual_seed(0)
    size = {"img_size": (ROWS * PATCH, COLUMNS * PATCH), "patch_size": PATCH}
    small = {"depth": 2, "embed_dim": 24, "num_heads": 2, "num_classes": 0}
    return timm.create_model(name, **size | small | options)


def make(network=None, **options):
    shape = (3, ROWS * PATCH, COLUMNS * PATCH)
    return registry.create("mae", backbone=network or backbone(), input_shape=shape, seed=0, **SMALL | options)


def images(batch=3, seed=0):
    return torch.randn(batch, 3, ROWS * PATCH, COLUMNS * PATCH, generator=torch.Generator().manual_seed(seed))


def context(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Context(0, 0, None, rank=0, world_size=1, generator=generator, log=lambda name, value: None)


def loss_of(model, x, seed=0):
    return model.hook.compute_loss(model=model, views=[x], ctx=context(seed))


def masks_of(batch=3, seed=0):
    return random_mask(batch, (ROWS, COLUMNS), 0.75, generator=torch.Generator().manual_seed(seed))


class Guess(nn.Module):
    """A decoder that predicts one number everywhere, and remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(0.3))

    def forward(self, patches, keep, wanted, *, prefix):
        self.given = patches, keep, wanted, prefix
        return self.value.expand(*wanted.shape, 3 * PATCH**2)


def pixels(image, number):
    """The values of one patch as a list: row by row, then column by column, then the channels."""
    row, column = divmod(number, COLUMNS)
    return [
        image[channel, row * PATCH + y, column * PATCH + x].item()
        for y in range(PATCH)
        for x in range(PATCH)
        for channel in range(3)
    ]


@pytest.mark.parametrize("normalize", [True, False])
def test_loss_is_the_papers(normalize):
    """In float64, pixel by pixel: each patch's own mean and unbiased variance, masked patches alone, on a rectangle."""
    model = make(normalize_pixels=normalize).double()
    x, masked = images().double(), masks_of().masked
    predictions = []
    model.heads["decoder"].register_forward_hook(lambda module, args, output: predictions.append(output.detach()))
    loss = loss_of(model, x)
    assert loss.dtype == torch.float64
    total, count = 0.0, 0
    for sample in range(len(x)):
        for place, number in enumerate(masked[sample].tolist()):
            wanted = pixels(x[sample], number)
            if normalize:
                mean = sum(wanted) / len(wanted)
                variance = sum((value - mean) ** 2 for value in wanted) / (len(wanted) - 1)
                wanted = [(value - mean) / math.sqrt(variance + 1e-6) for value in wanted]
            found = predictions[0][sample, place].tolist()
            total += sum((a - b) ** 2 for a, b in zip(found, wanted, strict=True))
            count += len(wanted)
    assert loss.item() == pytest.approx(total / count, rel=1e-12)
    assert count == 3 * 6 * 48


def test_visible_patches_have_no_part_in_the_loss():
    """Other pixels there change nothing, where the decoder does not look; in one masked patch they do."""
    model = make(decoder=Guess(), normalize_pixels=False)
    x, choice = images(), masks_of()
    before = loss_of(model, x)
    where = choice.mask.view(-1, 1, ROWS, COLUMNS).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    assert torch.equal(loss_of(model, torch.where(where, x, images(seed=1))), before)
    assert not torch.equal(loss_of(model, torch.where(where, images(seed=1), x)), before)


def test_backbone_computes_visible_patches_alone():
    """A quarter of the patches and the class token go through each block; the decoder knows which they are."""
    model = make(decoder=Guess())
    widths = []
    for block in model.backbone.blocks:
        block.register_forward_pre_hook(lambda module, args: widths.append(tuple(args[0].shape)))
    x, choice = images(), masks_of()
    loss_of(model, x)
    assert widths == [(3, 1 + N // 4, 24)] * 2
    patches, keep, wanted, prefix = model.heads["decoder"].given
    assert torch.equal(keep, choice.keep)
    assert torch.equal(wanted, choice.masked)
    assert torch.equal(patches, model.tokens(x, keep=keep).patches)
    assert prefix.shape == (3, 1, 24)


def test_masks_differ_between_samples_and_follow_the_generator():
    """Each sample has its own, with as many patches as the others; the same seed draws the same."""
    model, seen = make(decoder=Guess()), []
    for seed in (0, 0, 1):
        loss_of(model, images(batch=16), seed)
        seen.append(model.heads["decoder"].given[2])
    assert seen[0].shape == (16, 6)
    assert len(set(map(tuple, seen[0].tolist()))) > 4
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg"}),
        ("vit_small_patch14_reg4_dinov2", {}),
        ("eva02_tiny_patch14_224", {}),
        ("vit_small_patch16_dinov3", {"embed_dim": 32}),
        ("vit_small_patch16_rope_mixed_224", {"embed_dim": 32}),
    ],
)
def test_every_transformer_gets_a_gradient(name, options):
    """Without class token, with registers, and with rotary positions: every parameter of backbone and decoder."""
    model = make(backbone(name, **options))
    loss_of(model, images()).backward()
    without = [key for key, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]
    assert without == []


def test_half_precision_is_summed_in_float32():
    """Pixels of 300 have squares that float16 cannot hold; normalized or not, the loss is that in float64."""
    patches = 300 * torch.randn(2, N, 48, generator=torch.Generator().manual_seed(0))
    prediction = torch.randn(2, 6, 48, generator=torch.Generator().manual_seed(1))
    masked = masks_of(2).masked
    for dtype in (torch.float16, torch.bfloat16):
        small = [values.to(dtype) for values in (prediction, patches)]
        for normalize in (True, False):
            found = reconstruction_loss(*small, masked, normalize=normalize)
            exact = reconstruction_loss(*(values.double() for values in small), masked, normalize=normalize)
            assert found.dtype == torch.float32
            torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


def test_autocast_computes_the_loss_in_float32():
    """The networks run in bfloat16, and the loss is near that of float32."""
    model = make()
    plain = loss_of(model, images())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = loss_of(model, images())
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain, rtol=0.02, atol=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"backbone": "resnet10t", "image_size": 32}, "works on tokens, which resnet10t does not have"),
        ({"backbone": "convnext_atto", "image_size": 64}, "which convnext_atto does not have"),
        ({"backbone": "vit_tiny_r_s16_p8_224", "image_size": 64}, "overlapping patches"),
    ],
)
def test_other_backbones_are_refused(arguments, words):
    """At creation, with the names of some that work."""
    with pytest.raises(BackboneError, match=words) as told:
        registry.create("mae", **arguments)
    assert "vit_small_patch16_224" in str(told.value)


TOKENS = {"dim": 24, "depth": 2, "num_heads": 2}
OTHERS = {
    "signal": {"backbone": "signal_transformer", "backbone_kwargs": {"patch_size": 4, **TOKENS}},
    "table": {"backbone": "table_transformer", "backbone_kwargs": TOKENS},
}


def other(shape, **options):
    kind = OTHERS["signal" if len(shape) == 2 else "table"]
    return registry.create("mae", input_shape=shape, seed=0, **kind, **SMALL | options).double()


def pieces(x, masked):
    """The values of masked patches of signals [B, C, time] or tables, as lists: moments one by one, with channels."""
    for sample, numbers in zip(x, masked.tolist(), strict=True):
        for number in numbers:
            if x.ndim == 2:
                yield [sample[number].item()]
            else:
                yield [
                    sample[channel, 4 * number + moment].item() for moment in range(4) for channel in range(len(sample))
                ]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("shape", [(3, 32), (8,)])
def test_loss_on_signals_and_tables_is_the_papers(shape, normalize):
    """Of pieces of time as of images' patches; of features, whose single values nothing normalizes, as they are."""
    model = other(shape, normalize_pixels=normalize)
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    predictions = []
    model.heads["decoder"].register_forward_hook(lambda module, args, output: predictions.append(output.detach()))
    loss = loss_of(model, x)
    masked = random_mask(3, (8,), 0.75, generator=torch.Generator().manual_seed(0)).masked
    wanted = torch.tensor(list(pieces(x, masked)), dtype=torch.float64)
    if normalize and len(shape) == 2:
        wanted = (wanted - wanted.mean(1, keepdim=True)) / (wanted.var(1, keepdim=True) + 1e-6).sqrt()
    found = predictions[0].flatten(0, 1)
    assert found.shape == wanted.shape == (18, 12 if len(shape) == 2 else 1)
    assert loss.item() == pytest.approx((found - wanted).square().mean().item(), rel=1e-12)


def test_views_of_signals_and_tables_are_the_samples():
    """Nothing is changed but by the mask; the default networks are transformers, of patches that fit."""
    for shape, name in (((3, 50), "SignalTransformer"), ((6,), "TableTransformer")):
        model = registry.create("mae", input_shape=shape, seed=0, **SMALL)
        assert type(model.backbone).__name__ == name
        assert model.view_policy.is_plain
    assert registry.create("mae", input_shape=(3, 50), **SMALL).token_grid == (10,)


def test_reconstruction_of_signals_is_on_the_true_scale():
    """What was visible is the sample; what was hidden is not. Of tables there is none."""
    model, x = other((3, 32)), torch.randn(2, 3, 32, dtype=torch.float64)
    found = model.hook.reconstruct(model=model, x=x, ctx=context())
    hidden = found.mask.repeat_interleave(4, 1)[:, None].expand_as(x)
    assert found.mask.shape == (2, 8)
    torch.testing.assert_close(found.output[~hidden], x[~hidden])
    assert not (found.output == x)[hidden].any()
    patches = [part.unfold(2, 4, 4).transpose(1, 2).flatten(2)[found.mask] for part in (found.output, x)]
    torch.testing.assert_close(*(part.shape for part in patches))
    assert (patches[0].mean(1) - patches[1].mean(1)).abs().max() < 4  # on the scale of the patch, not around 0 alone
    assert other((6,)).reconstruct(torch.randn(2, 6)) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input_shape": (3, 32), "backbone": "signal_encoder"}, "signal_encoder|SignalEncoder"),
        ({"input_shape": (6,), "backbone": "table_encoder"}, "table_encoder does not have; use.*table_transformer"),
        ({"input_shape": (2,)}, "of 2 patches masks none or all; give another$"),
    ],
)
def test_signals_and_tables_that_do_not_suit_are_refused(arguments, words):
    """In words, with what would."""
    with pytest.raises((BackboneError, ConfigError), match=words):
        registry.create("mae", **arguments, **SMALL)


@pytest.mark.parametrize("options", [{"mask_ratio": 0.01}, {"mask_ratio": 0.99}, {"decoder_heads": 3}])
def test_options_that_leave_nothing_to_do_are_refused(options):
    """Nothing masked, nothing visible, and a width that the heads do not divide."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        make(**options)


def test_decoder_is_the_papers():
    """Eight blocks of width 512, sixteen heads, and linear layers to it and to the pixels."""
    method = MAE(MAE.Config())
    assert (method.config.decoder_dim, method.config.decoder_depth, method.config.decoder_heads) == (512, 8, 16)
    decoder = make(decoder_dim=32, decoder_depth=3, decoder_heads=4).heads["decoder"]
    assert (len(decoder.blocks), decoder.blocks[0].attn.num_heads) == (3, 4)
    assert (decoder.embed.in_features, decoder.head.out_features) == (24, 48)


def test_tokens_and_positions_are_not_decayed():
    """Class token, mask token and learned positions; the decoder's own positions are fixed."""
    model = make()
    decayed = {id(p) for p in default_param_groups([model.backbone, model.heads])[0]["params"]}
    names = {name for name, parameter in model.named_parameters() if id(parameter) not in decayed}
    assert {"backbone.cls_token", "backbone.pos_embed", "heads.decoder.mask_token.weight"} <= names
    assert "heads.decoder.positions" in dict(model.named_buffers())


def test_views_are_one_crop():
    """Cropped and flipped, and nothing else."""
    (view,) = MAE(MAE.Config()).build_views(224).views
    assert (view.crop_scale, view.flip, view.copies) == ((0.2, 1.0), 0.5, 1)
    assert view.without(["flip"]).model_copy(update={"crop_scale": None}).is_plain


@pytest.mark.parametrize("check", method_checks("mae", options=SMALL, slow=True))
def test_conformance(check):
    """Every check of the kit that applies."""
    check()


@pytest.mark.slow
@pytest.mark.parametrize(
    "check",
    [
        *method_checks("mae", options=OTHERS["signal"]),
        *method_checks(
            "mae",
            options=OTHERS["table"],
            expected_failures={"options": "normalize_pixels acts where a patch has several values"},
        ),
    ],
)
def test_conformance_on_signals_and_tables(check):
    """The same on patches of time and on features."""
    check()


@pytest.mark.parametrize("normalize", [True, False])
def test_reconstruction_is_the_decoders_in_the_place_of_what_was_dropped(normalize):
    """Pixel by pixel: one number everywhere, on each dropped patch's own mean and deviation; the rest is the image."""
    decoder = Guess()
    model = make(normalize_pixels=normalize, decoder=decoder)
    x = images()
    found = model.hook.reconstruct(model=model, x=x, ctx=context())
    wanted = masks_of()
    assert torch.equal(found.mask, wanted.mask.view(3, ROWS, COLUMNS))
    assert torch.equal(decoder.given[1], wanted.keep)
    assert bool(found.note) == normalize
    for image, output, mask in zip(x, found.output, wanted.mask.tolist(), strict=True):
        for number, hidden in enumerate(mask):
            true = torch.tensor(pixels(image, number))
            shown = torch.tensor(pixels(output, number))
            guess = 0.3 * true.std() + true.mean() if normalize else torch.tensor(0.3)
            torch.testing.assert_close(shown, guess.expand_as(true) if hidden else true, rtol=1e-4, atol=1e-5)
