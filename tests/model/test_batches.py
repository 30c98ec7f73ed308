"""Every documented form of a batch is read; everything else is told what came and what is accepted."""

from __future__ import annotations

import pytest
import torch

from ssl_registry.errors import BatchError
from ssl_registry.model.batches import read_batch

LABELS, NAMES = torch.arange(4), ("a", "b", "c", "d")
IMAGE, SIGNAL, TABLE = (3, 8, 8), (2, 16), (5,)


def images(*size):
    return torch.zeros(4, 3, *(size or (8, 8)))


# Close to a form that is accepted: names and labels exchanged, a list of views too many, a view that is none.
ODD = (
    (images(), NAMES, LABELS),
    ([images()], [images()], NAMES),
    ([images()], LABELS, NAMES, NAMES),
    {"view0": images(), "view1": "x"},
)


@pytest.mark.parametrize(
    ("batch", "count"),
    [
        (images(), 1),
        ([images()], 1),
        ((images(), torch.zeros(4, dtype=torch.long)), 1),
        ([images(), torch.zeros(4, 10)], 1),
        ((images(), ["a", "b", "c", "d"]), 1),
        (([images(), images()], torch.zeros(4)), 2),
        (([images(), images()],), 2),
        ([images(), images()], 2),
        ([images(), images(), images(4, 4)], 3),
        ({"views": [images(), images()]}, 2),
        ({"image": images(), "label": torch.zeros(4)}, 1),
        ({"x": images().byte()}, 1),
        ({"pixel_values": images(), "labels": LABELS}, 1),
        ({"label": LABELS, "view1": images(), "view0": images(4, 4)}, 2),
        ({"view_1": images(), "view_2": images()}, 2),
        ((images(), LABELS, NAMES), 1),
        (([images(), images()], LABELS, NAMES), 2),
        ([LABELS, [images(), images()], LABELS], 2),
        ([LABELS, images(), LABELS], 1),
    ],
)
def test_accepted_forms(batch, count):
    """Each form of the contract gives its views, and labels are left out."""
    assert len(read_batch(batch, IMAGE)) == count


@pytest.mark.parametrize(
    ("batch", "shape", "count"),
    [
        ((torch.zeros(4, 2, 16), torch.zeros(4, 2, 16)), SIGNAL, 2),
        ((torch.zeros(4, 2, 16), torch.zeros(4, 2, 3)), SIGNAL, 1),
        ((torch.zeros(4, 5), torch.zeros(4, 5)), TABLE, 2),
        ((torch.zeros(4, 5), torch.zeros(4, 3)), TABLE, 1),
        ((torch.zeros(4, 5), torch.zeros(4, 5, dtype=torch.long)), TABLE, 1),
    ],
)
def test_labels_of_signals_and_tables_are_no_views(batch, shape, count):
    """A second tensor is a view only if it has the first one's shape and type."""
    assert len(read_batch(batch, shape)) == count


@pytest.mark.parametrize("batch", [None, "images", {}, {"pixels": images()}, [], 3, [images(), images(), "x"], *ODD])
def test_nothing_that_fits(batch):
    """The error shows what came and lists what is accepted."""
    with pytest.raises(BatchError, match=r"accepted: a tensor; \(x, label\)"):
        read_batch(batch, IMAGE)


def test_wrong_channels():
    """Grey images for a model of three channels: the message shows both and the argument."""
    with pytest.raises(BatchError, match=r"float32\[4, 1, 8, 8\].*\[batch, 3, 8, 8\].*in_chans"):
        read_batch(torch.zeros(4, 1, 8, 8), IMAGE)


def test_wrong_length_of_signal():
    """A signal of another length is refused before the backbone sees it."""
    with pytest.raises(BatchError, match=r"\[batch, 2, 16\]"):
        read_batch(torch.zeros(4, 2, 15), SIGNAL)


def test_views_of_different_batches():
    """Views of different numbers of samples are refused."""
    with pytest.raises(BatchError, match="same number of samples"):
        read_batch(([images(), images()[:2]], None), IMAGE)


def test_empty_batch():
    """A batch without samples is refused."""
    with pytest.raises(BatchError):
        read_batch(images()[:0], IMAGE)


def test_views_by_name_are_in_the_order_of_their_numbers():
    """Whatever the order of the keys, and by number: ten comes behind two."""
    views = [torch.full((4, 3, 8, 8), float(number)) for number in (10, 2, 1)]
    batch = dict(zip(("view10", "view2", "view1"), views, strict=True))
    assert [float(view.mean()) for view in read_batch(batch, IMAGE)] == [1, 2, 10]
