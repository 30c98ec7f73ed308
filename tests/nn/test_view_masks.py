"""Some views are masked and others not, at ratios that cover a range; the host knows how many patches that are."""

from __future__ import annotations

import pytest
import torch

from ssl_registry.nn import masked_counts, view_block_masks

ROWS, COLUMNS = 6, 10
N = ROWS * COLUMNS


def masks(batch=8, seed=0, **options):
    return view_block_masks(2, batch, (ROWS, COLUMNS), generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("probability", [0.25, 0.5, 0.75, 1.0])
def test_a_share_of_the_views_is_masked_at_ratios_that_cover_the_range(probability):
    """The papers' 0.1 to 0.5: near a uniform draw's mean and quartiles, and never outside."""
    counts = masked_counts(2, 64, 200, probability=probability, ratio=(0.1, 0.5))
    shares = sorted(count / 200 for count in counts if count)
    assert len(shares) == pytest.approx(128 * probability, abs=2)
    assert 0.1 <= shares[0] < 0.12 < 0.48 < shares[-1] <= 0.5
    quartiles = [shares[len(shares) * n // 4] for n in (1, 2, 3)]
    assert quartiles == pytest.approx([0.2, 0.3, 0.4], abs=0.03)


def test_of_two_views_at_a_half_each_sample_has_one_masked():
    """Neither of the unequal views is the masked one always."""
    counts = torch.tensor(masked_counts(2, 9, N, probability=0.5, ratio=(0.1, 0.5))).view(2, 9) > 0
    assert counts.sum(0).tolist() == [1] * 9
    assert counts.sum(1).tolist() == [4, 5]


def test_ranks_mask_as_one_process_with_all_samples():
    """A sample's count follows from its place in the global batch."""
    options = {"probability": 0.5, "ratio": (0.1, 0.5)}
    whole = torch.tensor(masked_counts(2, 14, N, **options)).view(2, 14)
    parts = [torch.tensor(masked_counts(2, 7, N, first=first, **options)).view(2, 7) for first in (0, 7)]
    assert torch.equal(whole, torch.cat(parts, 1))


def test_mask_index_and_weights_tell_the_same():
    """Weights add up to one for each masked view, over all views."""
    found = masks()
    assert found.mask.sum(1).tolist() == masked_counts(2, 8, N, probability=0.5, ratio=(0.1, 0.5))
    assert torch.equal(found.places, found.mask.flatten().nonzero().squeeze(1))
    by_view = torch.zeros(16).index_add(0, found.places // N, found.weights)
    torch.testing.assert_close(by_view, found.mask.any(1).float() / 16)


def test_masked_patches_lie_in_blocks():
    """A masked patch's right neighbor is masked far more often than at random."""
    mask = masks(batch=200).mask.view(-1, ROWS, COLUMNS)
    mask = mask[mask.flatten(1).any(1)]
    share = (mask[:, :, 1:] & mask[:, :, :-1]).sum().item() / mask[:, :, :-1].sum().item()
    assert share > 0.6  # at random it is the ratio, 0.3 on average


def test_the_generator_decides_where_and_not_how_many():
    """So that a resumed run has the masks of one that was never stopped."""
    first, again, other = masks(seed=0), masks(seed=0), masks(seed=1)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first.mask, other.mask)
    assert torch.equal(first.mask.sum(1), other.mask.sum(1))


@pytest.mark.usefixtures("fake_cuda")
def test_nothing_waits_for_the_device():
    """Sizes are known on the host."""
    found = view_block_masks(2, 4, (14, 14), device="cuda")
    assert found.places.shape == found.weights.shape == (sum(found_counts()),)
    assert found.mask.device.type == "cuda"


def found_counts():
    return masked_counts(2, 4, 196, probability=0.5, ratio=(0.1, 0.5))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratio": (0.5, 0.1)}, "the smaller first"),
        ({"ratio": (0.0, 0.5)}, "the smaller first"),
        ({"probability": 0.0}, "probability=0.0"),
        ({"ratio": (0.1, 0.999)}, "masks all of the 60 patches"),
    ],
)
def test_wrong_shares_are_refused(options, words):
    """In words that say what they must be."""
    with pytest.raises(ValueError, match=words):
        masks(**options)


def test_a_signal_is_refused():
    """Blocks are of rows and columns."""
    with pytest.raises(ValueError, match="rows, columns"):
        view_block_masks(2, 4, (16,))
