"""BYOL and SimCLR from lightly's modules, losses and transforms, composed as its examples do; for `accuracy.py`."""

from __future__ import annotations

import copy
from argparse import Namespace
from typing import Any

from lightly.data.multi_view_collate import MultiViewCollate
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead, SimCLRProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.transforms import BYOLTransform, BYOLView1Transform, BYOLView2Transform, SimCLRTransform
from lightning.pytorch import LightningModule
from PIL import Image
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, Dataset

from ssl_registry import SSLModule
from ssl_registry.data.samples import Samples
from ssl_registry.data.sampling import EpochSampler
from ssl_registry.views import ViewPolicy

SMALL = 64  # of images up to this side there is nothing left to blur, as in lightly's CIFAR-10 benchmark


class Peer(LightningModule):
    """What both methods share: a copy of our backbone, lightly's benchmark's optimizer, and batches of two views.

    Args:
        ours: whose initial weights and settings are taken.
        shared: draws the views of our data module's batches; None where the batches hold lightly's.
    """

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__()
        self.settings, self.shared = ours.config, shared
        self.backbone = copy.deepcopy(ours.backbone)
        self.parts: list[nn.Module] = [self.backbone]  # what trains

    def views(self, batch: Any) -> list[Tensor]:
        """Return both views of a batch."""
        return batch[0] if self.shared is None else self.shared.views_of(batch)

    def configure_optimizers(self) -> Any:
        """Build SGD over all parameters, biases and norms too, and a cosine over the steps."""
        parameters = [parameter for part in self.parts for parameter in part.parameters()]
        settings = self.settings
        optimizer = SGD(
            parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, **settings.optimizer_kwargs
        )
        schedule = CosineAnnealingLR(optimizer, self.trainer.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class PeerBYOL(Peer):
    """The target moves at the beginning of a step."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        hidden, out = ours.config.hidden_dim, ours.config.projection_dim
        self.projection_head = alike(BYOLProjectionHead(ours.feature_dim, hidden, out), ours.heads["projection_head"])
        self.prediction_head = alike(BYOLPredictionHead(out, hidden, out), ours.heads["prediction_head"])
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)
        self.criterion = NegativeCosineSimilarity()
        self.parts += [self.projection_head, self.prediction_head]

    def forward(self, x: Tensor) -> Tensor:
        """Predict from a view."""
        return self.prediction_head(self.projection_head(self.backbone(x).flatten(start_dim=1)))

    def forward_momentum(self, x: Tensor) -> Tensor:
        """Project a view with the target."""
        return self.projection_head_momentum(self.backbone_momentum(x).flatten(start_dim=1)).detach()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Move the target, and return the loss of predicting it."""
        update_momentum(self.backbone, self.backbone_momentum, m=self.settings.momentum)
        update_momentum(self.projection_head, self.projection_head_momentum, m=self.settings.momentum)
        x0, x1 = self.views(batch)
        p0, z0 = self.forward(x0), self.forward_momentum(x0)
        p1, z1 = self.forward(x1), self.forward_momentum(x1)
        return 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))


class PeerSimCLR(Peer):
    """NT-Xent over both views of a batch."""

    def __init__(self, ours: SSLModule, shared: ViewPolicy | None) -> None:
        super().__init__(ours, shared)
        hidden, out = ours.config.hidden_dim or ours.feature_dim, ours.config.projection_dim
        self.projection_head = alike(SimCLRProjectionHead(ours.feature_dim, hidden, out), ours.heads["projection_head"])
        self.criterion = NTXentLoss(temperature=ours.config.temperature)
        self.parts.append(self.projection_head)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss."""
        z0, z1 = (self.projection_head(self.backbone(view).flatten(start_dim=1)) for view in self.views(batch))
        return self.criterion(z0, z1)


PEERS = {"byol": PeerBYOL, "simclr": PeerSimCLR}


def alike(theirs: nn.Module, ours: nn.Module) -> nn.Module:
    """Start a head of lightly's from the weights of ours; that of SimCLR ends with a BatchNorm, which ours has not."""
    theirs.layers.load_state_dict(ours.state_dict(), strict=False)
    return theirs


class Pictures(Dataset[Any]):
    """Samples as lightly's data sets give them: transformed PIL image, label, name."""

    def __init__(self, samples: Samples, transform: Any) -> None:
        self.images = [Image.fromarray(x.permute(1, 2, 0).squeeze(2).numpy()) for x in samples.x]
        self.labels, self.transform = samples.y.tolist(), transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int, str]:
        return self.transform(self.images[index]), self.labels[index], str(index)


def transform(method: str, view_policy: ViewPolicy) -> Any:
    """Describe our recipe's views in lightly's words."""
    blurs = view_policy.image_size > SMALL
    normalize = {"mean": list(view_policy.mean), "std": list(view_policy.std)}
    common = {"input_size": view_policy.image_size, "normalize": normalize}
    if method == "simclr":
        return SimCLRTransform(**common, cj_strength=0.5, gaussian_blur=0.5 * blurs)
    first = BYOLView1Transform(**common, gaussian_blur=1.0 * blurs)
    return BYOLTransform(first, BYOLView2Transform(**common, gaussian_blur=0.1 * blurs))


def peer_loader(
    method: str, samples: Samples, view_policy: ViewPolicy, options: Namespace, seed: int
) -> DataLoader[Any]:
    """Load the samples in the order in which our loader does, through lightly's transforms and collate function."""
    pictures = Pictures(samples, transform(method, view_policy))
    return DataLoader(
        pictures,
        batch_size=options.batch,
        sampler=EpochSampler(pictures, seed=seed, drop_last=True),
        drop_last=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        collate_fn=MultiViewCollate(),
    )
