"""The project's own methods pass their own kit."""

from __future__ import annotations

import pytest

from ssl_registry.testing import all_checks, method_checks

OPTIONS = {
    "byol": {"hidden_dim": 32, "projection_dim": 16},
    "simclr": {"projection_dim": 16},
    "lfr": {"num_candidates": 5, "num_targets": 2, "projection_dim": 16, "selection_batch_size": 16},
    "mae": {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2},
    "data2vec": {"top_layers": 2, "min_block": 2, "learning_rate": 1e-4},
    "ijepa": {"predictor_dim": 16, "predictor_depth": 1, "predictor_heads": 2},
    "simmim": {"mask_unit": 4},
}


def cases(slow):
    """Every check of every method, by both names."""
    return [
        pytest.param(*case.values, id=f"{method}-{case.id}", marks=case.marks)
        for method, options in OPTIONS.items()
        for case in method_checks(
            method, options=options, only=[name for name, check in all_checks().items() if check.slow == slow]
        )
    ]


@pytest.mark.parametrize("check", cases(slow=False))
def test_conforms(check):
    """Every check that applies."""
    check()


@pytest.mark.slow
@pytest.mark.parametrize("check", cases(slow=True))
def test_conforms_at_length(check):
    """Processes, compiling, and resuming from everywhere."""
    check()
