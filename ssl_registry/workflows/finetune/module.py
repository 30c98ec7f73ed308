"""`FineTuning`: a supervised module whose layers learn at their own rates, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LambdaLR

from ssl_registry.errors import ConfigError
from ssl_registry.model.backbones import FeaturePool
from ssl_registry.model.optimizers import lr_factor, without_decay
from ssl_registry.model.supervised import SupervisedModule
from ssl_registry.runs.opened import RawNetwork
from ssl_registry.views import View

__all__ = ["FineTuning", "layer_groups"]

WARMUP = 0.05  # of all steps


class FineTuning(SupervisedModule):
    """A `SupervisedModule` with layer-wise learning rates and the first layers frozen.

    Args:
        network: the backbone on raw samples.
        head: on its features.
        layers: how many of the backbone's last layers train; None for all.
        learning_rate: of the head; each layer below has ``layer_decay`` times the rate of the one above.
        layer_decay: see there; 1 gives all the same rate.
        weight_decay: AdamW's; biases, norms, position embeddings and tokens are excluded.
        view: drawn from each training sample; None leaves them plain.
        fixed_statistics: keep the running statistics of the backbone's BatchNorm, and normalise by them in training
            too: those of pretraining are of all samples, those of a few labelled ones are not.
    """

    def __init__(
        self,
        network: RawNetwork,
        head: nn.Module,
        *,
        layers: int | None,
        learning_rate: float,
        layer_decay: float,
        weight_decay: float,
        view: View | None,
        fixed_statistics: bool = False,
    ) -> None:
        super().__init__(network.backbone, head, nn.CrossEntropyLoss(), learning_rate=learning_rate)
        self.view_policy = network.view_policy
        self.view_recipe = None if view is None else network.view_policy.model_copy(update={"views": (view,)})
        self.layer_decay = layer_decay
        self.weight_decay = weight_decay
        self._groups = layer_groups(self.backbone)
        self._fixed: list[nn.Module] = []
        self._norms = [part for part in self.backbone.modules() if isinstance(part, _BatchNorm)]
        self._norms = self._norms if fixed_statistics else []
        if layers is not None and not 1 <= layers <= len(self._groups):
            raise ConfigError(f"layers={layers}: this backbone has 1 to {len(self._groups)} of them")
        if layers is not None:
            self._fixed = [part for group in self._groups[:-layers] for part in group]
        for part in self._fixed:
            # Their own parameters alone: a part may hold layers that train.
            for parameter in part.parameters(recurse=False):
                parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> FineTuning:
        """Set training mode everywhere but in the frozen layers, and in BatchNorm whose statistics are fixed."""
        super().train(mode)
        for part in (*self.__dict__.get("_fixed", ()), *self.__dict__.get("_norms", ())):
            part.training = False
        return self

    @torch.no_grad()
    def settle_statistics(self, batches: Iterable[Any]) -> None:
        """Give BatchNorm the statistics of the samples for good, in place of averages that move with the last steps.

        Those of training are seen through dropout, which is off later: behind it a variance is smaller then. Frozen
        layers, and statistics that are fixed, stay.

        Args:
            batches: (x, y) or x of two samples or more; smaller ones are passed over.
        """
        rest = {id(part) for part in (*self._fixed, *self._norms)}
        norms = [part for part in self.backbone.modules() if isinstance(part, _BatchNorm) and id(part) not in rest]
        norms = [norm for norm in norms if norm.track_running_stats]
        momenta = [norm.momentum for norm in norms]
        self.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.training = True
        for batch in batches if norms else ():
            x = batch[0] if isinstance(batch, list | tuple) else batch
            if len(x) > 1:  # one sample has no variance behind a pooling
                self(self.view_policy.prepare(x.to(self.device)))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.training = False

    def on_train_start(self) -> None:
        """Put each part into its mode: Lightning leaves them as they came, and warns of what rests before this hook."""
        self.train()

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Prepare the samples; in training draw one view of each."""
        x, y = batch
        if self.training and self.view_recipe is not None:
            return self.view_recipe.draw(x)[0], y
        return self.view_policy.prepare(x), y

    def configure_optimizers(self) -> Any:
        """Build AdamW with a rate for each layer, and a cosine over the run behind a short warm-up."""
        excluded = without_decay(self)
        groups = [_decayed(self.head.parameters(), excluded, self.learning_rate, self.weight_decay)]
        for depth, parts in enumerate(reversed(self._groups), start=1):
            trained = [p for part in parts for p in part.parameters(recurse=False) if p.requires_grad]
            groups.append(_decayed(trained, excluded, self.learning_rate * self.layer_decay**depth, self.weight_decay))
        optimizer = torch.optim.AdamW([group for pair in groups for group in pair if group["params"]])
        steps = int(self.trainer.estimated_stepping_batches)
        factor = partial(lr_factor, schedule="cosine", warmup_steps=round(WARMUP * steps), max_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}


def _decayed(parameters: Any, excluded: set[int], rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Split into parameters with and without weight decay, at one rate."""
    found = list(parameters)
    decay, rest = [p for p in found if id(p) not in excluded], [p for p in found if id(p) in excluded]
    return [
        {"params": decay, "lr": rate, "weight_decay": weight_decay},
        {"params": rest, "lr": rate, "weight_decay": 0.0},
    ]


def layer_groups(backbone: nn.Module) -> list[list[nn.Module]]:
    """Return the modules with parameters of their own, layer by layer.

    timm's models say themselves what belongs to one layer (their ``group_matcher``: a stem, a residual block, a
    transformer block); of other networks each such module is a layer.

    Example:
        >>> [len(group) for group in layer_groups(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)))]
        [1, 1]
    """
    inner = backbone.module if isinstance(backbone, FeaturePool) else backbone
    owners = {name: part for name, part in inner.named_modules() if any(True for _ in part.parameters(recurse=False))}
    matcher = getattr(inner, "group_matcher", None)
    if matcher is None:
        return [[part] for part in owners.values()]
    from timm.models import group_parameters

    layers: dict[str, int] = group_parameters(inner, matcher(coarse=False), reverse=True)
    # A module follows its deepest parameter; a ViT's own ones (tokens, positions) lie in its first layer.
    depth = {
        name: max(layers[f"{name}.{key}" if name else key] for key, _ in part.named_parameters(recurse=False))
        for name, part in owners.items()
    }
    return [[owners[name] for name in owners if depth[name] == layer] for layer in sorted(set(depth.values()))]
