"""Near-duplicates and outliers in a folder of images, by features that were trained on that folder alone.

    python examples/curate/curate.py                  # a folder that is made, with duplicates and outliers planted
    python examples/curate/curate.py --data photos/   # your own; no labels are needed, and no file is changed

Without --data the folder is made of what scikit-learn brings along: canvases of the scattered digits; near-duplicates
of some (a little turned, darker, saved as JPEG); and squares of scikit-learn's two photographs, in gray, as outliers.
Since it is known which they are, the script says how many were found, by the features and by raw pixels.
"""

# %% Which images, and where the result goes
import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance
from torch.nn.functional import normalize
from torch.utils.data import ConcatDataset, DataLoader

import ssl_registry
from ssl_registry.data import open_source
from ssl_registry.measures import extract_features, pixels

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", type=Path, help="a folder of images")
parser.add_argument("--run", type=Path, help="a run whose features are taken; default: one is trained on the folder")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--image-size", type=int, default=24, help="side in pixels; larger ones take longer")
parser.add_argument("--images", type=int, default=600, help="how many are made, without --data")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("runs/curate"))
options = parser.parse_args()

ssl_registry.print_messages()
options.out.mkdir(parents=True, exist_ok=True)


# %% Without --data: make the folder
def make_folder(folder: Path, count: int, seed: int) -> None:
    """Write ``count`` canvases, and to every hundred of them six near-duplicates and two outliers."""
    from sklearn.datasets import load_sample_images

    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    canvases = open_source("scattered-digits", image_size=options.image_size).train
    for number in range(count):
        Image.fromarray(canvases[number][0][0].numpy()).save(folder / f"{number:04d}.png")
    for number in draw.permutation(count)[: 6 * count // 100]:
        copy = Image.open(folder / f"{number:04d}.png").rotate(draw.uniform(-6, 6), Image.Resampling.BILINEAR)
        copy = ImageEnhance.Brightness(copy).enhance(draw.uniform(0.7, 0.95))
        copy.save(folder / f"{number:04d}-copy.jpg", quality=70)
    photographs = [Image.fromarray(photograph).convert("L") for photograph in load_sample_images().images]
    for number in range(2 * count // 100):
        photograph = photographs[number % 2]
        left, top = (int(draw.integers(side - 128)) for side in photograph.size)
        square = photograph.crop((left, top, left + 128, top + 128)).resize((options.image_size,) * 2)
        square.save(folder / f"photograph-{number:02d}.png")


is_made = options.data is None
folder = options.out / "images" if is_made else options.data
if is_made:
    make_folder(folder, options.images, options.seed)

# %% Train on the folder; --run spares it
settings = {"image_size": options.image_size, "holdout": 0.0, "workers": 0}
if options.run is None:
    trained = ssl_registry.train(
        "simclr",
        data=str(folder),
        **settings,
        backbone="resnet18",
        backbone_kwargs={"layers": [1, 1, 1, 1], "channels": [24, 48, 96, 192]},  # small: a CPU trains it in minutes
        epochs=options.epochs,
        batch_size=128,
        seed=options.seed,
        out=options.out / "run",
        resume=(options.out / "run/config.yaml").exists(),  # a second call takes what the first has trained
        knn=False,
        options={"optimizer": "adamw", "learning_rate": 2e-3, "lr_schedule": "cosine"},
    )
    options.run = trained.run
model = ssl_registry.registry.load(options.run)

# %% One vector for each image
source = open_source(str(folder), holdout=0.0, image_size=options.image_size)
parts = [part for part in (source.train, source.test) if part is not None]
names = [part.name(index) or str(index) for part in parts for index in range(len(part))]
loader = DataLoader(ConcatDataset(parts), batch_size=256)


def features(embed) -> torch.Tensor:
    """Return features [images, dim], each dimension standardized, so that none counts for more than another."""
    x, _ = extract_features(embed, loader)
    return (x - x.mean(0)) / (x.std(0) + 1e-6)


# %% What stands out
def unusual(values: torch.Tensor) -> torch.Tensor:
    """Return how far each value [N] lies above the median, in deviations that a few outliers do not move."""
    away = values - values.median()
    return away / (1.4826 * away.abs().median())  # 1.4826: of a normal distribution, its standard deviation


def find(x: torch.Tensor) -> tuple[list[tuple[float, int, int]], list[tuple[float, int]]]:
    """Return pairs of near-duplicates and outliers, the surest first.

    A pair lies much closer together than an image and its nearest neighbour usually do, by direction; an outlier lies
    much farther from its ten nearest neighbours than others do, and its length tells that too.
    """
    unit = normalize(x, dim=1)
    distances = torch.cdist(unit, unit).fill_diagonal_(torch.inf)
    nearest = distances.amin(1)
    closeness = unusual(-nearest.clamp_min(1e-6).log())
    limit = nearest[closeness > LIMIT].amax() if (closeness > LIMIT).any() else -1
    rows, columns = (distances <= limit).triu().nonzero(as_tuple=True)
    pairs = sorted((float(distances[a, b]), int(a), int(b)) for a, b in zip(rows, columns, strict=True))
    far = torch.cdist(x, x).fill_diagonal_(torch.inf)
    remoteness = unusual(far.topk(10, largest=False).values.mean(1))
    outliers = sorted(
        ((float(remoteness[row]), int(row)) for row in (remoteness > LIMIT).nonzero()[:, 0]), reverse=True
    )
    return pairs, outliers


LIMIT = 3.5  # deviations: Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993
pairs, outliers = find(features(model.embed))

# %% Write them down, and show the first ones
with (options.out / "pairs.csv").open("w", newline="") as file:
    csv.writer(file).writerows(
        [("distance", "image", "near-duplicate"), *((d, names[a], names[b]) for d, a, b in pairs)]
    )
with (options.out / "outliers.csv").open("w", newline="") as file:
    csv.writer(file).writerows([("deviations", "image"), *((d, names[a]) for d, a in outliers)])


def sheet(rows: list[list[int]], path: Path, title: str, side: int = 72) -> None:
    """Save a picture of images, a column each; the images of a row lie on top of each other."""
    width, height = max(len(rows), 3) * (side + 4), max(map(len, rows), default=1) * (side + 4)
    picture = Image.new("RGB", (width + 4, height + 24), "white")
    ImageDraw.Draw(picture).text((4, 6), title, "black")
    for column, images in enumerate(rows):
        for row, index in enumerate(images):
            image = Image.open(names[index]).convert("RGB").resize((side, side))
            picture.paste(image, (4 + column * (side + 4), 24 + row * (side + 4)))
    picture.save(path)


sheet([[a, b] for _, a, b in pairs[:16]], options.out / "pairs.png", "near-duplicates, the closest first")
sheet([[a] for _, a in outliers[:16]], options.out / "outliers.png", "outliers, the farthest first")
print(f"\n{len(pairs)} pairs of near-duplicates, {len(outliers)} outliers among {len(names)} images")
print(f"Open {(options.out / 'pairs.png').resolve()} and outliers.png; all of them are in the .csv files beside it")


# %% Without --data it is known what was planted
def shares(found: set, planted: set) -> str:
    """Return precision and recall."""
    right = len(found & planted)
    return f"{right} of {len(planted)} found, {len(found) - right} wrong"


if is_made:
    planted = {frozenset((name, name.replace("-copy.jpg", ".png"))) for name in names if "-copy" in name}
    odd = {name for name in names if "photograph" in name}
    print(f"\n{'':14}{'near-duplicates':30}outliers")
    for what, (some, far) in (("features", (pairs, outliers)), ("raw pixels", find(features(pixels)))):
        as_names = {frozenset((names[a], names[b])) for _, a, b in some}
        print(f"{what:14}{shares(as_names, planted):30}{shares({names[a] for _, a in far}, odd)}")
