"""Search by similarity: for an image, those of a folder that look most like it, as a page to open.

    python examples/search/search.py                                      # bundled images, queries of the held-out part
    python examples/search/search.py --data photos/ --query cat.jpg dog.jpg

The index is a Parquet file that `ssl_registry.embed` writes: a row for each image, with its path and its vector. It
takes constant memory to write, so folders may be large, and vector databases read it. It needs an extra:
pip install 'ssl-registry[parquet]'.
"""

# %% Which images, and where the result goes
import argparse
import base64
import html
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps

import ssl_registry
from ssl_registry.data import open_source

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", type=Path, help="a folder of images")
parser.add_argument("--query", type=Path, nargs="+", default=[], help="images to search for, in any folder")
parser.add_argument("--run", type=Path, help="a run whose features are taken; default: one is trained on the folder")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--image-size", type=int, default=24, help="side in pixels; larger ones take longer")
parser.add_argument("--images", type=int, default=2000, help="how many bundled ones are searched, without --data")
parser.add_argument("--show", type=int, default=10, help="images found for each query")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("runs/search"))
options = parser.parse_args()
if options.data and not options.query:
    parser.error("--data needs --query IMAGE, what to search for")

ssl_registry.print_messages()
options.out.mkdir(parents=True, exist_ok=True)

# %% Without --data: canvases of scattered digits; the queries are made of other scans
is_bundled = options.data is None
folder = options.out / "images" if is_bundled else options.data
if is_bundled:
    source = open_source("scattered-digits", image_size=options.image_size)
    for part, count, place in ((source.train, options.images, folder), (source.test, 100, options.out / "queries")):
        for number in range(count):
            image, label = part[number]
            target = place / str(int(label)) / f"{number:04d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).save(target)
    options.query = sorted((options.out / "queries").rglob("*.png"))

# %% Train on the folder, without labels; --run spares it
if options.run is None:
    # Views say what does not matter: of digits place, size and angle. For photographs the method's own views do.
    of_digits = {"crop_scale": None, "rotation": 20, "translation": 0.2, "zoom": (0.8, 1.25), "blur": 0, "grayscale": 0}
    trained = ssl_registry.train(
        "vicreg",
        data=str(folder),
        image_size=options.image_size,
        workers=0,
        holdout=0.0,
        backbone="resnet18",
        backbone_kwargs={"layers": [1, 1, 1, 1], "channels": [24, 48, 96, 192]},  # small: a CPU trains it in minutes
        views={**of_digits, "flip": 0} if is_bundled else {},
        epochs=options.epochs,
        batch_size=128,
        seed=options.seed,
        out=options.out / "run",
        resume=(options.out / "run/config.yaml").exists(),  # a second call takes what the first has trained
        knn=False,
        options={
            "optimizer": "adamw",
            "learning_rate": 2e-3,
            "lr_schedule": "cosine",
            "projection_dim": 512,  # the paper's 8192 is for a GPU
        },
    )
    options.run = trained.run

# %% The index: a row for each image
index_file = options.out / "index.parquet"
ssl_registry.embed(options.run, data=str(folder), out=index_file, image_size=options.image_size, workers=0)
index = pd.read_parquet(index_file)  # id, path, label (the class folder, if there are any), vector
vectors = np.stack(index["vector"])
center, spread = vectors.mean(0), vectors.std(0) + 1e-6


def unit(x: np.ndarray) -> np.ndarray:
    """Standardize each dimension by the index's, so that none counts for more than another; vectors of length 1."""
    x = (x - center) / spread
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# %% Search
model = ssl_registry.registry.load(options.run)
mode = "L" if model.input_shape[0] == 1 else "RGB"


def embedded(path: Path) -> np.ndarray:
    """Return the features [dim] of an image file: upright, its centered square, as `train` and `embed` read files."""
    image = ImageOps.exif_transpose(Image.open(path)).convert(mode)
    image = ImageOps.fit(image, (options.image_size, options.image_size))
    x = torch.from_numpy(np.array(image)).reshape(options.image_size, options.image_size, -1).permute(2, 0, 1)
    return model.embed(x).numpy()


queries = unit(np.stack([embedded(path) for path in options.query]))
similarity = queries @ unit(vectors).T  # [queries, images], cosines
found = np.argsort(-similarity, axis=1)[:, : options.show]


# %% A page with the pictures in it
def picture(path: Path, caption: str) -> str:
    """Return an image of 80 pixels as HTML, with a line below it."""
    data = BytesIO()
    ImageOps.contain(ImageOps.exif_transpose(Image.open(path)).convert("RGB"), (80, 80)).save(data, "PNG")
    source = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    return f'<figure><img src="{source}" alt=""><figcaption>{html.escape(caption)}</figcaption></figure>'


style = """
body { font: 14px sans-serif } div { display: flex } figure { margin: 4px } img { width: 80px }
figure:first-child { margin-right: 40px }
"""
page = [f"<!doctype html><meta charset=utf-8><title>Search</title><style>{style}</style>"]
page.append("<h1>An image, and what is nearest to it</h1>")
for number, path in enumerate(options.query[:: max(1, len(options.query) // 20)]):
    row = number * max(1, len(options.query) // 20)
    near = [picture(Path(index["path"][i]), f"{similarity[row, i]:.2f}") for i in found[row]]
    page.append(f"<div>{picture(path, path.name)}{''.join(near)}</div>")
target = options.out / "search.html"
target.write_text("\n".join(page), encoding="utf-8")
for path, row in list(zip(options.query, found, strict=True))[:3]:
    print(f"{path}: nearest is {index['path'][row[0]]}")
print(f"\n{len(options.query)} queries in {len(index)} images: open {target.resolve()}")

# %% Where the class of the queries is known: how many of those found are of it
if is_bundled:
    truth = np.array([path.parent.name for path in options.query])
    right = index["label"].to_numpy()[found] == truth[:, None]
    raw = np.stack([np.asarray(Image.open(path), float).ravel() for path in index["path"]])
    asked = np.stack([np.asarray(Image.open(path), float).ravel() for path in options.query])
    by_pixels = np.argsort(((asked**2).sum(1)[:, None] - 2 * asked @ raw.T + (raw**2).sum(1)), axis=1)[
        :, : options.show
    ]
    right_by_pixels = index["label"].to_numpy()[by_pixels] == truth[:, None]
    chance = (index["label"].to_numpy()[:, None] == truth).mean()
    print(f"\nOf the {options.show} nearest, so many show the query's digit:")
    print(f"features {right.mean():.1%}, raw pixels {right_by_pixels.mean():.1%}, chance {chance:.1%}")
