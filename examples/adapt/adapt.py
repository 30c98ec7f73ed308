"""Adapt a foundation network to images of your own, then put what it knows into a small one. No label is trained on.

    python examples/adapt/adapt.py                                    # bundled images, and a stand-in for the network
    python examples/adapt/adapt.py --data photos/ --weights dinov2.pth --backbone vit_small_patch14_dinov2 \\
        --image-size 112 --method simclr --student resnet18
    python examples/adapt/adapt.py --data photos/ --backbone vit_small_patch14_dinov2   # timm fetches its weights

Two trainings: the network goes on learning, by a method without labels, on your images; and a small network learns to
give the features of the adapted one. Where the data have labels (a folder for each class), each step is measured by a
linear classifier that was fitted to five labels a class.

Nothing is downloaded without arguments, so the foundation network is a stand-in: a ResNet-10 that SimCLR trains, in a
minute, on scikit-learn's centered digits. The images of one's own are the same digits at random places, sizes and
angles with clutter about them, which that network has never seen.
"""

# %% Which network and which images
import argparse
from pathlib import Path

import ssl_registry
from ssl_registry.data import open_source

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="scattered-digits", help="images of your own: a folder")
parser.add_argument("--weights", type=Path, help="of the network: a run, an export or a file of any toolbox")
parser.add_argument("--backbone", help="the network, a name of timm's; its own weights are fetched without --weights")
parser.add_argument("--method", default="vicreg", help="that it goes on with; of ssl-registry list")
parser.add_argument("--student", default="test_resnet", help="the small network, a name of timm's")
parser.add_argument("--epochs", type=int, default=8, help="of each training")
parser.add_argument("--image-size", type=int, default=48, help="side in pixels")
parser.add_argument("--draws", type=int, default=10, help="of the five labels a class")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("runs/adapt"))
options = parser.parse_args()

ssl_registry.print_messages()

shared = {"image_size": options.image_size, "batch_size": 128, "seed": options.seed, "workers": 0, "knn": False}
adamw = {"optimizer": "adamw", "learning_rate": 2e-3, "lr_schedule": "cosine"}
narrow = {"projection_dim": 512} if options.method == "vicreg" else {}  # the paper's 8192 is for a GPU
is_digits = options.data == "scattered-digits"
# Views say what does not matter: of digits place, size and angle. For photographs the method's own views do.
of_digits = {"crop_scale": None, "rotation": 20, "translation": 0.15, "zoom": (0.8, 1.25), "blur": 0, "grayscale": 0}
views = of_digits if is_digits else {}

# %% The foundation network: yours, or the stand-in
if options.weights is None and options.backbone is None:
    stand_in = ssl_registry.train(
        "simclr",
        data="digits",
        backbone="resnet10t",
        epochs=2 * options.epochs,
        out=options.out / "stand-in",
        options=adamw,
        views={"crop_scale": (0.5, 1.0), "blur": 0, "grayscale": 0},
        **shared,
    )
    options.weights, options.backbone = stand_in.run, "resnet10t"

# %% It goes on learning, on your images: a tenth of the usual learning rate, so that what it knows is not lost
adapted = ssl_registry.train(
    options.method,
    data=options.data,
    backbone=options.backbone,
    start_from=options.weights,
    pretrained=options.weights is None,
    epochs=options.epochs,
    out=options.out / "adapted",
    options={**adamw, **narrow, "learning_rate": 1e-3 if is_digits else 1e-4},
    views=views,
    **shared,
)

# %% A small network learns its features
small = ssl_registry.train(
    "distill",
    data=options.data,
    backbone=options.student,
    epochs=2 * options.epochs,
    out=options.out / "small",
    options={**adamw, "teacher": options.backbone, "teacher_weights": str(adapted.run)},
    views=views,
    **shared,
)

# %% What each is worth, with five labels of each class
if open_source(options.data, image_size=options.image_size).labeled:
    few = {"protocols": ["linear"], "labels": [5], "seeds": options.draws, "workers": 0}
    large, little = (ssl_registry.evaluate(result.run, **few) for result in (adapted, small))
    rows = {
        "raw pixels": (large, "raw"),
        f"{options.backbone}, untrained": (large, "untrained"),
        f"{options.backbone}, as it came": (large, "start"),
        f"{options.backbone}, adapted": (large, "trained"),
        f"{options.student}, untrained": (little, "untrained"),
        f"{options.student}, distilled from it": (little, "trained"),
    }
    millions = {
        name: sum(p.numel() for p in result.model.backbone.parameters()) / 1e6
        for name, result in ((options.backbone, adapted), (options.student, small))
    }
    print(f"\nAccuracy in per cent with five labels of each class, mean ± deviation of {options.draws} draws\n")
    for name, (result, features) in rows.items():
        for row in result.rows:
            if row.features == features:
                score = row.metrics["accuracy"]
                print(f"{name:44}{100 * score.mean:6.1f} ± {100 * (score.std or 0):3.1f}")
    print("\n" + ", ".join(f"{name}: {size:.1f} million weights" for name, size in millions.items()))
else:
    print("\nNo labels (a folder for each class), so nothing is measured.")
print(f"The small network for use in timm: ssl-registry export {small.run}")
