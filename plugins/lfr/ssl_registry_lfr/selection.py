"""Which of the random projectors become targets: those whose views of a batch differ most."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_registry_lfr.dpp import greedy_by_rows

__all__ = ["TargetSelection", "select", "similarity_signatures"]

# Entries of the similarity matrices that are made at once (8 MiB in float64).
AT_ONCE = 1 << 20


def select(outputs: Sequence[Tensor], k: int) -> list[int]:
    """Choose the k candidates that see a batch most differently.

    The kernel is the cosine similarity of the candidates' `similarity_signatures`; `greedy_by_rows` chooses.

    Source: Sui et al., 2024, arXiv:2310.07756, and the authors' code.

    Args:
        outputs: of each candidate on the same batch, [batch, ...]; widths may differ.
        k: how many to choose, from 1 to the number of candidates.

    Returns:
        k distinct positions in ``outputs``, the most telling first.

    Raises:
        ValueError: if ``k`` is out of range, or the outputs are not finite or not of one batch.

    Example:
        >>> one, other = torch.eye(3), torch.tensor([[1.0, 0], [1, 0], [0, 1]])
        >>> select([one, 2 * one, other], 2)
        [0, 2]
    """
    signatures = similarity_signatures(outputs)
    # The kernel is signatures @ signatures.T; only the rows of what is chosen are made.
    diagonal = torch.linalg.vector_norm(signatures, dim=1).square()
    return greedy_by_rows(diagonal, lambda index: signatures @ signatures[index], k)


def similarity_signatures(outputs: Sequence[Tensor]) -> Tensor:
    """Describe each candidate by how alike it makes the samples of a batch.

    Args:
        outputs: of each of the N candidates on the same batch, [batch, ...]; widths may differ.

    Returns:
        [N, batch * batch] in float64: the cosine similarities between samples, flattened, of norm 1.

    Raises:
        ValueError: if there are no outputs, or they are not of one batch.
    """
    if not outputs:
        raise ValueError("there are no candidates to choose from; give the outputs of at least one")
    if len({len(output) for output in outputs}) != 1:
        raise ValueError(f"the outputs are of different batches: {[len(output) for output in outputs]} samples")
    batch = len(outputs[0])
    signatures = outputs[0].new_empty(len(outputs), batch * batch, dtype=torch.float64)
    rows = [output.detach().flatten(1) for output in outputs]  # [batch, features]
    for width in {row.shape[1] for row in rows}:
        alike = [number for number, row in enumerate(rows) if row.shape[1] == width]
        block = max(1, AT_ONCE // max(1, batch * max(batch, width)))
        for start in range(0, len(alike), block):
            some = alike[start : start + block]
            unit = F.normalize(torch.stack([rows[number] for number in some]).double(), dim=2)
            signatures[some] = F.normalize((unit @ unit.mT).flatten(1), dim=1)
    return signatures


class TargetSelection(nn.Module):
    """Which k of the candidates are the targets, as state of the model.

    The choice indexes modules that are never replaced, so a checkpoint has one shape before and after it.

    Args:
        k: the number of targets.

    Attributes:
        indices: the chosen candidates, long [k]; the first k until `choose`.
        chosen: whether `choose` was called, bool [].
        backbone_steps: optimizer steps that trained the backbone, long [].

    Raises:
        ValueError: if ``k`` is below 1.

    Example:
        >>> selection = TargetSelection(2)
        >>> selection.choose([5, 3])
        >>> selection.as_list()
        [5, 3]
    """

    indices: Tensor
    chosen: Tensor
    backbone_steps: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"k={k} must be at least 1")
        self.register_buffer("indices", torch.arange(k))
        self.register_buffer("chosen", torch.tensor(False))
        self.register_buffer("backbone_steps", torch.tensor(0))
        self._known: dict[str, tuple[Tensor, int, list[int]]] = {}

    def choose(self, indices: Sequence[int]) -> None:
        """Set the chosen candidates.

        Raises:
            ValueError: if they are not k distinct indices.
        """
        k = len(self.indices)
        if len(indices) != k or len(set(indices)) != k or min(indices) < 0:
            raise ValueError(f"{list(indices)} are not {k} distinct indices of candidates")
        self.indices.copy_(torch.tensor(indices))
        self.chosen.fill_(True)

    @property
    def is_chosen(self) -> bool:
        """Whether `choose` was called, in this process or before the checkpoint; waits for the device."""
        return bool(self.chosen)

    def as_list(self) -> list[int]:
        """Return the chosen candidates as integers; waits for the device only when they may have changed."""
        return self._read("indices")

    @property
    def steps(self) -> int:
        """Optimizer steps that trained the backbone; waits for the device as `as_list` does."""
        return self._read("backbone_steps")[0]

    def count_step(self) -> None:
        """Count a step that trained the backbone, without waiting for the device."""
        steps = self.steps
        self.backbone_steps += 1
        self._known["backbone_steps"] = self.backbone_steps, self.backbone_steps._version, [steps + 1]

    def _read(self, name: str) -> list[int]:
        # A buffer that was written to has a new version, and one that was moved or replaced is another
        # tensor: that covers loading, moving and DDP's broadcast alike. Inference tensors have no version.
        buffer = getattr(self, name)
        if buffer.is_inference():
            return [int(value) for value in buffer.flatten().tolist()]
        known = self._known.get(name)
        if known is None or known[0] is not buffer or known[1] != buffer._version:
            known = self._known[name] = buffer, buffer._version, buffer.flatten().tolist()
        return list(known[2])

    def extra_repr(self) -> str:
        """Show the number of targets."""
        return f"k={len(self.indices)}"
