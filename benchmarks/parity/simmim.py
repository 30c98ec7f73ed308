"""SimMIM beside lightly's parts: ten steps from equal weights, images, positions and masks, in float64.

lightly masks single patches, so the squares are one patch here. Run it as ``python benchmarks/parity/simmim.py``; it
needs lightly (extra ``bench``).
"""

from __future__ import annotations

import copy

import torch
from lightly.models import utils
from token_steps import GRID, PATCH, build, compare
from torch import Tensor, nn

from ssl_registry.nn import random_mask


def main() -> None:
    model, encoder = build("simmim", {}, mask_unit=PATCH)
    decoder = copy.deepcopy(model.heads["decoder"])
    encoder.mask_token.data.copy_(model.heads["mask_token"]().view(1, 1, -1).detach())

    def theirs(x: Tensor, generator: torch.Generator) -> Tensor:
        masked = random_mask(len(x), GRID, 0.6, generator=generator).masked
        encoded = encoder.encode(images=x, idx_mask=masked + 1)  # theirs counts the class token
        predicted = decoder(utils.get_at_index(encoded, masked + 1))
        return nn.functional.l1_loss(predicted, utils.get_at_index(utils.patchify(x, PATCH), masked))

    compare(model, encoder, decoder.parameters(), theirs)


if __name__ == "__main__":
    main()
