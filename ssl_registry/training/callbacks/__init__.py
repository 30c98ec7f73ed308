"""Lightning callbacks of a run, one idea a file.

- `best`: `BestEpoch`, a checkpoint of the best epoch by a part of the training samples
- `broken`: `NameBroken`, images that could not be read are named in the run's folder
- `interrupt`: `SaveOnInterrupt`, Ctrl-C ends a run with a checkpoint that resumes exactly
- `guard`: `CollapseGuard`, warns of a collapse; with `looks` (what it sees and how it judges), `blind` (the trivial
  value of a loss) and `causes` (why it may be)
- `probe`: `OnlineProbe`, k-NN and a linear probe within a budget of time
- `strategies`: what a callback may do under which of Lightning's strategies
- `throughput`: `Throughput`, samples a second
"""

from __future__ import annotations

from ssl_registry.training.callbacks.best import BestEpoch
from ssl_registry.training.callbacks.broken import NameBroken
from ssl_registry.training.callbacks.guard import CollapseGuard, GuardMode
from ssl_registry.training.callbacks.interrupt import SaveOnInterrupt
from ssl_registry.training.callbacks.probe import OnlineProbe
from ssl_registry.training.callbacks.throughput import Throughput

__all__ = ["BestEpoch", "CollapseGuard", "GuardMode", "NameBroken", "OnlineProbe", "SaveOnInterrupt", "Throughput"]
