"""I-JEPA beside lightly's parts: ten steps from equal weights, images, positions and masks, in float64.

What is made equal by intent: lightly's predictor gets our positions, and each image the blocks that we draw for it,
where lightly's loader draws one set a batch. Run it as ``python benchmarks/parity/ijepa.py``; it needs lightly (extra
``bench``).
"""

from __future__ import annotations

import copy

import torch
from lightly.models import utils
from lightly.models.modules import IJEPAPredictorTIMM
from token_steps import GRID, build, compare, number_of_steps
from torch import Tensor, nn

from ssl_registry.nn import multi_block_masks

START, END = 0.9, 1.0


def main() -> None:
    backbone = {"class_token": False, "global_pool": "avg"}
    options = {"predictor_dim": 32, "predictor_depth": 2, "predictor_heads": 4, "momentum": START}
    model, encoder = build("ijepa", backbone, **options)
    ours, width = model.heads["predictor"], model.token_dim
    predictor = IJEPAPredictorTIMM(
        num_patches=GRID[0] * GRID[1], depth=2, mlp_dim=width, predictor_embed_dim=32, num_heads=4
    ).double()
    parts = {"predictor_embed.": ours.embed, "decoder.blocks.": ours.blocks, "decoder.norm.": ours.norm}
    parts["predictor_proj."] = ours.head
    weights = {prefix + name: value for prefix, part in parts.items() for name, value in part.state_dict().items()}
    weights["decoder.mask_token"] = ours.mask_token.weight.view(1, 1, -1)
    weights["decoder.pos_embed"] = ours.positions.unsqueeze(0)
    predictor.load_state_dict(weights)
    teacher = copy.deepcopy(encoder)
    utils.deactivate_requires_grad(teacher)

    def normed(network: nn.Module, tokens: Tensor) -> Tensor:
        return network.vit.fc_norm(tokens)  # timm's norm stands behind the pooling, which lightly leaves out

    def theirs(x: Tensor, generator: torch.Generator) -> Tensor:
        chosen = multi_block_masks(len(x), GRID, generator=generator)
        targets = list(chosen.targets.unbind(1))
        with torch.no_grad():
            whole = normed(teacher, teacher.encode(images=x))
            wanted = utils.apply_masks(nn.functional.layer_norm(whole, whole.shape[-1:]), targets)
        context = normed(encoder, encoder.encode(images=x, idx_keep=chosen.context))
        return nn.functional.smooth_l1_loss(predictor(context, chosen.context, targets), wanted)

    def after_step(step: int) -> None:
        utils.update_momentum(encoder, teacher, START + (END - START) * step / number_of_steps())

    compare(model, encoder, [p for p in predictor.parameters() if p.requires_grad], theirs, after_step)


if __name__ == "__main__":
    main()
