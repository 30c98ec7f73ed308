"""``ssl-registry views METHOD``: a picture of samples and of the views that a training would draw of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_registry._system.terminal import tell
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.cli.view_options import take_changes
from ssl_registry.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

    from ssl_registry.data import Source

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Draw the picture and say where it is."""
    rest, changes = take_changes(argv)
    parser = QuickParser(
        "views",
        "Draw samples and their views. --views.FIELD VALUE and --views.NUMBER.FIELD VALUE change them, as in train.",
    )
    add = parser.add_argument
    add("method", metavar="METHOD")
    add("--data", default="digits", help="where samples come from, as for train (default: digits)")
    add("--data-root", help="where torchvision's data sets lie")
    add("--modality", help="image, signal or table, where an array leaves it open")
    add("--image-size", type=int, help="side of the images in pixels")
    add("--rows", type=int, default=6, help="samples, spread over the source (default: 6)")
    add("--seed", type=int, default=0, help="of the views (default: 0)")
    add("--out", default="views.png", help="the picture (default: views.png)")
    options = parser.parse_args(rest)
    out = Path(options.out)
    if options.rows < 1:
        raise ConfigError(f"--rows {options.rows} must be at least 1")
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ConfigError(f"--out {out} must be a picture: .png, .jpg or .webp")

    from ssl_registry.data import open_source

    source = open_source(
        options.data, image_size=options.image_size, data_root=options.data_root, modality=options.modality
    )
    if source.modality == "table":
        raise DataError(f"{source.name} is a table: there is nothing to look at; images and signals have pictures")
    rows, told = _draw(options.method, source, changes, options.rows, options.seed)

    from ssl_registry.views.picture import draw_grid

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draw_grid(rows).save(out)
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be written ({error})") from error
    for line in told:
        tell(line)
    tell(f"{len(rows)} samples of {source.name} and {len(rows[0]) - 1} view(s) of each: {out}")
    return 0


def _draw(
    method: str, source: Source, changes: dict[str, Any], count: int, seed: int
) -> tuple[list[list[Tensor]], list[str]]:
    """Return rows of sample and views, and what is to be told of them."""
    import torch

    from ssl_registry._registry import registry
    from ssl_registry.data.loading.drawn import DrawnViews, choose_view_plan
    from ssl_registry.training.building import build_model, choose_backbone

    engine = changes.pop("engine", "auto")
    backbone, backbone_kwargs = choose_backbone(method, source, None, None, registry=registry)
    model = build_model(
        method,
        source,
        backbone=backbone,
        low_resolution=None,
        pretrained=False,
        backbone_kwargs=backbone_kwargs,
        seed=seed,
        options={},
        registry=registry,
        views=changes,
    )
    view_policy = model.view_policy.model_copy(update={"mean": None, "std": None})  # for eyes, not for a network
    total = len(source.train)  # type: ignore[arg-type]  # map-style data sets have a length
    indices = sorted({index * total // count for index in range(count)})
    drawing = choose_view_plan(source, view_policy, asked=str(engine), accelerator=False)
    told = view_policy.notes(source.input_shape)
    samples = [source.train[index] for index in indices]
    originals = view_policy.prepare(torch.stack([x[0] if isinstance(x, list | tuple) else x for x in samples]))
    if drawing.engine is not None:
        told.append(str(drawing.engine))
    views = view_policy.views_of(DrawnViews(source.train, drawing, seed=seed).batch(indices))
    return [list(row) for row in zip(originals, *views, strict=True)], told
