"""`train`: from a method's name and a source of samples to a run on disk, in one call.

The command line's ``train`` is this function behind a parser. What lives where:

- `pretrain`: `train`, the sequence of it all, and `TrainResult`
- `building`: the model for a source, with its backbone and recipe by default
- `trainer`: Lightning's Trainer, with our defaults where the user gave nothing
- `knn`: k-NN accuracy before and after, as a thermometer
"""

from __future__ import annotations

from ssl_registry.training.pretrain import TrainResult, train

__all__ = ["TrainResult", "train"]
