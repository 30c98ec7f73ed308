"""Segmentation by patch features: labels of patches, k-NN and a linear layer on tokens, and intersection over union."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry.errors import DataError, FeaturesNotFiniteError
from ssl_registry.measures.knn import knn_predict
from ssl_registry.measures.solvers import Linear

__all__ = [
    "CLASSES",
    "IGNORED",
    "SegmentationCounts",
    "fit_linear_segmentation",
    "knn_segmentation",
    "linear_segmentation",
    "memory_bank",
    "patch_labels",
]

IGNORED = 255  # of a mask: a pixel without a class, as Pascal VOC and Cityscapes have it
CLASSES = 255  # classes are numbered 0 to 254

# Optimizer, weight decay, batch and a rate that falls to zero on a line are those of DINOv2's linear segmentation
# (Oquab et al., 2023, arXiv:2304.07193, the authors' configuration), which makes 40,000 steps at 1e-3 on random crops,
# behind a BatchNorm. Features that stay as they are need fewer: on images of shapes, 1,000 steps at 1e-2 reach a mean
# IoU of 0.857 on an untrained network's tokens and 0.861 on pixels; 8,000 steps at 1e-3 reach 0.856 and 0.860.
LEARNING_RATE, WEIGHT_DECAY, BATCH, STEPS = 1e-2, 1e-4, 16, 1_000


def patch_labels(masks: Tensor, grid: Sequence[int]) -> Tensor:
    """Return the class that most labelled pixels of each patch have; of those that tie, the lowest.

    A pixel belongs to the patch under it where the mask is stretched over the grid, whatever its size.

    Args:
        masks: classes, whole numbers [N, height, width] from 0 to 254, and 255 for none.
        grid: (rows, columns) of patches.

    Returns:
        int64 [N, rows * columns]; 255 for a patch without a labelled pixel.

    Example:
        >>> mask = torch.tensor([[[0, 0, 7, 7], [0, 3, 255, 255]]])
        >>> patch_labels(mask, (1, 2))
        tensor([[0, 7]])
    """
    count, patches = len(masks), grid[0] * grid[1]
    under = _patch_under(masks.shape[1:], grid, masks.device)
    under = under + patches * torch.arange(count, device=masks.device).view(-1, 1, 1)
    values = IGNORED + 1
    votes = torch.bincount((under * values + masks.long()).flatten(), minlength=count * patches * values)
    votes = votes.view(count, patches, values)[..., :IGNORED]
    return torch.where(votes.amax(-1) > 0, votes.argmax(-1), IGNORED)


def memory_bank(tokens: Tensor, labels: Tensor, *, most: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return the labelled patches of all images, or a random choice of them.

    Args:
        tokens: [N, P, D].
        labels: [N, P], from `patch_labels`.
        most: patches to keep.
        seed: of the choice.

    Returns:
        Tokens [M, D] and classes [M].

    Raises:
        DataError: if no patch has a class.
    """
    known = (labels.flatten() != IGNORED).nonzero().flatten()
    if not len(known):
        raise DataError(f"no patch of the training part has a class: its masks hold {IGNORED} alone, which is ignored")
    if len(known) > most:
        order = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))[:most].sort().values
        known = known[order.to(known.device)]
    return tokens.flatten(0, 1)[known], labels.flatten()[known]


def knn_segmentation(
    bank: Tensor, bank_labels: Tensor, tokens: Tensor, grid: Sequence[int], *, k: int, temperature: float
) -> Tensor:
    """Predict the class of each patch from the most similar ones of a memory bank, see `knn_predict`.

    Args:
        bank, bank_labels: from `memory_bank`.
        tokens: [N, rows * columns, D].
        grid: (rows, columns).
        k, temperature: as in `knn_predict`.

    Returns:
        Classes [N, rows, columns]; `SegmentationCounts.add` brings them to the size of masks.
    """
    found = knn_predict(bank, bank_labels, tokens.flatten(0, 1), k=k, temperature=temperature)
    return found.view(len(tokens), *grid)


