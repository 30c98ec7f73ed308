"""MAE from lightly's modules, composed as its example does; for `gpu.py` and `tokens.py`."""

from __future__ import annotations

import copy
from typing import Any

import torch
from lightly.models import utils
from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from ssl_registry import SSLModule
from ssl_registry.nn import normalize_patches


class PeerMAE(LightningModule):
    """An encoder of the visible patches and a decoder of all positions, from the weights of our backbone."""

    def __init__(self, ours: SSLModule) -> None:
        super().__init__()
        config = self.settings = ours.config
        self.backbone = MaskedVisionTransformerTIMM(copy.deepcopy(ours.backbone), weight_initialization="skip")
        vit = self.backbone.vit
        self.side = vit.patch_embed.patch_size[0]
        self.decoder = MAEDecoderTIMM(
            num_patches=vit.patch_embed.num_patches,
            patch_size=self.side,
            embed_dim=vit.embed_dim,
            decoder_embed_dim=config.decoder_dim,
            decoder_depth=config.decoder_depth,
            decoder_num_heads=config.decoder_heads,
        )
        self.parts: list[nn.Module] = [self.backbone, self.decoder]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of predicting the hidden patches' normalized pixels."""
        (x,), _ = batch
        length = self.backbone.sequence_length
        keep, masked = utils.random_token_mask(
            size=(len(x), length), mask_ratio=self.settings.mask_ratio, device=x.device
        )
        encoded = self.backbone.encode(images=x, idx_keep=keep)
        tokens = utils.repeat_token(self.decoder.mask_token, (len(x), length))
        embedded = self.decoder.embed(encoded)
        tokens = utils.set_at_index(tokens, keep, embedded.type_as(tokens))
        predicted = self.decoder.predict(utils.get_at_index(self.decoder.decode(tokens), masked))
        wanted = normalize_patches(utils.get_at_index(utils.patchify(x, self.side), masked - 1))
        return nn.functional.mse_loss(predicted.to(torch.float32), wanted)
