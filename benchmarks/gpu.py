"""A GPU in twelve minutes: images a second, share of the matrix-product ceiling, data wait and memory, beside lightly.

    python benchmarks/gpu.py --json runs/gpu.json                # a GPU; stops starting cells after 11 minutes
    python benchmarks/gpu.py --device cpu --tiny --json x.json   # a minute on a CPU: shows that all of it runs

ResNet-50 and ViT-S/16 at 224 pixels in bf16, with BYOL, SimCLR, Barlow Twins, DINO and MAE (which needs patches, so on
the ViT alone). A cell is a method on a network, whose contenders take turns in one process, from equal weights, on
equal ready-made views, all with AdamW; or trainings from JPEG files, through each side's own loader and the same
Trainer, one after the other. Cells come in the order of their worth, and the JSON is written after each, so a run that
is cut off keeps what it has.

Images a second count samples, each of which has all of its views. The ceiling is a product of square matrices in bf16,
measured at the start; the operations of a step are counted by torch (products, convolutions, attention). Memory is the
peak of a step with weights and optimizer. lightly is the published package (extra `bench`), eager as in its examples.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import shlex
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from gpu_contenders import (
    Scale,
    Step,
    ceiling,
    count_flops,
    create,
    draw,
    lightly,
    now,
    ours,
    train_lightly,
    train_ours,
    write_array,
    write_photographs,
)
from harness import machine

RESNET, VIT = "resnet50", "vit_small_patch16_224"
OURS, COMPILED, LIGHTLY = "ours", "ours, compiled", "lightly"
SPLIT, HOST = "ours, colors on the device", "ours, views on the host"
DEVICE = "ours, all on the device"  # decoded images too, as `--cache` keeps them
ENGINES = {SPLIT: "split", HOST: "host", DEVICE: "device"}
# What stable-pretraining publishes of Barlow Twins, ViT-S/16, batch 256, on one H200.
PUBLISHED = {("barlow-twins", VIT): 871.0}
ABOUT = {"steps": 30.0, "compiled": 75.0, "files": 95.0}  # seconds that a cell may take, to fit the last ones in


@dataclass(frozen=True)
class Cell:
    """What is measured together.

    Args:
        kind: ``steps`` on ready-made views, the same ``compiled``, or trainings on ``files``.
        method, backbone: of the model.
        contenders: who takes part.
    """

    kind: str
    method: str
    backbone: str
    contenders: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is, in a line."""
        return f"{self.method}, {self.backbone}, {self.kind}"


@dataclass(frozen=True)
class Row:
    """What was found of a contender.

    Args:
        cell, method, backbone, who: whose it is.
        batch: samples a step.
        rate: samples a second, the median over rounds.
        low, high: its quartiles; of files, which are read in one go, the same.
        times_ours: how many times as long as the cell's first contender it takes: above 1 that one is faster.
        tflops: operations a second, in 10^12.
        share: of the ceiling.
        data_wait: share of the time in which the loop waited for a batch.
        peak: memory in MiB; None on a CPU.
        loss: of the first step.
        published: what stable-pretraining publishes of this setting, in samples a second.
        error: what went wrong, in place of all these.
    """

    cell: str
    method: str
    backbone: str
    who: str
    batch: int
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    times_ours: float | None = None
    tflops: float | None = None
    share: float | None = None
    data_wait: float | None = None
    peak: float | None = None
    loss: float | None = None
    published: float | None = None
    error: str | None = None


def cells() -> list[Cell]:
    """Return all cells, those that are worth most first."""
    first = [("byol", RESNET), ("mae", VIT), ("dino", VIT), ("simclr", RESNET)]
    rest = [("simclr", VIT), ("barlow-twins", RESNET), ("dino", RESNET), ("byol", VIT)]
    return [
        Cell("compiled", "barlow-twins", VIT, (OURS, COMPILED, LIGHTLY)),
        Cell("files", "barlow-twins", VIT, (SPLIT, HOST, DEVICE, LIGHTLY)),
        *(Cell("compiled", *what, (OURS, COMPILED, LIGHTLY)) for what in first),
        *(Cell("steps", *what, (OURS, LIGHTLY)) for what in rest),
        Cell("files", "byol", RESNET, (SPLIT, HOST, DEVICE, LIGHTLY)),
        *(Cell("compiled", *what, (OURS, COMPILED)) for what in rest),
    ]


