"""Segmentation by patch features, beside formulas written pixel by pixel and torchmetrics."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from shapes import shapes
from torchmetrics import JaccardIndex

from ssl_registry.errors import DataError, FeaturesNotFiniteError
from ssl_registry.measures.segmentation import (
    SegmentationCounts,
    fit_linear_segmentation,
    knn_segmentation,
    linear_segmentation,
    memory_bank,
    patch_labels,
)


@pytest.mark.parametrize(("size", "grid"), [((12, 12), (3, 3)), ((10, 14), (3, 4)), ((3, 3), (3, 3)), ((7, 5), (2, 2))])
def test_labels_of_patches_are_their_majority(size, grid):
    """Counted pixel by pixel, with sizes that the grid does not divide; 255 has no vote, ties go to the lowest."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.tensor([0, 4, 9, 255])[torch.randint(4, (5, *size), generator=generator)].to(torch.uint8)
    found = patch_labels(masks, grid)
    for mask, labels in zip(masks.tolist(), found.tolist(), strict=True):
        votes = [Counter() for _ in range(grid[0] * grid[1])]
        for y, row in enumerate(mask):
            for x, value in enumerate(row):
                patch = int((y + 0.5) / size[0] * grid[0]) * grid[1] + int((x + 0.5) / size[1] * grid[1])
                if value != 255:
                    votes[patch][value] += 1
        wanted = [min(c, key=lambda kind: (-c[kind], kind)) if c else 255 for c in votes]
        assert labels == wanted


def test_iou_is_torchmetrics():
    """Over two images of different sizes, with ignored pixels and a class that is predicted and never true."""
    generator = torch.Generator().manual_seed(0)
    counts, other = SegmentationCounts(), JaccardIndex("multiclass", num_classes=6, average="none", ignore_index=255)
    macro = JaccardIndex("multiclass", num_classes=6, average="macro", ignore_index=255)
    for side in (9, 16):
        guess = torch.randint(5, (side, side), generator=generator)
        mask = torch.tensor([0, 1, 2, 3, 255])[torch.randint(5, (side, side), generator=generator)]
        counts.add(guess, mask)
        other.update(guess[None], mask[None])
        macro.update(guess[None], mask[None])
    wanted = other.compute()
    assert counts.iou() == pytest.approx({kind: float(wanted[kind]) for kind in range(5)}, abs=1e-6)
    assert counts.iou()[4] == 0
    assert counts.metrics()["mean_iou"] == pytest.approx(sum(counts.iou().values()) / 5)
    assert counts.metrics()["mean_iou"] == pytest.approx(float(macro.compute()), abs=1e-6)


def test_a_prediction_is_stretched_over_its_mask():
    """Each pixel takes the class under its center, whatever the sizes."""
    counts = SegmentationCounts()
    counts.add(torch.tensor([[0, 1, 2]]), torch.tensor([[0, 0, 1, 1, 1, 2, 2]]))
    assert counts.counts[:3, :3].tolist() == [[2, 0, 0], [0, 3, 0], [0, 0, 2]]
    smaller = SegmentationCounts()
    smaller.add(torch.tensor([[0, 1], [2, 3]]), torch.tensor([[3]]))
    assert smaller.counts[3, 3] == 1


def test_patches_find_their_like():
    """Tokens that tell the class by their direction: every patch gets it, in the bank and out of it."""
    labels = torch.tensor([[0, 1, 1, 7], [7, 7, 0, 255]])
    directions = torch.eye(8)
    tokens = directions[labels.clamp(max=7)]
    bank, known = memory_bank(tokens, labels, most=100)
    assert known.tolist() == [0, 1, 1, 7, 7, 7, 0]
    found = knn_segmentation(bank, known, tokens[:1], (2, 2), k=1, temperature=0.1)
    assert found.tolist() == [[[0, 1], [1, 7]]]


def test_the_bank_is_bounded():
    """A choice of the labelled patches, by the seed."""
    tokens, labels = torch.arange(40.0).view(2, 20, 1), torch.arange(40).view(2, 20) % 3
    bank, known = memory_bank(tokens, labels, most=10, seed=1)
    assert len(bank) == len(known) == 10
    assert torch.equal(bank[:, 0].long() % 3, known)
    assert torch.equal(memory_bank(tokens, labels, most=10, seed=1)[0], bank)
    assert not torch.equal(memory_bank(tokens, labels, most=10, seed=2)[0], bank)


