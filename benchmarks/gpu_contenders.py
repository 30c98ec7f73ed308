"""Who takes part in `gpu.py`: our training steps, and lightly's of the same method on the same network and views."""

from __future__ import annotations

import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from views import arrays, photographs

from ssl_registry import SSLModule, registry
from ssl_registry.data import SSLDataModule, open_source
from ssl_registry.data.loading.drawn import choose_view_plan
from ssl_registry.model.optimizers import build_optimizer, default_param_groups

Step = Callable[[], Tensor]
SMALL = {  # heads for --tiny
    "barlow-twins": {"projection_dim": 64},
    "byol": {"hidden_dim": 64, "projection_dim": 16},
    "dino": {"hidden_dim": 32, "bottleneck_dim": 16, "prototypes": 64, "local_views": 2},
    "mae": {"decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2},
    "simclr": {},
}


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Args:
        device: cpu or cuda.
        tiny: a minute on a CPU, to see that all of it runs.
        batch: samples a step.
        size: of the images in pixels.
        workers: processes that load files.
    """

    device: str
    tiny: bool
    batch: int
    size: int
    workers: int


def create(method: str, backbone: str, scale: Scale) -> SSLModule:
    """Build our model, with AdamW for all methods, which both sides have, and a rate at which one batch may repeat."""
    name, kwargs = backbone, {}
    if backbone.startswith("vit"):
        kwargs["dynamic_img_size"] = True  # DINO's small crops
        if scale.tiny:
            name, kwargs = "vit_tiny_patch16_224", {**kwargs, "patch_size": 8, "depth": 2, "embed_dim": 48}
    elif scale.tiny:
        name = "test_resnet"
    return registry.create(
        method,
        backbone=name,
        backbone_kwargs=kwargs or None,
        image_size=scale.size,
        optimizer="adamw",
        optimizer_kwargs={},
        learning_rate=1e-5,
        seed=0,
        **(SMALL[method] if scale.tiny else {}),
    ).to(scale.device)


def draw(model: SSLModule, scale: Scale) -> list[Tensor]:
    """Return a batch's views, of the sizes and in the number that the method draws."""
    generator = torch.Generator(scale.device).manual_seed(0)
    shape = (scale.batch, 3, scale.size, scale.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=scale.device, generator=generator)
    return [view.detach() for view in model.view_policy.draw(images, generator)]


def ours(model: SSLModule, views: list[Tensor]) -> Step:
    """Return the step as the core makes it, without Lightning's loop (`overhead.py` measures that)."""
    model.train().to(memory_format=torch.channels_last)  # as `SSLModule.setup` does
    groups = model.hook.param_groups(model=model, config=model.config)
    optimizer = build_optimizer(groups or default_param_groups([model.backbone, model.heads]), model.config)

    def step() -> Tensor:
        ctx = model._context(0)
        with torch.autocast(views[0].device.type, torch.bfloat16):
            found = model.hook.compute_loss(model=model, views=views, ctx=ctx)
        loss: Tensor = found["loss"] if isinstance(found, dict) else found
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        model.hook.on_step_end(model=model, ctx=model._context(0, steps_more=1))
        return loss.detach()

    return step


def lightly(model: SSLModule, views: list[Tensor]) -> Step:
    """Return the step of lightly's parts, put together as in its examples, from our weights.

    Raises:
        ImportError: if lightly is not installed.
    """
    peer = _peer(model).to(views[0].device).train()
    optimizer = _peer_optimizer(peer)

    def step() -> Tensor:
        return _peer_step(peer, optimizer, [views, None])

    return step


def _peer(model: SSLModule) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if model.info.name == "mae":
            from mae_peer import PeerMAE

            return PeerMAE(model)
        from accuracy_lightly import PEERS

        return PEERS[model.info.name](model, None)


def _peer_optimizer(peer: Any) -> torch.optim.Optimizer:
    parameters = [p for part in peer.parts for p in part.parameters() if p.requires_grad]
    return torch.optim.AdamW(parameters, lr=1e-5, weight_decay=peer.settings.weight_decay)


def _peer_step(peer: Any, optimizer: torch.optim.Optimizer, batch: Any) -> Tensor:
    with torch.autocast(batch[0][0].device.type, torch.bfloat16):
        loss: Tensor = peer.training_step(batch, 0)
    optimizer.zero_grad()
    loss.backward()
    peer.on_after_backward()
    optimizer.step()
    return loss.detach()


def count_flops(step: Step) -> float:
    """Return the floating-point operations of a step's products of matrices, convolutions and attention."""
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def now(device: str) -> float:
    """Return the time, once the device has done what it was told."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def ceiling(device: str, side: int) -> float:
    """Return the operations a second of a product of square matrices in bfloat16, the median of several."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(12):
        began = now(device)
        for _ in range(5):
            a @ b
        seconds.append((now(device) - began) / 5)
    return 2 * side**3 / statistics.median(seconds[2:])


# --- from files to weights -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flow:
    """What a training on files was like: samples a second, and the share of the time spent waiting for batches."""

    rate: float
    data_wait: float


class Clock(Callback):
    """Measures the steps behind a warm-up, and in them what lies between the end of a step and the next batch."""

    def __init__(self, warm_up: int, device: str) -> None:
        self.warm_up, self.device = warm_up, device
        self.done, self.began, self.ended, self.idle, self.waited = 0, 0.0, 0.0, 0.0, 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """A batch is here."""
        if self.done >= self.warm_up:
            self.waited += time.perf_counter() - self.idle

    def on_train_batch_end(self, *_: Any) -> None:
        """A step is made, or on its way on the device."""
        self.done += 1
        if self.done == self.warm_up:
            self.began = now(self.device)
        self.idle = time.perf_counter()

    def on_train_end(self, *_: Any) -> None:
        """All of them are."""
        self.ended = now(self.device)

    def flow(self, batch: int) -> Flow:
        """Return what was measured, of batches of so many samples."""
        seconds = self.ended - self.began
        return Flow((self.done - self.warm_up) * batch / seconds, self.waited / seconds)


def write_photographs(folder: Path, number: int) -> None:
    """Write cuts of scikit-learn's two photographs, 500 x 375 pixels, under so many names, in one class folder."""
    target = folder / "all"
    target.mkdir(parents=True)
    files = photographs("")
    for index in range(number):
        path = target / f"{index:06}.jpg"
        if index < len(files):
            path.write_bytes(files[index])
        else:
            os.link(target / f"{index % len(files):06}.jpg", path)


def write_array(path: Path, number: int, side: int) -> None:
    """Write so many of the same, decoded and square, as one array [number, 3, side, side] of uint8."""
    files = photographs("")
    whole = np.stack(arrays(files, side, len(files))).transpose(0, 3, 1, 2)
    np.save(path, whole[np.arange(number) % len(files)])


def train_ours(method: str, backbone: str, data: Path, engine: str, steps: int, scale: Scale) -> Flow:
    """Train on files, or on an array, as `ssl-registry train` does, with views by one of the engines."""
    model = create(method, backbone, scale)
    source = open_source(str(data), image_size=scale.size)
    plan = choose_view_plan(source, model.view_policy, asked=engine, accelerator=scale.device.startswith("cuda"))
    workers = 0 if source.train.in_memory else scale.workers
    module = SSLDataModule(source, batch_size=scale.batch, num_workers=workers, draw=plan)
    return _fit(model, steps, scale, datamodule=module)


def train_lightly(method: str, backbone: str, folder: Path, steps: int, scale: Scale) -> Flow:
    """Train lightly's parts on files, through its transforms and the same Trainer.

    Raises:
        ImportError: if lightly is not installed.
    """
    from accuracy_lightly import transform
    from torchvision.datasets import ImageFolder

    model = create(method, backbone, scale)
    policy = model.view_policy.model_copy(update={"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD})
    loader = DataLoader(
        ImageFolder(folder, transform(method, policy)),
        scale.batch,
        shuffle=True,
        drop_last=True,
        num_workers=scale.workers,
        pin_memory=scale.device.startswith("cuda"),
    )
    return _fit(_peer(model), steps, scale, train_dataloaders=loader)


def _fit(model: LightningModule, steps: int, scale: Scale, **data: Any) -> Flow:
    # The workers' first batches come all at once, so as many steps as there are workers do not count.
    clock = Clock(scale.workers + 1, scale.device)
    Trainer(
        accelerator="gpu" if scale.device.startswith("cuda") else "cpu",
        devices=1,
        precision="bf16-mixed",
        max_steps=clock.warm_up + steps,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    ).fit(model, **data)
    return clock.flow(scale.batch)


__all__ = [
    "Flow",
    "Scale",
    "ceiling",
    "count_flops",
    "create",
    "draw",
    "lightly",
    "now",
    "ours",
    "train_lightly",
    "train_ours",
    "write_array",
    "write_photographs",
]
