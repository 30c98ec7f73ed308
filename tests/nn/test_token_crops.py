"""Tokens of several views: each view's own, in as few passes as there are sizes."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from ssl_registry.nn import (
    TokenCrops,
    Tokens,
    class_and_patch_outputs,
    class_token,
    evaluating,
    forward_token_crops,
    tokens,
)

SMALL = {"img_size": (16, 24), "patch_size": 4, "depth": 2, "embed_dim": 24, "num_heads": 2, "num_classes": 0}


def network(name="vit_tiny_patch16_224", **options):
    torch.manual_seed(0)
    return timm.create_model(name, **SMALL | {"dynamic_img_size": True} | options)


def views():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 3, *side, generator=generator) for side in ((16, 24), (16, 24), (8, 8), (8, 8), (12, 8))]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224"])
def test_each_view_has_its_own_tokens(name):
    """As view by view, on a grid that is no square, with registers and rotary positions too."""
    model, x = network(name), views()
    mask, token = torch.rand(6, 24, generator=torch.Generator().manual_seed(1)) < 0.4, torch.ones(24)
    passes = []
    model.register_forward_pre_hook(lambda module, args: passes.append(len(args[0])))
    with torch.no_grad(), evaluating(model):
        found = forward_token_crops(model, x, mask=mask, mask_token=token)
        assert passes == [6, 6, 3]
        for number, view in enumerate(x):
            hidden = {"mask": mask[3 * number : 3 * number + 3], "mask_token": token} if number < 2 else {}
            alone = tokens(model, view, **hidden)
            torch.testing.assert_close(found.classes[number], alone.prefix[:, 0])
            if number < 2:
                torch.testing.assert_close(found.patches[3 * number : 3 * number + 3], alone.patches)


def test_a_network_without_class_token_gives_the_mean_of_its_patches():
    """A Swin has no prefix at all; registers are no class token."""
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=64, depths=(1, 1), num_heads=(2, 2), embed_dim=16, window_size=4
    )
    registers = network("vit_small_patch14_reg4_dinov2", class_token=False, global_pool="avg")
    for model, x in ((swin, torch.randn(2, 3, 64, 64)), (registers, torch.randn(2, 3, 16, 24))):
        found = tokens(model, x)
        torch.testing.assert_close(class_token(model, found), found.patches.mean(1))


def test_a_module_of_the_users_has_its_class_token_first():
    """It says nothing of what its prefix is."""
    prefix = torch.tensor([[[1.0], [2.0]]])
    assert class_token(nn.Identity(), Tokens(prefix, torch.zeros(1, 1, 1), (1, 1))).item() == 1


def test_heads_are_shared_or_not():
    """Two modules serve both; of four the last two are the patches'."""
    crops = TokenCrops(torch.ones(2, 3, 4), torch.ones(6, 5, 4))
    index = torch.tensor([1, 7])

    class Times(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, x):
            return self.factor * x

    for factors, wanted in (((2, 3), (6, 6)), ((2, 3, 5, 7), (6, 35))):
        classes, patches = class_and_patch_outputs([Times(factor) for factor in factors], crops, index)
        assert (classes.shape, patches.shape) == ((2, 3, 4), (2, 4))
        assert (classes.unique().item(), patches.unique().item()) == wanted