def allocated(device: str, *, peak: bool = False) -> float:
    """Return memory that tensors take on the device, or the most they took since it was reset, in bytes."""
    if not device.startswith("cuda"):
        return 0.0
    return float(torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated())


def prepare(who: str, cell: Cell, scale: Scale) -> tuple[Step, dict[str, float]]:
    """Build a contender's step and let it warm up; return it with what one step takes."""
    before = allocated(scale.device)
    torch.manual_seed(0)
    model = create(cell.method, cell.backbone, scale)
    views = draw(model, scale)
    step = lightly(model, views) if who == LIGHTLY else ours(model, views)
    if who == LIGHTLY:
        del model  # it has copies
    facts = {"loss": float(step())}
    facts["flops"] = count_flops(step)  # of the eager step: what is compiled does the same
    if who == COMPILED:
        model.compile_networks()
    for _ in range(3):
        step()
    if scale.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    began = now(scale.device)
    step()
    facts["seconds"] = now(scale.device) - began
    if scale.device.startswith("cuda"):
        facts["peak"] = (allocated(scale.device, peak=True) - before) / 2**20
    return step, facts


def measure_steps(cell: Cell, scale: Scale, rounds: int, turn: float, most: float) -> Iterator[Row]:
    """Let the contenders of a cell take turns of about ``turn`` seconds."""
    steps: dict[str, tuple[Step, dict[str, float]]] = {}
    for who in cell.contenders:
        blank = Row(cell.name, cell.method, cell.backbone, who, scale.batch)
        try:
            steps[who] = prepare(who, cell, scale)
        except Exception as error:  # one that fails, for want of memory say, leaves the others their turns
            yield replace(blank, error=_words(error))
    rates: dict[str, list[float]] = {who: [] for who in steps}
    for number in range(rounds if steps else 0):
        order = list(steps)
        for who in order[number % len(order) :] + order[: number % len(order)]:
            step, facts = steps[who]
            times = max(1, int(turn / facts["seconds"]))
            began = now(scale.device)
            for _ in range(times):
                step()
            rates[who].append(times * scale.batch / (now(scale.device) - began))
    for who, (_, facts) in steps.items():
        found = _spread(rates, who)
        operations = facts["flops"] / scale.batch * found["rate"]
        yield Row(
            *(cell.name, cell.method, cell.backbone, who, scale.batch),
            **found,
            tflops=operations / 1e12,
            share=operations / most,
            peak=facts.get("peak"),
            loss=facts["loss"],
            published=PUBLISHED.get((cell.method, cell.backbone)),
        )


def measure_files(cell: Cell, scale: Scale) -> Iterator[Row]:
    """Let the contenders train on the same files, one after the other, all in one epoch."""
    steps = 2 if scale.tiny else max(20, 5 * scale.workers)
    published = PUBLISHED.get((cell.method, cell.backbone))
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photographs(folder / "photos", 2 * (steps + scale.workers) * scale.batch)  # a part of them is held out
        for who in cell.contenders:
            row = Row(cell.name, cell.method, cell.backbone, who, scale.batch, published=published)
            data = folder / "photos"
            try:
                if who == LIGHTLY:
                    flow = train_lightly(cell.method, cell.backbone, data, steps, scale)
                else:
                    if who == DEVICE:
                        data = folder / "images.npy"
                        write_array(data, 8 * scale.batch, scale.size * 8 // 7)
                    flow = train_ours(cell.method, cell.backbone, data, ENGINES[who], steps, scale)
                rates[who] = [flow.rate]
                yield replace(row, **_spread(rates, who), data_wait=flow.data_wait)
            except Exception as error:
                yield replace(row, error=_words(error))
            tidy()


def _spread(rates: dict[str, list[float]], who: str) -> dict[str, float]:
    """Return median and quartiles, and how many times as long as the first contender it takes, round by round."""
    own, first = rates[who], next(iter(rates.values()))
    low, middle, high = statistics.quantiles(own, n=4, method="inclusive") if len(own) > 1 else own * 3
    ratio = statistics.median(b / a for a, b in zip(own, first, strict=True))
    return {"rate": middle, "low": low, "high": high, "times_ours": ratio}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]


