"""Five labels a class: features that no label trained, beside raw pixels and the same network untrained.

    python examples/few_labels/few_labels.py                  # scattered digits, a few minutes on two cores
    python examples/few_labels/few_labels.py --data photos/   # your own, a folder with a folder for each class

The data of the first are made: scikit-learn's scans of digits, which every installation has, at random places, sizes
and angles on a larger canvas, with pieces of other scans about them. Photographs are not centered either. To look:
`ssl-registry views vicreg --data scattered-digits`. No label is trained on; a linear classifier is fitted to a few.

The same on the command line:

    ssl-registry train vicreg --data photos/ --out runs/few
    ssl-registry evaluate runs/few --labels 5,20 --seeds 10
"""

# %% What to train on, and how
import argparse
from pathlib import Path

import ssl_registry

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="scattered-digits", help="a folder with a folder of images for each class")
parser.add_argument("--method", default="vicreg", help="of ssl-registry list")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--image-size", type=int, help="side in pixels (default: 24 of scattered digits, else 64)")
parser.add_argument("--labels", type=int, nargs="+", default=[5, 20], help="of each class")
parser.add_argument("--draws", type=int, default=10, help="of these labels; the table has their mean and deviation")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=None, help="the run's folder (default: runs/few-labels-SEED)")
options = parser.parse_args()

ssl_registry.print_messages()

# %% Train, without labels
# Views say what does not matter: here place, size and angle. For photographs the method's own views do.
is_digits = options.data == "scattered-digits"
views = {"crop_scale": None, "rotation": 20, "translation": 0.15, "zoom": (0.8, 1.25), "blur": 0, "grayscale": 0}
result = ssl_registry.train(
    options.method,
    data=options.data,
    image_size=options.image_size or (24 if is_digits else 64),
    backbone="resnet18",
    backbone_kwargs={"layers": [1, 1, 1, 1], "channels": [24, 48, 96, 192]},  # small: a CPU trains it in minutes
    views=views if is_digits else {},
    epochs=options.epochs,
    batch_size=128,
    seed=options.seed,
    workers=0,  # processes that load files need `if __name__ == "__main__":` in a script on macOS and Windows
    out=options.out or Path("runs") / f"few-labels-{options.seed}",
    knn=False,  # it measures with all labels
    options={
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "lr_schedule": "cosine",
        **({"projection_dim": 512} if options.method == "vicreg" else {}),  # the paper's 8192 is for a GPU
    },
)

# %% Measure, with few labels
found = ssl_registry.evaluate(result.run, protocols=["linear"], labels=options.labels, seeds=options.draws, workers=0)

# %% The table
names = {
    "raw": "raw pixels",
    "untrained": "the same network, untrained",
    "trained": "trained without labels",
}
print(f"\nAccuracy in per cent of a linear classifier, mean ± deviation of {options.draws} draws of the labels\n")
print(f"{'labels of each class':32}" + "".join(f"{count:>14}" for count in options.labels))
for features, name in names.items():
    cells = [row.metrics["accuracy"] for row in found.rows if row.features == features]
    print(f"{name:32}" + "".join(f"{100 * cell.mean:8.1f} ± {100 * (cell.std or 0):3.1f}" for cell in cells))
print(f"\nViews, curves, nearest neighbours: open {(result.run / 'report.html').resolve()}")