def test_linear_layer_finds_what_is_linear():
    """Of shapes on cells as large as patches, with the class in the tokens; torchmetrics has the same IoU."""
    _, masks = (torch.from_numpy(part) for part in shapes(24))
    labels = patch_labels(masks, (4, 4))
    noise = 0.1 * torch.randn(24, 16, 5, generator=torch.Generator().manual_seed(0))
    tokens = 3 + torch.nn.functional.one_hot(labels, 5) + noise
    fit, classes = fit_linear_segmentation(tokens[:16], (4, 4), masks[:16], steps=300)
    assert classes.tolist() == [0, 1, 2]
    whole = torch.stack([linear_segmentation(fit, classes, one, (4, 4), (32, 32)) for one in tokens[16:]])
    counts = SegmentationCounts()
    for guess, mask in zip(whole, masks[16:], strict=True):
        counts.add(guess, mask)
    other = JaccardIndex("multiclass", num_classes=3, average="macro")
    assert counts.metrics()["mean_iou"] == pytest.approx(float(other(whole, masks[16:].long())), abs=1e-6)
    assert counts.metrics()["mean_iou"] > 0.8


def test_linear_layer_is_trained_on_labelled_pixels_alone():
    """Beside torch's own loss over them, with ``ignore_index``; classes may have gaps, and tokens any scale."""
    _, masks = (torch.from_numpy(part) for part in shapes(8))
    masks = torch.tensor([3, 10, 254], dtype=torch.uint8)[masks.long()]
    masks[:, :8], masks[0] = 255, 255
    tokens = 7 + 3 * torch.randn(8, 16, 4, generator=torch.Generator().manual_seed(0))
    fit, classes = fit_linear_segmentation(tokens, (4, 4), masks, seed=5, steps=3)
    assert classes.tolist() == [3, 10, 254]

    torch.manual_seed(5)
    layer = torch.nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2, weight_decay=1e-4)
    x = (tokens - tokens.mean((0, 1))) / tokens.flatten(0, 1).std(0, correction=0)
    target = masks.long().where(masks != 3, 0).where(masks != 10, 1).where(masks != 254, 2)
    for step in range(3):
        optimizer.param_groups[0]["lr"] = 1e-2 * (3 - step) / 3
        outputs = torch.nn.functional.interpolate(layer(x).mT.reshape(8, 3, 4, 4), (32, 32), mode="bilinear")
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(outputs, target, ignore_index=255).backward()
        optimizer.step()
    found = tokens @ fit.weight.T + fit.bias
    torch.testing.assert_close(found, layer(x).detach(), rtol=1e-4, atol=1e-4)


def test_a_batch_without_a_labelled_pixel_is_no_nan():
    """Its loss is zero, and training goes on."""
    masks = torch.full((17, 4, 4), 255, dtype=torch.uint8)
    masks[16, :2], masks[16, 2:] = 0, 1
    fit, _ = fit_linear_segmentation(torch.randn(17, 4, 3), (2, 2), masks, steps=4)
    assert fit.weight.isfinite().all()


def test_what_cannot_be_measured_is_told():
    """One class, none, and tokens that are not finite."""
    tokens = torch.zeros(2, 4, 3)
    with pytest.raises(DataError, match=r"hold class 0 alone beside 255.* write 1 in its place"):
        fit_linear_segmentation(tokens, (2, 2), torch.tensor([0, 255]).view(2, 1, 1).expand(2, 4, 4))
    with pytest.raises(DataError, match="hold no class"):
        fit_linear_segmentation(tokens, (2, 2), torch.full((2, 4, 4), 255))
    with pytest.raises(FeaturesNotFiniteError):
        fit_linear_segmentation(tokens / 0, (2, 2), torch.zeros(2, 4, 4))
    with pytest.raises(DataError, match="no patch of the training part has a class"):
        memory_bank(tokens, torch.full((2, 4), 255), most=9)
    with pytest.raises(DataError, match="no pixel of the test part"):
        SegmentationCounts().metrics()
