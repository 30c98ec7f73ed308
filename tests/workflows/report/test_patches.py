"""Pictures of patches: reconstructions with gray where it was masked, and maps of tokens."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from masked import masked_registry
from PIL import Image
from torch.nn import functional as F

from ssl_registry import registry
from ssl_registry.data import open_source
from ssl_registry.nn import tokens
from ssl_registry.workflows.report.facts import read_facts
from ssl_registry.workflows.report.gallery import build_gallery
from ssl_registry.workflows.report.page import render
from ssl_registry.workflows.report.reconstructions import draw_reconstructions, hide_patches
from ssl_registry.workflows.report.run_page import RunPage
from ssl_registry.workflows.report.token_maps import colors_of, draw_token_maps, pack

VIT = {"patch_size": 4, "depth": 1, "embed_dim": 24, "num_heads": 2}
DECODER = {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2}


def make(method="mae", size=16, **options):
    settings = {**DECODER, **options} if method == "mae" else options
    return registry.create(
        method,
        backbone="vit_tiny_patch16_224",
        backbone_kwargs=VIT,
        input_shape=(1, size, size),
        seed=1,
        **settings,
    )


def samples(count=3, size=16):
    generator = torch.Generator().manual_seed(0)
    return list(torch.randint(256, (count, 1, size, size), dtype=torch.uint8, generator=generator))


def tiles(made):
    """The pictures of a sprite as gray arrays [count, height, width]."""
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(made.url.partition(",")[2]))).convert("L"))
    rows = [
        sheet[n // made.columns * made.height :, n % made.columns * made.width :][: made.height, : made.width]
        for n in range(made.count)
    ]
    return np.stack(rows)


def test_masked_patches_are_gray_where_the_mask_is():
    """Pixel by pixel: gray in each masked patch, the sample's own elsewhere; the sample before it is whole."""
    model, given = make(), samples()
    found, notes = draw_reconstructions(model, given, 96)
    assert notes == []
    shown = tiles(found.pictures).reshape(3, 3, 16, 16)
    mask = model.reconstruct(torch.stack(given)).mask
    assert mask.shape == (3, 4, 4)
    assert found.hidden == pytest.approx(0.75)
    for image, wanted, (original, masked, rebuilt) in zip(given, mask.tolist(), shown, strict=True):
        assert np.array_equal(original, image[0].numpy())
        for y in range(16):
            for x in range(16):
                hidden = wanted[y // 4][x // 4]
                assert masked[y, x] == (128 if hidden else image[0, y, x])
                if not hidden:  # what the network saw stands there as it is
                    assert rebuilt[y, x] == image[0, y, x]


def test_the_page_says_that_pixels_were_normalized():
    """And says nothing where they were not."""
    assert "mean and standard deviation of the true ones" in draw_reconstructions(make(), samples(), 96)[0].note
    assert draw_reconstructions(make(normalize_pixels=False), samples(), 96)[0].note == ""


def test_no_pictures_of_methods_without(run):
    """No panel, no heading, nothing in the payload."""
    model = masked_registry().create(
        "masked", backbone="vit_tiny_patch16_224", backbone_kwargs=VIT, input_shape=(1, 16, 16)
    )
    assert draw_reconstructions(model, samples(), 96) == (None, [])
    page = (run / "report.html").read_text(encoding="utf-8")  # of BYOL on a network without tokens
    assert "Reconstructions" not in page
    assert "Patch tokens" not in page
    assert '"tokens":[null]' in page


def test_diverged_networks_are_told():
    """In words, in place of the pictures."""
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    assert "diverged" in draw_reconstructions(model, samples(), 96)[1][0]
    assert "diverged" in draw_token_maps(model, samples(), 96)[1][0]


def test_colors_tell_what_differs():
    """Two kinds of tokens along one direction have the two ends of red; nothing else differs, so the rest is even."""
    direction = F.normalize(torch.randn(24, generator=torch.Generator().manual_seed(0)), dim=0)
    kind = torch.arange(2 * 16).view(2, 16) % 2
    colors = colors_of(5 + kind.unsqueeze(-1) * direction)
    red = colors[..., 0]
    assert sorted(red.unique().tolist()) == [0.0, 1.0]
    assert len(red[kind == 0].unique()) == 1
    assert torch.equal(colors[..., 1:], torch.full((2, 16, 2), 0.5))


def test_colors_of_few_dimensions():
    """Two components, and a third that is even."""
    assert colors_of(torch.randn(1, 9, 2)).shape == (1, 9, 3)


@pytest.mark.parametrize(("budget", "near"), [(10**6, 0.02), (100 * 48, 0.05)])
def test_packed_tokens_keep_similarities(budget, near):
    """Of tokens whose variance falls off as that of networks; the budget is kept."""
    scales = torch.arange(1, 65) ** -1.0
    patches = torch.randn(4, 25, 64, generator=torch.Generator().manual_seed(0)) * scales + scales
    packed = pack(patches, (5, 5), budget)
    codes = np.frombuffer(base64.b64decode(packed.values), np.int8).reshape(100, packed.dimensions)
    assert codes.nbytes <= budget
    found = codes.astype(float) @ codes.T.astype(float) * packed.scale**2
    z = F.normalize(patches.flatten(0, 1).double(), dim=1)
    assert np.abs(found - (z @ z.T).numpy()).max() < near
    assert 0.9 < packed.kept <= 1.0000001


def test_a_convolutional_network_has_tokens_too():
    """Positions of its feature map; with less than four of them there is no map."""
    model = registry.create("simclr", backbone="resnet18", input_shape=(3, 64, 64), projection_dim=8)
    images = list(torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8))
    found, _ = draw_token_maps(model, images, 96)
    assert found.tokens.grid == (2, 2)
    assert found.pictures.count == 4
    small = registry.create(
        "simclr", backbone="resnet18", input_shape=(3, 32, 32), low_resolution=False, projection_dim=8
    )
    assert draw_token_maps(small, [image[:, :32, :32] for image in images], 96) == (None, [])


