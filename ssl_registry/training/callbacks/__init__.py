"""Lightning callbacks of a run, one idea a file.

- `best`: `BestEpoch`, a checkpoint of the best epoch by a part of the training samples
- `broken`: `NameBroken`, images that could not be read are named in the run's folder
- `interrupt`: `SaveOnInterrupt`, Ctrl-C ends a run with a checkpoint that resumes exactly
- `guard`: `CollapseGuard`, warns of a collapse; `diagnosis` tells what its snapshots mean and the likely causes
- `divergence`: `DivergenceGuard`, tells of NaN and infinity, and keeps them out of checkpoints; `finite` finds them,
  `divergence_causes` tells the likely causes
- `pace`: `Pace`, what a run will cost, and lines on the way where output is no terminal
- `progress`: `Progress`, the bar: epochs from 1, steps, rate and loss
- `recompute`: a batch's loss a second time and its trivial value, without a trace
- `probe`: `OnlineProbe`, k-NN and a linear probe within a budget of time
- `sitting`: `Sitting`, when training begins behind a restored checkpoint, and its seconds over all sittings
- `throughput`: `Throughput`, samples a second
"""

from __future__ import annotations

from ssl_registry.training.callbacks.best import BestEpoch
from ssl_registry.training.callbacks.broken import NameBroken
from ssl_registry.training.callbacks.divergence import DivergenceGuard, weights_are_finite
from ssl_registry.training.callbacks.guard import CollapseGuard, GuardMode
from ssl_registry.training.callbacks.interrupt import SaveOnInterrupt
from ssl_registry.training.callbacks.pace import Pace
from ssl_registry.training.callbacks.probe import OnlineProbe
from ssl_registry.training.callbacks.progress import Progress
from ssl_registry.training.callbacks.sitting import Sitting
from ssl_registry.training.callbacks.throughput import Throughput

__all__ = [
    "BestEpoch",
    "CollapseGuard",
    "DivergenceGuard",
    "GuardMode",
    "NameBroken",
    "OnlineProbe",
    "Pace",
    "Progress",
    "SaveOnInterrupt",
    "Sitting",
    "Throughput",
    "weights_are_finite",
]
