"""`train`: from a method's name and a source of samples to a run on disk, in one call.

The command line's ``train`` is this function behind a parser. What lives where:

- `pretrain`: `train`, the sequence of it all, and `TrainResult`
- `building`: the model for a source, with its backbone and recipe by default
- `trainer`: Lightning's Trainer, with our defaults where the user gave nothing
- `memory`: what a step frees, kept for the next one on a CPU
- `loggers`: where its figures go, by name; `workers`: how many processes load
- `watching`: what looks at a run while it trains, and the probe before and after
- `record`: where options of a call came from
"""

from __future__ import annotations

from ssl_registry.training.pretrain import TrainResult, train

__all__ = ["TrainResult", "train"]
