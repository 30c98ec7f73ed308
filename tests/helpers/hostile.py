"""Files that somebody wrote to make a reader run code, fetch something, fill the memory, hang or fail.

Each entry takes a run's folder, changes it, and names the verbs that must refuse it. What they would do leaves a file
called ``canary``.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml

EVIL = "open('canary', 'w').write('code ran')\nclass Net:\n    pass\nclass Evil:\n    pass\n"
# What a terminal would act on: clear the screen, the other direction of writing, a bell.
STEERING = "a\x1b[2J\u202eb\x07[/red]"
READS_CHECKPOINT = frozenset(
    {"load", "create", "evaluate", "finetune", "embed", "export", "train --from", "train --resume"}
)
BUILDS_FROM_RECORD = READS_CHECKPOINT - {"create", "train --from", "train --resume"}
READS_DATA = frozenset({"evaluate", "finetune", "embed", "train --resume", "train --config"})
READS_SETTINGS = READS_DATA | {"export", "explain", "report"}


def nested(levels: int) -> Any:
    """Return few lists that stand for two to the power of ``levels`` values."""
    value: Any = "x"
    for _ in range(levels):
        value = [value, value]
    return value


def in_record(**changes: Any) -> Callable[[Path], None]:
    """Change the record of a run's checkpoint; ``backbone__name`` is a field of the backbone."""

    def change(run: Path) -> None:
        path = run / "checkpoints/last.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        record = checkpoint["ssl_registry"]
        for key, value in changes.items():
            place, _, name = key.rpartition("__")
            (record[place] if place else record)[name] = value
        torch.save(checkpoint, path)

    return change


def in_checkpoint(**changes: Any) -> Callable[[Path], None]:
    """Change entries of a run's checkpoint."""

    def change(run: Path) -> None:
        path = run / "checkpoints/last.ckpt"
        torch.save(torch.load(path, weights_only=True) | changes, path)

    return change


def in_settings(**changes: Any) -> Callable[[Path], None]:
    """Change options in a run's configuration."""

    def change(run: Path) -> None:
        path = run / "config.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))

    return change


def as_settings(text: str) -> Callable[[Path], None]:
    """Put a text behind a run's configuration."""

    def change(run: Path) -> None:
        path = run / "config.yaml"
        path.write_text(f"{path.read_text()}\n{text}")

    return change


def content_of(name: str, text: str) -> Callable[[Path], None]:
    """Put a text in the place of a file of the run."""

    def change(run: Path) -> None:
        (run / name).write_text(text)

    return change


class Exploit:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (exec, (EVIL,))


def exploit(run: Path) -> None:
    """A checkpoint with code in it, as `torch.save` writes it."""
    torch.save({"state_dict": Exploit(), "ssl_registry": {}}, run / "checkpoints/last.ckpt")


def bare_pickle(run: Path) -> None:
    """A checkpoint that is a pickle alone."""
    (run / "checkpoints/last.ckpt").write_bytes(pickle.dumps(Exploit(), protocol=2))


