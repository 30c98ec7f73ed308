"""Views of tables [batch, features]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ssl_registry.views.device.numbers import to_device
from ssl_registry.views.keys import Keys, combine, stream, uniform
from ssl_registry.views.specs import TableView

__all__ = ["RowsOf", "draw_table_view"]

# The streams of what is replaced, and of the rows that replace it.
REPLACED, DONORS = range(2)


@dataclass(frozen=True)
class RowsOf:
    """Where a batch's rows come from.

    Args:
        table: all rows [N, features], on the batch's device.
        indices: which of them the batch holds, int64 [B].
    """

    table: Tensor
    indices: NDArray[np.int64]


def draw_table_view(rows: Tensor, view: TableView, keys: Keys, number: int, origin: RowsOf | None = None) -> Tensor:
    """Replace random features of each row by the same feature of other rows, never of its own.

    With the whole table this draws from each feature's marginal distribution, as SCARF does (Bahri et al., 2022,
    arXiv:2106.15147, section 3), and a row's view is a function of its key. Without it the other rows of the batch
    stand in; a batch of one row has none, and stays as it is.

    Args:
        rows: float32 [B, features].
        view: what to do.
        keys: of the samples, from `sample_keys`.
        number: of the view in its policy, copies counted.
        origin: the table that the rows come from.

    Returns:
        float32 [B, features].
    """
    table, own = (rows, np.arange(len(rows))) if origin is None else (origin.table, origin.indices)
    others, features = len(table) - 1, rows.shape[1]
    if not view.corruption or others < 1:
        return rows
    replaced = uniform(stream(combine(keys, number, REPLACED), features)) < view.corruption
    donors = (uniform(stream(combine(keys, number, DONORS), features)) * others).astype(np.int64)  # [B, features]
    donors += donors >= own[:, None]  # all rows but the own one
    return table.gather(0, to_device(donors, rows.device)).where(to_device(replaced, rows.device), rows)
