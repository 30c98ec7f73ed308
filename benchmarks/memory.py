"""Whether memory stays flat: epochs of a folder of files with workers, and what all processes hold at each one's end.

python benchmarks/memory.py [--files 20000] [--epochs 10] [--workers 4] [--json FILE]

Workers are forks: what they share with the main process is counted once (PSS, the kernel's proportional share), so
pages that are copied one by one as Python counts references to them would show as growth. Swapped memory counts;
mapped files, such as torch's own code, do not: the kernel drops and reloads them as it likes. Linux only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssl_registry.data import SSLDataModule, open_source

VARIANTS = 16  # pictures; files of one picture are as many files
SIZE = 48


def write_folder(root: Path, files: int) -> None:
    """Write JPEG files in ten folders."""
    random = np.random.default_rng(0)
    pictures = []
    for _ in range(VARIANTS):
        stream = BytesIO()
        Image.fromarray(random.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)).save(stream, "JPEG")
        pictures.append(stream.getvalue())
    for number in range(files):
        path = root / str(number % 10) / f"{number:06d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pictures[number % VARIANTS])


def pss(process: int) -> int:
    """Return a process's proportional share of memory that no file stands behind, in bytes."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(
        int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:", "SwapPss:"))
    )


def measure(files: int, epochs: int, workers: int) -> list[dict[str, Any]]:
    """Load a folder epoch by epoch, and return what the processes held before each one's last batch."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), files)
        data = SSLDataModule(open_source(folder, image_size=32), batch_size=100, num_workers=workers)
        loader = data.train_dataloader()
        for epoch in range(epochs):
            loader.sampler.set_epoch(epoch)
            began = time.perf_counter()
            for number, _ in enumerate(loader):
                if number == len(loader) - 1:  # workers are still there
                    children = [child.pid for child in multiprocessing.active_children()]
                    held = [pss(os.getpid()), sum(pss(child) for child in children if child)]
            rows.append({"epoch": epoch, "main": held[0], "workers": held[1], "seconds": time.perf_counter() - began})
    return rows


def growth(rows: list[dict[str, Any]]) -> float:
    """Return bytes an epoch, by a straight line through all epochs but the first, which fills caches."""
    totals = [row["main"] + row["workers"] for row in rows[1:]]
    return float(np.polyfit(range(len(totals)), totals, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measure(options.files, options.epochs, options.workers)
    print(f"{'epoch':>5}{'main MiB':>10}{'workers MiB':>13}{'together':>10}{'seconds':>9}")
    for row in rows:
        held = [share / 2**20 for share in (row["main"], row["workers"])]
        print(f"{row['epoch']:>5}{held[0]:>10.1f}{held[1]:>13.1f}{sum(held):>10.1f}{row['seconds']:>9.1f}")
    print(f"growth: {growth(rows) / 2**20:+.2f} MiB an epoch ({options.files} files, {options.workers} workers)")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
