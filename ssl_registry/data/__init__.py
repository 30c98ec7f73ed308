"""Where samples come from, and how they reach a trainer.

What lives where:

- `source`: `Source`, what a data set is to the rest of the project. `opening`: `open_source`, which makes one
  from what a user writes.
- One file for each origin: `digits` (built in), `arrays` (``.npz``, ``.npy``, ``.pt``; `csv_files`), `folder`
  (`image_files`), `shards` (`shard_index`, `shard_images`, `shard_order`), `parquet` and `hugging_face` (both
  through `arrow`), `torchvision_sets` (data sets by name; `torchvision_files`).
- What arrays share: `memory` (arrays in memory become a `Source`), `samples` (their data set), `shapes`
  (which array is an image, a signal, a table), `labels` (classes and the hold-out), `statistics`.
- What images share: `encoded` (the data set that decodes on request, and broken ones), `images` (decode and
  resize), `pixels` (channels and depth), `probing` (those of a set), `files` (look through a folder).
- Faster: `cache` (decoded once, mapped from the disk), `device_cache` (kept on the device).
- `loader`: batches in an order that is a pure function of seed, epoch, rank and world size, and that a
  checkpoint can continue in the middle of an epoch. `resume`: what Lightning's loops need for that.
- `datamodule`: `SSLDataModule`, a source for Lightning's Trainer.
"""

from __future__ import annotations

from ssl_registry.data.images.cache import cache_source
from ssl_registry.data.images.encoded import broken_samples
from ssl_registry.data.loading.datamodule import SSLDataModule
from ssl_registry.data.open import open_source
from ssl_registry.data.source import Source

__all__ = ["SSLDataModule", "Source", "broken_samples", "cache_source", "open_source"]
