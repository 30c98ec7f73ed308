"""Going on with labels: `finetune`.

- `run`: the sequence of it all
- `module`: `FineTuning`, with its rates and frozen layers; a backbone's layers in order
- `few_labels`: which samples keep their label
"""

from __future__ import annotations

from ssl_registry.workflows.finetune.module import FineTuning
from ssl_registry.workflows.finetune.run import finetune

__all__ = ["FineTuning", "finetune"]
