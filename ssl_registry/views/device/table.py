"""Views of tables [batch, features]."""

from __future__ import annotations

from torch import Tensor

from ssl_registry.views.device.random import Random
from ssl_registry.views.specs import TableView

__all__ = ["draw_table_view"]


def draw_table_view(rows: Tensor, view: TableView, random: Random) -> Tensor:
    """Replace random features by the same feature of another row of the batch.

    That draws from the feature's own distribution, as SCARF does (Bahri et al., 2022, arXiv:2106.15147, section 3).
    """
    if not view.corruption:
        return rows
    batch, features = rows.shape
    corrupt = random.chance(view.corruption, batch * features).view(batch, features)
    donor = (random.uniform(0, 1, (batch, features)) * batch).long().clamp(max=batch - 1)
    return rows.gather(0, donor).where(corrupt, rows)
