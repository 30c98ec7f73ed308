"""`Samples`: a data set in memory that hands out a whole batch with one index-select."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map

from ssl_registry.data.sample_set import SampleSet, content_hash

__all__ = ["Batch", "Origin", "Samples"]


class Origin(NamedTuple):
    """Where samples in memory came from.

    Attributes:
        files: that were read.
        file: of each sample, the number of its file, [N].
        row: of each sample, its number among the rows of all files, [N].
        start: of windows that were cut from recordings, the first moment of each, [N]; None of other samples.
        recording: the name of the recording of each window, [N], where a file holds several.
    """

    files: tuple[str, ...]
    file: NDArray[np.int64]
    row: NDArray[np.int64]
    start: NDArray[np.int64] | None = None
    recording: NDArray[np.str_] | None = None

    def chosen(self, rows: NDArray[Any]) -> Origin:
        """Return the origin of some of the samples, by number or mask."""
        start, recording = self.start, self.recording
        return Origin(
            self.files,
            self.file[rows],
            self.row[rows],
            None if start is None else start[rows],
            None if recording is None else recording[rows],
        )


class Batch(NamedTuple):
    """What `__getitems__` of a data set gives in its list: the samples of a whole batch, and their labels."""

    x: Tensor
    y: Tensor | None


def _unwrap(batches: list[Batch], **_: Any) -> Any:
    (batch,) = batches
    return batch.x if batch.y is None else tuple(batch)


# A loader passes the list that __getitems__ returns to its collate function, which expects one entry a
# sample. Ours has one entry a batch, and this is torch's documented place to say how that is collated. So any
# DataLoader over `Samples` (or a torch `Subset` of them) is fast, with no collate function to remember.
default_collate_fn_map[Batch] = _unwrap


class Samples(SampleSet):
    """Samples and labels in memory, the host's or a device's.

    Args:
        x: [N, *input_shape].
        y: labels [N], int64; None when there are none.
        origin: the file and row of each; None where they are of no file.

    Example:
        >>> samples = Samples(torch.arange(6).view(3, 2), torch.tensor([0, 1, 0]))
        >>> samples[1]
        (tensor([2, 3]), tensor(1))
    """

    in_memory = True

    def __init__(self, x: Tensor, y: Tensor | None = None, origin: Origin | None = None) -> None:
        if y is not None and len(x) != len(y):
            raise ValueError(f"{len(x)} samples do not go with {len(y)} labels")
        self.x = x
        self.y = y
        self.origin = origin

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        return self.x[index] if self.y is None else (self.x[index], self.y[index])

    @property
    def labels(self) -> Tensor | None:
        """Labels [N], or None."""
        return self.y

    def name(self, index: int) -> str | None:
        """Return the file that the sample was read from."""
        return None if self.origin is None else self.origin.files[int(self.origin.file[index])]

    def row(self, index: int) -> int | None:
        """Return its number among the rows of all files."""
        return None if self.origin is None else int(self.origin.row[index])

    def window(self, index: int) -> dict[str, Any]:
        """Return recording and first moment of a window."""
        found: dict[str, Any] = {}
        if self.origin is not None and self.origin.recording is not None:
            found["recording"] = str(self.origin.recording[index])
        if self.origin is not None and self.origin.start is not None:
            found["start"] = int(self.origin.start[index])
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of all samples."""
        return self.x.nbytes

    def tensors(self) -> tuple[Tensor, Tensor | None]:
        """Return samples and labels themselves."""
        return self.x, self.y

    def holds_bytes(self) -> bool:
        """Whether samples are uint8."""
        return self.x.dtype == torch.uint8

    def fingerprint(self) -> str:
        """Return a hash of all samples and labels."""
        return content_hash([self.x, self.y])

    def __getitems__(self, indices: list[int]) -> list[Batch]:
        """Return one entry that holds the samples of all ``indices``."""
        rows = torch.as_tensor(indices, dtype=torch.int64).to(self.x.device)
        return [Batch(self.x.index_select(0, rows), None if self.y is None else self.y.index_select(0, rows))]