@cache
def inflated_archive() -> bytes:
    """An archive of less than a megabyte that becomes 640."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x/data/0", "w", force_zip64=True) as entry:
            for _ in range(640):
                entry.write(bytes(2**20))
        archive.writestr("x/data.pkl", b"\x80\x02}.")
    return stream.getvalue()


def inflated(run: Path) -> None:
    """A checkpoint that fills the memory when it is unpacked."""
    (run / "checkpoints/last.ckpt").write_bytes(inflated_archive())


def wide_tensor(run: Path) -> None:
    """Weights of one number that are said to be a matrix of ten billion."""
    in_checkpoint(state_dict={"backbone.conv1.weight": torch.zeros(1).expand(100_000, 100_000)})(run)


def pipe(name: str) -> Callable[[Path], None]:
    """A pipe in the place of a file: who reads it waits for ever."""

    def change(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).parent.mkdir(exist_ok=True, parents=True)
        os.mkfifo(run / name)

    return change


def endless(name: str) -> Callable[[Path], None]:
    """A file of 64 GB without a byte on the disk."""

    def change(run: Path) -> None:
        with (run / name).open("wb") as file:
            file.truncate(2**36)

    return change


def own_recipe(run: Path) -> None:
    """A configuration that names a recipe beside it, which names a network to run."""
    recipe = run / "recipe.yaml"
    recipe.write_text("settings:\n  - source: x\n    backbone: evil.py:Net\n")
    in_settings(recipe=str(recipe))(run)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings.pop("backbone")
    (run / "config.yaml").write_text(yaml.safe_dump(settings))


def laughs(inner: str, outer: str) -> str:
    """Aliases of aliases, each nine of the one before."""
    lines, before = [f"l0: &l0 {inner}"], "l0"
    for level in range(1, 12):
        lines.append(f"l{level}: &l{level} " + outer.format(", ".join([f"*{before}"] * 9)))
        before = f"l{level}"
    return "\n".join(lines)


# Name: (what is changed, verbs that must refuse).
RUNS: dict[str, tuple[Callable[[Path], None], frozenset[str]]] = {
    "record: python file": (in_record(backbone__name="evil.py:Net"), BUILDS_FROM_RECORD | {"train --from"}),
    "record: hub": (in_record(backbone__name="hf-hub:evil/evil"), BUILDS_FROM_RECORD | {"train --from"}),
    "record: local dir": (in_record(backbone__name="local-dir:."), BUILDS_FROM_RECORD | {"train --from"}),
    "record: pickled weights": (
        in_record(backbone__kwargs={"checkpoint_path": "evil.pth"}),
        BUILDS_FROM_RECORD | {"train --from"},
    ),
    "record: code as a name": (
        in_record(backbone__kwargs={"x=open('canary','w'),y": None}),
        READS_CHECKPOINT,
    ),
    "record: fetched weights": (in_record(config={"pretrained": True}), BUILDS_FROM_RECORD),
    "record: weights elsewhere": (in_record(config={"weights": "evil.pth"}), BUILDS_FROM_RECORD),
    "record: module for a method": (in_record(method="evil_module:Evil", distribution=None), BUILDS_FROM_RECORD),
    "record: option of pip": (in_record(distribution="--index-url=http://localhost"), READS_CHECKPOINT),
    "record: steering names": (in_record(method=STEERING, version=STEERING), BUILDS_FROM_RECORD),
    "record: steering class": (in_record(backbone__name=None, backbone__class_name=STEERING), BUILDS_FROM_RECORD),
    "record: endless options": (in_record(config={"bomb": nested(64)}), READS_CHECKPOINT),
    "record: a trillion parameters": (in_record(config={"projection_dim": 10**12}), BUILDS_FROM_RECORD),
    "record: a large sample": (in_record(backbone__input_shape=[1, 10**6, 10**6]), READS_CHECKPOINT),
    "record: views without end": (in_record(view_policy={"views": [{"copies": 10**9}]}), READS_CHECKPOINT),
    "checkpoint: code": (exploit, READS_CHECKPOINT),
    "checkpoint: pickle": (bare_pickle, READS_CHECKPOINT),
    "checkpoint: inflated": (inflated, READS_CHECKPOINT),
    "checkpoint: wide tensor": (wide_tensor, READS_CHECKPOINT),
    "checkpoint: no tensors": (in_checkpoint(state_dict={"x": nested(40)}), READS_CHECKPOINT),
    "checkpoint: pipe": (pipe("checkpoints/last.ckpt"), READS_CHECKPOINT - {"train --resume"}),
    "settings: python file": (
        in_settings(backbone="evil.py:Net"),
        READS_DATA | {"export"},
    ),
    "settings: python file that trusts itself": (
        in_settings(backbone="evil.py:Net", trust=True),
        READS_DATA | {"export"},
    ),
    "settings: command": (in_settings(data="pipe:touch canary"), READS_DATA),
    "settings: address": (in_settings(data="http://127.0.0.1:9/{0..9}.tar"), READS_DATA),
    "settings: address behind a kind": (in_settings(data="shards:pipe:touch canary"), READS_DATA),
    "settings: pickled weights": (
        in_settings(backbone_kwargs={"pretrained_cfg_overlay": {"file": "evil.pth"}}),
        frozenset({"train --resume", "train --config"}),
    ),
    "settings: fetched weights": (in_settings(pretrained=True), frozenset({"train --config"})),
    "settings: server": (in_settings(logger="wandb"), frozenset({"train --resume", "train --config"})),
    "settings: class": (
        in_settings(trainer={"strategy": {"class_path": "evil_module.Evil"}}),
        frozenset({"train --resume", "train --config"}),
    ),
    "settings: class by name": (
        in_settings(trainer={"logger": "evil_module.Evil"}),
        frozenset({"train --resume", "train --config"}),
    ),
    "settings: file of the trainer": (
        in_settings(trainer="trainer.yaml"),
        frozenset({"train --resume", "train --config"}),
    ),
    "settings: another configuration": (
        in_settings(config="evil.yaml"),
        frozenset({"train --resume", "train --config"}),
    ),
    "settings: own recipe": (own_recipe, frozenset({"train --resume", "train --config"})),
    "settings: laughs": (as_settings(laughs("[x, x]", "[{}]")), READS_SETTINGS),
    "settings: merged laughs": (as_settings(laughs("{a: b}", "{{<<: [{}]}}")), READS_SETTINGS),
    "settings: depth": (as_settings("deep: " + "[" * 100_000), READS_SETTINGS),
    "settings: itself": (as_settings("a: &a [*a]"), READS_SETTINGS),
    "settings: python tag": (as_settings("a: !!python/object/apply:os.system ['touch canary']"), READS_SETTINGS),
    "settings: steering": (in_settings(**{"data_root": STEERING, f"x{STEERING}": STEERING}), frozenset()),
    "settings: other types": (in_settings(seed="x", data=[1], backbone={"a": 1}), READS_SETTINGS),
    "settings: a large image": (in_settings(image_size=10**9), READS_SETTINGS),
    "settings: large digits": (in_settings(image_size=2**14), frozenset({"train --resume", "train --config"})),
    "settings: a million workers": (in_settings(workers=10**6), READS_SETTINGS),
    "settings: pipe": (pipe("config.yaml"), READS_SETTINGS),
    "settings: endless": (endless("config.yaml"), READS_SETTINGS),
    "results: other types": (
        content_of("results.json", '{"steps": "x", "knn": [], "versions": 3}'),
        frozenset({"report"}),
    ),
    "results: steering": (
        content_of("results.json", json.dumps({"guard": STEERING, "command": [STEERING, "train"]})),
        frozenset(),
    ),
    "results: depth": (content_of("results.json", "[" * 200_000), frozenset({"report"})),
    "metrics: pipe": (pipe("metrics/version_9/metrics.csv"), frozenset({"report"})),
    "metrics: odd rows": (
        content_of("metrics/version_0/metrics.csv", 'step,a\n1,2,3,4\n"' + "x" * 200_000),
        frozenset({"report"}),
    ),
}  # fmt: skip


def tar(path: Path, members: dict[str, bytes], *, mode: str = "w") -> None:
    """Write members into a tar file."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # one of several literals
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def long_name(path: Path) -> None:
    """A compressed tar file with a name of a gigabyte."""
    import gzip

    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**30
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.tobuf())
        for _ in range(1024):
            file.write(b"x" * 2**20)
