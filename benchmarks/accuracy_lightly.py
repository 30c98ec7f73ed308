"""lightly's methods and its way to load samples, for `accuracy.py`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from accuracy_peers_crops import PeerDINO, PeerLeJEPA, PeerSwAV
from accuracy_peers_keys import PeerMoCo2, PeerMoCo3, PeerNNCLR
from accuracy_peers_pairs import PeerBarlowTwins, PeerBYOL, PeerSimCLR, PeerSimSiam, PeerVICReg
from lightly.data.multi_view_collate import MultiViewCollate
from lightly.transforms import BYOLTransform, BYOLView1Transform, BYOLView2Transform, SimCLRTransform
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ssl_registry.data.samples import Samples
from ssl_registry.data.sampling import EpochSampler
from ssl_registry.views import ViewPolicy

SMALL = 64  # of images up to this side there is nothing left to blur, as in lightly's CIFAR-10 benchmark

PEERS = {
    "barlow-twins": PeerBarlowTwins,
    "byol": PeerBYOL,
    "dino": PeerDINO,
    "lejepa": PeerLeJEPA,
    "moco-v2": PeerMoCo2,
    "moco-v3": PeerMoCo3,
    "nnclr": PeerNNCLR,
    "simclr": PeerSimCLR,
    "simclr-dcl": PeerSimCLR,
    "simclr-dclw": PeerSimCLR,
    "simsiam": PeerSimSiam,
    "swav": PeerSwAV,
    "vicreg": PeerVICReg,
}


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
    if method.startswith("simclr"):
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
