"""A run: the folder that one training wrote, with its configuration, metrics, checkpoints and results."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ssl_registry._system.atomic import given_path, write_beside
from ssl_registry._system.locking import lock_folder
from ssl_registry._system.yaml_files import flatten, to_yaml
from ssl_registry._version import __version__
from ssl_registry.errors import CheckpointError, ConfigError, RunError
from ssl_registry.run_options import MAY_CHANGE
from ssl_registry.runs.contents import RunResults, RunSettings, read_provenance, read_results, read_settings

if TYPE_CHECKING:
    from ssl_registry.model.module import SSLModule

__all__ = ["Run", "plain_values"]

SETTINGS = "config.yaml"
ORIGINS = "origins.json"
# All that a run writes: where these were not written by one, they stay.
WRITTEN = (
    *(SETTINGS, ORIGINS, "results.json", "report.html", "evaluations.jsonl", "broken.txt"),
    *("checkpoints", "metrics", "tensorboard"),
)
# What a full, read-only or vanished disk answers.
DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO, errno.ESTALE),
    *(errno.ENOENT, errno.ENOTDIR),
}


class Run:
    """Where a training writes.

    ``config.yaml`` and where its values came from (``origins.json``), ``metrics/``, ``checkpoints/last.ckpt``,
    ``results.json``; and ``broken.txt`` where images could not be read.

    Args:
        folder: of the run; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = folder / SETTINGS
        self.results = folder / "results.json"
        self.checkpoints = folder / "checkpoints"
        self.last_checkpoint = self.checkpoints / "last.ckpt"
        self.broken = folder / "broken.txt"

    @classmethod
    def choose(cls, out: str | Path | None, method: str, backbone: str) -> Run:
        """Return the run in ``out``, or in ``runs/METHOD-BACKBONE`` with a number where that is taken."""
        if out is not None:
            return cls(given_path(out))
        # A method's name may hold anything that metadata can; a folder's may not lead elsewhere.
        stem = re.sub(r"[^\w.-]+", "_", f"{method.rpartition(':')[2]}-{Path(backbone.rpartition(':')[2]).stem}")
        stem = stem.lstrip(".-")
        folder, number = Path("runs") / stem, 1
        while folder.exists():
            number += 1
            folder = Path("runs") / f"{stem}-{number}"
        return cls(folder)

    @property
    def has_begun(self) -> bool:
        """Whether a training began here, even if it was stopped before its first checkpoint."""
        return self.last_checkpoint.is_file() or self.settings.is_file()

    @contextmanager
    def claim(self, *, resume: bool) -> Iterator[None]:
        """Hold the folder for this process alone while the block runs; whatever is refused leaves no trace.

        Args:
            resume: go on with the run in it, rather than begin one.

        Raises:
            ConfigError: if it holds a run already, another process is writing it, or it cannot be written.
            CheckpointError: if there is no run to go on with.
        """
        check = self.check_resumable if resume else self.check_free
        check()
        with lock_folder(self.folder):
            check()  # another process may have been faster
            try:
                yield
            except OSError as error:
                # With a name it is about that file: a sample that cannot be read is not the run's.
                elsewhere = error.filename and not Path(error.filename).absolute().is_relative_to(
                    self.folder.absolute()
                )
                if error.errno not in DISK_ERRORS or elsewhere:
                    raise
                if not self.folder.is_dir():
                    raise RunError(f"the folder of the run, {self.folder}, is gone: it was moved or deleted") from error
                raise RunError(
                    f"cannot write the run {self.folder}: {error.strerror}; its last checkpoint is whole. Make room "
                    "or choose another --out, and go on with --resume"
                ) from error

    def check_free(self) -> None:
        """Refuse a folder that holds a run already, or files of others that a run would replace.

        Raises:
            ConfigError: saying how to go on.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder} is a file; --out takes a folder")
        if self.last_checkpoint.exists():
            raise ConfigError(
                f"{self.folder} holds a run already; add --resume to go on with it, or give another --out"
            )
        # A training that was stopped before its first checkpoint may begin again; what it wrote tells of its origin.
        foreign = [] if self.is_ours else [name for name in WRITTEN if os.path.lexists(self.folder / name)]
        if foreign:
            raise ConfigError(
                f"{self.folder} holds {foreign[0]}, which no run wrote and a run would replace; give another --out"
            )

    @property
    def is_ours(self) -> bool:
        """Whether a training wrote the folder's configuration: it records where each value came from."""
        try:
            return "method" in self.provenance()
        except ConfigError:
            return False

    def check_resumable(self) -> None:
        """Refuse a folder without a run; one that was killed before its first checkpoint begins anew.

        Raises:
            CheckpointError: saying so.
        """
        if not self.has_begun:
            raise CheckpointError(f"{self.folder} has no checkpoint to resume from; leave --resume out to start anew")

    def check_same(self, settings: Mapping[str, Any]) -> None:
        """Refuse to go on with other options than the run began with, but for those that may change.

        Args:
            settings: that the run would go on with.

        Raises:
            ConfigError: naming the first of them.
        """
        began = read_settings(self.settings).values if self.settings.is_file() else {}
        for option in sorted(began.keys() & settings.keys() - MAY_CHANGE):
            if began[option] != settings[option]:
                raise ConfigError(
                    f"the run in {self.folder} began with {option}={began[option]!r} and would go on with "
                    f"{settings[option]!r}; leave it as it was, or begin another run"
                )

    def write_settings(self, settings: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> None:
        """Write ``config.yaml``, which ``train --config`` repeats, and where its values came from, if that is known."""
        if origins is not None:
            # First, since a folder with a configuration alone is not known for a run's.
            known = {option: origins.get(option, "default") for option, _ in flatten(settings)}
            write_beside(self.folder / ORIGINS, json.dumps(known, indent=2))
        write_beside(self.settings, to_yaml(settings))

    def read_settings(self) -> RunSettings:
        """Read ``config.yaml``.

        Raises:
            ConfigError: if it cannot be read, or is damaged.
        """
        return read_settings(self.settings)

    def read_results(self) -> RunResults:
        """Read ``results.json``; empty while the run has not ended.

        Raises:
            ConfigError: if it cannot be read, or is damaged.
        """
        return read_results(self.results)

    def provenance(self) -> dict[str, str]:
        """Return where the values of ``config.yaml`` came from, as far as that was recorded.

        Raises:
            ConfigError: if the record of it cannot be read, or is damaged.
        """
        return read_provenance(self.folder / ORIGINS)

    def write_results(self, results: Mapping[str, Any], model: SSLModule) -> None:
        """Write ``results.json``: figures, the versions of what matters, and the command."""
        facts = {**results, "versions": _versions(model), "command": sys.argv}
        write_beside(self.results, json.dumps(facts, indent=2))


def plain_values(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that are given and that a file can hold: no callbacks and the like."""
    found = {}
    for key, value in arguments.items():
        with suppress(yaml.representer.RepresenterError):
            yaml.safe_dump(value)
            found[key] = value
    return {key: value for key, value in found.items() if value is not None}


def _versions(model: SSLModule) -> dict[str, str]:
    import lightning
    import timm
    import torch

    return {
        "ssl-registry": __version__,
        model.info.distribution or model.info.name: model.info.version,
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "timm": timm.__version__,
        "python": platform.python_version(),
    }
