"""Which of the random projectors become targets: those whose views of a batch differ most."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["TargetSelection", "greedy_dpp", "select", "similarity_signatures"]

# Gains that differ by less than this share of the kernel's largest entry on the diagonal are equal.
TOLERANCE = 1e-9
NOT_FINITE = "the kernel has entries that are not finite; look for NaN in the candidates' outputs"
# Entries of the similarity matrices that are made at once (8 MiB in float64).
AT_ONCE = 1 << 20


def select(outputs: Sequence[Tensor], k: int) -> list[int]:
    """Choose the k candidates that see a batch most differently.

    The kernel is the cosine similarity of the candidates' `similarity_signatures`; `greedy_dpp` chooses.

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
    return _greedy(
        torch.linalg.vector_norm(signatures, dim=1).square(), lambda index: signatures @ signatures[index], k
    )


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


def greedy_dpp(kernel: Tensor, k: int) -> list[int]:
    """Choose k items whose submatrix of ``kernel`` has a large determinant, one by one.

    Each step takes the item that multiplies the determinant most. The gain of every item is kept up to date
    by one row of an incremental Cholesky factor, so all k steps cost O(N k^2), in float64.

    Of equal gains (within 1e-9 of the kernel's largest diagonal entry) the first item is taken. When no gain
    is left, because the kernel's rank is below k, the first of the remaining items are taken: there are
    always k.

    Source: Chen et al., 2018, "Fast Greedy MAP Inference for Determinantal Point Process to Improve
    Recommendation Diversity", arXiv:1709.05135, algorithm 1.

    Args:
        kernel: symmetric and positive semi-definite, [N, N].
        k: how many to choose, from 1 to N.

    Returns:
        k distinct indices, in the order of choice.

    Raises:
        ValueError: if ``k`` is out of range, or the kernel is not square or not finite.

    Example:
        >>> greedy_dpp(torch.tensor([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]]), 2)
        [0, 2]
    """
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"the kernel must be square, and has shape {list(kernel.shape)}")
    matrix = kernel.detach().to("cpu", torch.float64)
    if not matrix.isfinite().all():
        raise ValueError(NOT_FINITE)
    return _greedy(matrix.diagonal(), matrix.__getitem__, k)


def _greedy(diagonal: Tensor, row: Callable[[int], Tensor], k: int) -> list[int]:
    """Do what `greedy_dpp` says, of a kernel given by its diagonal and, when it is asked for, a row."""
    if not 1 <= k <= len(diagonal):
        raise ValueError(f"{k} of {len(diagonal)} candidates cannot be chosen; k must be from 1 to {len(diagonal)}")
    if not diagonal.isfinite().all():
        raise ValueError(NOT_FINITE)
    gains = diagonal.cpu().clone()  # d_i^2 of the paper
    factor = gains.new_zeros(k, len(gains))  # row step holds entry step of every c_i of the paper
    tolerance = TOLERANCE * float(gains.abs().max())
    chosen: list[int] = []
    for step in range(k):
        # The first within the tolerance of the best; an item that is chosen has gain -inf.
        best = int((gains >= gains.max() - tolerance).nonzero()[0])
        gain = float(gains[best])
        gains[best] = -torch.inf
        chosen.append(best)
        # A gain this small is rounding; dividing by its root would blow it up into the other gains.
        if gain > tolerance:
            factor[step] = (row(best).cpu() - factor[:step, best] @ factor[:step]) / gain**0.5
            gains -= factor[step].square()
    return chosen


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
        self._known: tuple[Tensor, int, list[int]] | None = None

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
        # A buffer that was written to has a new version, and one that was moved or replaced is another
        # tensor: that covers loading, moving and DDP's broadcast alike. Inference tensors have no version.
        if self.indices.is_inference():
            return [int(index) for index in self.indices.tolist()]
        version = self.indices._version
        if self._known is None or self._known[0] is not self.indices or self._known[1] != version:
            self._known = self.indices, version, self.indices.tolist()
        return list(self._known[2])

    def extra_repr(self) -> str:
        """Show the number of targets."""
        return f"k={len(self.indices)}"
