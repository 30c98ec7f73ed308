"""MAE beside lightly's parts: ten steps from equal weights, images, positions and masks, in float64.

What is made equal by intent: lightly's parts get our weights and positions, and its backbone learns its positions.
lightly has no normalization of the target in its MAE, so it is taken from ours. Run it as
``python benchmarks/parity/mae.py``; it needs lightly (extra ``bench``).
"""

from __future__ import annotations

import copy
import warnings

import timm
import torch
from lightly.models import utils
from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM
from torch import Tensor, nn

from ssl_registry import Context, registry
from ssl_registry.nn import normalize_patches, random_mask

STEPS, BATCH, SIDE, PATCH = 10, 8, 32, 8
GRID = (SIDE // PATCH, SIDE // PATCH)
TOLERANCE = 1e-9  # rounding in float64; Adam's first steps divide by gradients near zero


def lightly_decoder(ours: nn.Module, width: int) -> nn.Module:
    """Return lightly's decoder with the weights of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it will be renamed
        theirs = MAEDecoderTIMM(
            num_patches=GRID[0] * GRID[1],
            patch_size=PATCH,
            embed_dim=width,
            decoder_embed_dim=32,
            decoder_depth=2,
            decoder_num_heads=4,
        ).double()
    state = {
        "decoder_embed.": ours.embed,
        "decoder_blocks.": ours.blocks,
        "decoder_norm.": ours.norm,
        "decoder_pred.": ours.head,
    }
    weights = {prefix + name: value for prefix, part in state.items() for name, value in part.state_dict().items()}
    weights["mask_token"] = ours.mask_token.weight.view(1, 1, -1)
    weights["decoder_pos_embed"] = torch.cat([torch.zeros_like(ours.positions[:1]), ours.positions]).unsqueeze(0)
    theirs.load_state_dict(weights)
    return theirs


def main() -> None:
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", img_size=SIDE, patch_size=PATCH, depth=2, num_classes=0)
    options = {"decoder_dim": 32, "decoder_depth": 2, "decoder_heads": 4}
    model = registry.create("mae", backbone=vit, input_shape=(3, SIDE, SIDE), seed=0, **options).double()
    encoder = MaskedVisionTransformerTIMM(copy.deepcopy(vit), weight_initialization="skip").double()
    encoder.vit.load_state_dict(vit.state_dict())  # the positions too
    encoder.vit.pos_embed.requires_grad_(True)
    decoder = lightly_decoder(model.heads["decoder"], vit.embed_dim)

    def ours(x: Tensor, generator: torch.Generator) -> Tensor:
        ctx = Context(0, 0, None, rank=0, world_size=1, generator=generator, log=lambda name, value: None)
        loss: Tensor = model.hook.compute_loss(model=model, views=[x], ctx=ctx)
        return loss

    def theirs(x: Tensor, generator: torch.Generator) -> Tensor:
        choice = random_mask(len(x), GRID, 0.75, generator=generator)
        first = torch.zeros(len(x), 1, dtype=torch.int64)
        keep, masked = torch.cat([first, choice.keep + 1], 1), choice.masked + 1  # theirs counts the class token
        encoded = encoder.encode(images=x, idx_keep=keep)
        tokens = utils.repeat_token(decoder.mask_token, (len(x), encoder.sequence_length))
        tokens = utils.set_at_index(tokens, keep, decoder.embed(encoded))
        predicted = decoder.predict(utils.get_at_index(decoder.decode(tokens), masked))
        wanted = normalize_patches(utils.get_at_index(utils.patchify(x, PATCH), masked - 1))
        return nn.functional.mse_loss(predicted, wanted)

    weights = [list(model.parameters()), [*encoder.parameters(), *decoder.parameters()]]
    optimizers = [torch.optim.AdamW([p for p in part if p.requires_grad], lr=1e-3) for part in weights]
    generators = [torch.Generator().manual_seed(1) for _ in optimizers]
    worst = 0.0
    for step in range(STEPS):
        x = torch.randn(BATCH, 3, SIDE, SIDE, dtype=torch.float64)
        losses = []
        for loss_of, optimizer, generator in zip((ours, theirs), optimizers, generators, strict=True):
            loss = loss_of(x, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        worst = max(worst, abs(losses[0] - losses[1]))
        print(f"step {step}: ours {losses[0]:.12f}, lightly {losses[1]:.12f}")
    pairs = zip(model.backbone.parameters(), encoder.vit.parameters(), strict=True)
    weight = max(float((a - b).detach().abs().max()) for a, b in pairs)
    print(f"largest difference: loss {worst:.1e}, weights {weight:.1e}")
    if max(worst, weight) > TOLERANCE:
        raise SystemExit(f"differs by more than {TOLERANCE}")


if __name__ == "__main__":
    main()