def tidy() -> None:
    """Give back what a cell took."""
    gc.collect()
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def run(
    planned: Iterable[Cell],
    measure: Callable[[Cell], Iterable[Row]],
    write: Callable[[list[Row], list[str]], None],
    *,
    seconds: float,
    about: Callable[[Cell], float],
    clock: Callable[[], float] = time.monotonic,
) -> list[Row]:
    """Measure cells while the next one fits into the time, and write what is found after each.

    Args:
        planned: the cells, in their order.
        measure: gives a cell's rows.
        write: is told all rows so far, and the names of cells that were left out.
        seconds: that there are in all.
        about: seconds that a cell may take.
        clock: in seconds.
    """
    began, rows, left_out = clock(), list[Row](), list[str]()
    for cell in planned:
        if clock() - began + about(cell) > seconds:
            left_out.append(cell.name)
        else:
            published = PUBLISHED.get((cell.method, cell.backbone))
            known = f"; stable-pretraining publishes {published:.0f} images/s on an H200" if published else ""
            print(f"{cell.name}  (after {clock() - began:.0f} s{known})", flush=True)
            for row in measure(cell):
                rows.append(row)
                print(line(row), flush=True)
            tidy()
        write(rows, left_out)
    return rows


HEAD = f"{'':<32}{'images/s':>10}{'quartiles':>18}{'times ours':>12}{'TFLOP/s':>9}{'ceiling':>9}{'wait':>7}{'MiB':>8}"


def line(row: Row) -> str:
    """Return a row of the printed table."""
    if row.error:
        return f"  {row.who:<30}{row.error}"
    share, wait = (None if value is None else f"{value:.1%}" for value in (row.share, row.data_wait))
    columns: list[tuple[Any, str, int]] = [
        (row.rate, ".0f", 10),
        (f"{row.low:.0f} .. {row.high:.0f}", "", 18),
        (row.times_ours, ".2f", 12),
        (row.tflops, ".1f", 9),
        (share, "", 9),
        (wait, "", 7),
        (row.peak, ".0f", 8),
    ]
    cells_ = (("" if value is None else format(value, form)).rjust(width) for value, form, width in columns)
    return f"  {row.who:<30}" + "".join(cells_)


def save(path: Path | None, facts: dict[str, Any], rows: list[Row], left_out: list[str]) -> None:
    """Write the JSON, whole or not at all."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps({**facts, "left_out": left_out, "rows": [asdict(row) for row in rows]}, indent=1))
        part.replace(path)


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--tiny", action="store_true", help="small networks and images, to see that it runs")
    parser.add_argument("--minutes", type=float, default=11.0, help="no cell is started that does not fit")
    parser.add_argument("--batch", type=int, default=256, help="samples a step")
    parser.add_argument("--rounds", type=int, default=4, help="turns of each contender")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that load files")
    parser.add_argument("--only", default="", help="cells whose names have this in them")
    parser.add_argument("--no-compile", action="store_true", help="leave compiled networks out (--tiny does)")
    parser.add_argument("--compile", action="store_true", help="compile with --tiny too")
    parser.add_argument("--json", type=Path, help="write the figures here, after each cell")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[Row]:
    options = read_arguments(argv)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    tiny = options.tiny
    scale = Scale(
        options.device,
        tiny,
        batch=8 if tiny else options.batch,
        size=56 if tiny else 224,
        workers=0 if tiny else options.workers,
    )
    rounds, turn = (2, 0.0) if tiny else (options.rounds, 1.5)
    most = ceiling(options.device, 256 if tiny else 8192)
    facts = {
        "machine": machine(options.device),
        "command": shlex.join(["python", "benchmarks/gpu.py", *(sys.argv[1:] if argv is None else argv)]),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "ceiling_tflops": most / 1e12,
    }
    print(f"{facts['machine']}; bf16 product of matrices: {most / 1e12:.1f} TFLOP/s\n{HEAD}")
    compiles = (options.compile or not tiny) and not options.no_compile
    planned = [cell for cell in cells() if options.only in cell.name]
    if not compiles:
        planned = [replace(cell, contenders=tuple(w for w in cell.contenders if w != COMPILED)) for cell in planned]
        planned = [cell for cell in planned if len(cell.contenders) > 1]

    def measure(cell: Cell) -> Iterator[Row]:
        if cell.kind == "files":
            return measure_files(cell, scale)
        return measure_steps(cell, scale, rounds, turn, most)

    return run(
        planned,
        measure,
        lambda rows, left_out: save(options.json, facts, rows, left_out),
        seconds=60 * options.minutes,
        about=lambda cell: 0.0 if tiny else ABOUT[cell.kind],
    )


if __name__ == "__main__":
    main()