def fit_linear_segmentation(
    tokens: Tensor,
    grid: Sequence[int],
    masks: Tensor,
    *,
    seed: int = 0,
    steps: int = STEPS,
    device: torch.device | str = "cpu",
) -> tuple[Linear, Tensor]:
    """Train a linear layer on tokens, whose outputs are upsampled to the masks: cross-entropy over labelled pixels.

    Tokens are standardized by those of the training part, which the returned layer has folded in. Source: Oquab et al.,
    2023, arXiv:2304.07193, section 7.4, and the authors' configuration for optimizer, rate and batch.

    Args:
        tokens: [N, rows * columns, D].
        grid: (rows, columns).
        masks: classes [N, side, side], as in `patch_labels`.
        seed: of the layer's initial weights and the order of the images.
        steps: optimizer steps.
        device: where it is trained.

    Returns:
        The layer, weight [K, D] and bias [K], and the classes [K] of its outputs.

    Raises:
        DataError: if the masks hold fewer than two classes.
        FeaturesNotFiniteError: for tokens with NaN or infinity.
    """
    if not bool(tokens.isfinite().all()):
        raise FeaturesNotFiniteError("the tokens hold NaN or infinity; look for a training that diverged")
    classes = torch.unique(masks)
    classes = classes[classes != IGNORED].long()
    if len(classes) < 2:
        one = f"class {int(classes[0])} alone" if len(classes) else "no class"
        raise DataError(
            f"the training masks hold {one} beside {IGNORED}, which is ignored; a probe needs two classes or "
            f"more. Where {IGNORED} means the object, write 1 in its place"
        )
    order = torch.full((IGNORED + 1,), -100)  # what cross_entropy ignores
    order[classes.cpu()] = torch.arange(len(classes))
    mean = tokens.mean((0, 1))
    std = (tokens - mean).square().mean((0, 1)).sqrt()
    std = std.masked_fill(std <= 1e-6 * mean.abs(), 1.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = nn.Linear(tokens.shape[-1], len(classes)).to(device)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    rows = torch.empty(0, dtype=torch.int64)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / steps)
        if len(rows) < min(BATCH, len(tokens)):
            rows = torch.cat([rows, torch.randperm(len(tokens), generator=generator)])
        chosen, rows = rows[:BATCH], rows[BATCH:]
        x = ((tokens[chosen] - mean) / std).to(device)
        outputs = layer(x).mT.reshape(len(x), -1, *grid)  # [B, K, rows, columns]
        target = order[masks[chosen].long().cpu()].to(device)
        outputs = F.interpolate(outputs, tuple(target.shape[1:]), mode="bilinear", align_corners=False)
        optimizer.zero_grad()
        # A sum over labelled pixels by their number, which is 0 in a batch without one: its mean would be NaN.
        total = F.cross_entropy(outputs, target, reduction="sum") / (target >= 0).sum().clamp_min(1)
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    weight = layer.weight.detach().to(tokens) / std
    return Linear(weight, layer.bias.detach().to(tokens) - weight @ mean), classes


def linear_segmentation(
    fit: Linear, classes: Tensor, tokens: Tensor, grid: Sequence[int], size: Sequence[int]
) -> Tensor:
    """Return the class of each pixel: the layer's outputs, upsampled bilinearly, and the largest of them.

    Args:
        fit, classes: from `fit_linear_segmentation`.
        tokens: of one image [rows * columns, D].
        grid: (rows, columns).
        size: (height, width) of the mask.

    Returns:
        int64 [height, width].
    """
    outputs = (tokens @ fit.weight.T + fit.bias).T.reshape(1, -1, *grid)
    found = F.interpolate(outputs, tuple(size), mode="bilinear", align_corners=False)[0].argmax(0)
    return classes.to(found.device)[found]


class SegmentationCounts:
    """How many pixels of each class were taken for which, over all images of a part.

    Example:
        >>> counts = SegmentationCounts()
        >>> counts.add(torch.tensor([[0, 1]]), torch.tensor([[0, 0, 1, 1], [0, 0, 0, 255]]))
        >>> counts.metrics()["pixel_accuracy"], counts.iou()
        (0.8571428571428571, {0: 0.8, 1: 0.6666666666666666})
    """

    def __init__(self) -> None:
        self.counts = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)  # [true, predicted]

    def add(self, prediction: Tensor, mask: Tensor) -> None:
        """Count one image.

        Args:
            prediction: classes [rows, columns], of any size: each pixel takes that under it.
            mask: the true ones [height, width]; 255 counts nowhere.
        """
        index = _patch_under(mask.shape, prediction.shape, prediction.device)
        guess = prediction.flatten()[index].long().cpu()
        truth = mask.long().cpu()
        known = truth != IGNORED
        pairs = truth[known] * CLASSES + guess[known]
        self.counts += torch.bincount(pairs, minlength=CLASSES**2).view(CLASSES, CLASSES)

    def iou(self) -> dict[int, float]:
        """Return intersection over union of each class that occurs, in truth or in a prediction.

        Intersections and unions are summed over all images first (Everingham et al., 2010, Pascal VOC, section 4.4).
        """
        hit = self.counts.diagonal()
        union = self.counts.sum(0) + self.counts.sum(1) - hit
        return {kind: int(hit[kind]) / int(union[kind]) for kind in union.nonzero().flatten().tolist()}

    def metrics(self) -> dict[str, float]:
        """Return ``mean_iou``, over the classes of `iou`, and ``pixel_accuracy``, over labelled pixels.

        Raises:
            DataError: if no pixel was labelled.
        """
        total = int(self.counts.sum())
        if not total:
            raise DataError(f"no pixel of the test part has a class: its masks hold {IGNORED} alone, which is ignored")
        of_class = self.iou().values()
        accuracy = int(self.counts.diagonal().sum()) / total
        return {"mean_iou": sum(of_class) / len(of_class), "pixel_accuracy": accuracy}


def _patch_under(size: Sequence[int], grid: Sequence[int], device: torch.device | str) -> Tensor:
    """Return for each pixel the number of the patch under its center, [height, width]."""
    rows, columns = (
        ((2 * torch.arange(side, device=device) + 1) * steps) // (2 * side)
        for side, steps in zip(size, grid, strict=True)
    )
    return rows[:, None] * grid[1] + columns
