"""Where samples come from, and how they reach a trainer.

What lives where:

- `source`: `Source`, what a data set is to the rest of the project, and `open_source`, which makes one
  from what a user writes.
- One file for each origin: `digits` (built in), `arrays` (``.npz``, ``.npy``, ``.pt``), `folder` (image
  files), `torchvision_sets` (data sets by name).
- What they share: `memory` (arrays in memory become a `Source`), `shapes` (which array is an image, a
  signal, a table), `labels` (classes and the hold-out), `statistics` (mean and std), `images` (decode and
  resize), `files` (look through a folder), `samples` (the in-memory data set).
- `loader`: batches in an order that is a pure function of seed, epoch, rank and world size, and that a
  checkpoint can continue in the middle of an epoch. `resume`: what Lightning's loops need for that.
- `datamodule`: `SSLDataModule`, a source for Lightning's Trainer.
"""

from __future__ import annotations

from ssl_registry.data.datamodule import SSLDataModule
from ssl_registry.data.source import Source, open_source

__all__ = ["SSLDataModule", "Source", "open_source"]