def test_tokens_are_those_of_the_product():
    """What is exported is what is looked at: DINO's teacher."""
    model = registry.create(
        "dino",
        backbone="vit_tiny_patch16_224",
        backbone_kwargs=VIT,
        input_shape=(1, 16, 16),
        prototypes=8,
        local_views=0,
        hidden_dim=8,
        bottleneck_dim=8,
    )
    with torch.no_grad():
        model.backbone.patch_embed.proj.weight.mul_(-1)
    packed = draw_token_maps(model, samples(), 96)[0].tokens
    with torch.no_grad():
        wanted = pack(tokens(model.product.eval(), model.prepared(torch.stack(samples()))).patches, packed.grid)
    assert packed.values == wanted.values


def test_hidden_steps_of_a_signal():
    """One axis in place of two."""
    hidden = hide_patches(torch.ones(1, 2, 4), torch.tensor([[False, True]]), 0.0)
    assert hidden.tolist() == [[[1, 1, 0, 0], [1, 1, 0, 0]]]


def test_reconstructions_of_signals(tmp_path):
    """A row of three for each: the trace, with gaps where time was hidden, and the whole again; of tables none."""
    for shape, kind in (((3, 32), "signal"), ((6,), "table")):
        x = torch.randn(24, *shape, generator=torch.Generator().manual_seed(0)).numpy()
        np.save(tmp_path / f"{kind}.npy", x)
        source = open_source(str(tmp_path / f"{kind}.npy"), modality=kind)
        size = {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2}
        model = registry.create("mae", input_shape=shape, backbone_kwargs={"dim": 16, "depth": 1}, seed=0, **size)
        gallery = build_gallery(model, source)
        assert gallery.patch_notes == []
        if kind == "table":
            assert gallery.reconstructions is None
        else:
            assert gallery.reconstructions.pictures.count == 3 * 6
            assert gallery.reconstructions.hidden == 0.75


def test_page_of_a_token_method(run):
    """Both sections, the note, and tokens for the script."""
    model = make()
    gallery = build_gallery(model, open_source("digits", image_size=16))
    page = render([RunPage(0, read_facts(run), gallery)])
    for words in ("Reconstructions", "75 % of the patches are hidden", "normalize_pixels", "Patch tokens", "4 x 4"):
        assert words in page
    assert '"tokens":[{"grid":[4,4]' in page
