"""How a run's checkpoints get to the disk, whole or not at all, and back, without running code from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from ssl_registry._system.archives import check_archive
from ssl_registry._system.atomic import replacing
from ssl_registry._system.meant import what_was_meant
from ssl_registry._system.terminal import one_line
from ssl_registry.checkpoint.record import RECORD_KEY, Record, read_record
from ssl_registry.errors import CheckpointError

__all__ = [
    "AtomicCheckpointIO",
    "Checkpoint",
    "checkpoint_of",
    "find_checkpoint",
    "load_plain",
    "read_checkpoint",
]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's plugin for checkpoints, with an atomic write and a reading that runs no code.

    Lightning's own writes to the system's temporary folder and moves the file. Where that is another file system,
    as on most clusters, the move is a copy: killed in its midst, or on a full disk, it leaves half a checkpoint in
    the place of the last whole one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: tensors and plain values.
            path: where it goes, on a local file system.
            storage_options: not supported, as in Lightning's own.

        Raises:
            CheckpointError: if it cannot be written; the file that was there before is whole.
        """
        if storage_options is not None:
            raise TypeError("storage_options are for remote file systems; a run's checkpoints are local files")
        path = Path(path)
        for left in path.parent.glob(f"{path.name}.*.part"):  # of a process that was killed while it wrote
            left.unlink(missing_ok=True)
        try:
            with replacing(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            reason = _system_error(error)
            if reason is None:
                raise
            kept = "; the one before it is whole" if path.exists() else ""
            raise CheckpointError(
                f"cannot write the checkpoint {path}: {reason.strerror}{kept}. Make room or choose another --out, "
                "and go on with --resume"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        """Load a checkpoint; whatever ``weights_only`` says, no code of it is run.

        Raises:
            CheckpointError: if it is damaged or holds code.
        """
        checkpoint: dict[str, Any] = load_plain(Path(path), map_location)
        return checkpoint


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the system's error behind one of torch's writer, which raises another one while it closes the file."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of this project, read and checked.

    Args:
        file: that it was read from.
        record: of its origin.
        state_dict: of the model, every tensor on the CPU.
    """

    file: Path
    record: Record
    state_dict: dict[str, Tensor]


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint that a path means: itself, or the last one of a run's folder.

    Raises:
        CheckpointError: if there is none.
    """
    try:
        if path.is_file():
            if meant := what_was_meant(path):
                raise CheckpointError(f"{path} is no checkpoint{meant}")
            return path
        last = path / "checkpoints" / "last.ckpt"
        if last.is_file():
            return last
        what = "holds no checkpoints/last.ckpt" if path.is_dir() else "does not exist"
        what = "is no regular file" if path.exists() and not path.is_dir() else what
    except OSError as error:  # a name of 300 letters, a folder that may not be entered
        what = f"cannot be read: {error.strerror}"
    raise CheckpointError(f"{path} {what}; give a checkpoint file or a run's folder{what_was_meant(path)}")


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without running code from it.

    Args:
        path: a file, or a run's folder.

    Raises:
        CheckpointError: if the file is missing or damaged, holds anything but tensors and plain values, or was not
            written by this project.
    """
    file = find_checkpoint(path)
    return checkpoint_of(file, load_plain(file, map_location="cpu"))


def checkpoint_of(file: Path, content: Any) -> Checkpoint:
    """Return what was read from a file as a checkpoint of this project.

    Raises:
        CheckpointError: if it is damaged, or was not written by this project.
    """
    if not isinstance(content, dict) or RECORD_KEY not in content or "state_dict" not in content:
        raise CheckpointError(f"{file} was not written by ssl-registry: it has no record of its method")
    state = content["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise CheckpointError(f"{file} is damaged: its state_dict does not hold tensors by name; use another one")
    try:
        return Checkpoint(file, read_record(content), dict(state))
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {one_line(error)}") from None


def load_plain(file: Path, map_location: Any) -> Any:
    """Load tensors and plain values from a file, and nothing else: no code of it is run.

    Args:
        file: that `torch.save` wrote.
        map_location: as `torch.load` takes it.

    Raises:
        CheckpointError: if the file is missing, damaged in any byte that counts, or holds anything else.
    """
    try:
        check_archive(file)
        return torch.load(file, map_location=map_location, weights_only=True)
    except Exception as error:  # zipfile, pickle and torch raise nearly anything for a file that is damaged
        reason = one_line(str(error).partition("\n")[0])[:300]
        raise CheckpointError(
            f"{file} cannot be read as a checkpoint; it is damaged, or holds code, which is refused ({reason})"
        ) from error
