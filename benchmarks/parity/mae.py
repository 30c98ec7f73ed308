"""MAE beside lightly's parts: ten steps from equal weights, images, positions and masks, in float64.

What is made equal by intent: lightly's parts get our weights and positions, and its backbone learns its positions.
lightly has no normalization of the target in its MAE, so it is taken from ours. Run it as
``python benchmarks/parity/mae.py``; it needs lightly (extra ``bench``).
"""

from __future__ import annotations

import warnings

import torch
from lightly.models import utils
from lightly.models.modules import MAEDecoderTIMM
from token_steps import GRID, PATCH, build, compare
from torch import Tensor, nn

from ssl_registry.nn import normalize_patches, random_mask


def lightly_decoder(ours: nn.Module, width: int) -> nn.Module:
    """Return lightly's decoder with the weights of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it will be renamed
        size = {"decoder_embed_dim": 32, "decoder_depth": 2, "decoder_num_heads": 4}
        theirs = MAEDecoderTIMM(num_patches=GRID[0] * GRID[1], patch_size=PATCH, embed_dim=width, **size).double()
    parts = {"decoder_embed.": ours.embed, "decoder_blocks.": ours.blocks, "decoder_norm.": ours.norm}
    parts["decoder_pred."] = ours.head
    weights = {prefix + name: value for prefix, part in parts.items() for name, value in part.state_dict().items()}
    weights["mask_token"] = ours.mask_token.weight.view(1, 1, -1)
    weights["decoder_pos_embed"] = torch.cat([torch.zeros_like(ours.positions[:1]), ours.positions]).unsqueeze(0)
    theirs.load_state_dict(weights)
    return theirs


def main() -> None:
    model, encoder = build("mae", {}, decoder_dim=32, decoder_depth=2, decoder_heads=4)
    decoder = lightly_decoder(model.heads["decoder"], model.token_dim)

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

    compare(model, encoder, decoder.parameters(), theirs)


if __name__ == "__main__":
    main()
