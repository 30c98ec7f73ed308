"""``ssl-registry views METHOD``: a picture of samples and of the views that a training would draw of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssl_registry._system.atomic import given_path
from ssl_registry._system.terminal import tell
from ssl_registry.cli.methods import find_method
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor

    from ssl_registry.data import Source
    from ssl_registry.run_options import RunOptions
    from ssl_registry.views import ViewPolicy

__all__ = ["run"]

DESCRIPTION = """Draw samples and their views. METHOD and options are those of `train`, such as --data, --image-size,
--views.FIELD VALUE and --views.NUMBER.FIELD VALUE."""


def run(argv: list[str]) -> int:
    """Draw the picture and say where it is."""
    parser = QuickParser("views", DESCRIPTION)
    parser.add_argument("method", metavar="METHOD")
    parser.add_argument("--rows", type=int, default=6, help="samples, spread over the source (default: 6)")
    parser.add_argument("--out", help="the picture (default: views.png, with a number where that is there)")
    options, words = parser.parse_known_args(argv)
    out = _free_name() if options.out is None else given_path(options.out)
    if options.rows < 1:
        raise ConfigError(f"--rows {options.rows} must be at least 1")
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ConfigError(f"--out {out} must be a picture: .png, .jpg or .webp")

    config_class = find_method("views", options.method, words).Config
    from ssl_registry._registry import registry
    from ssl_registry.cli.messages import quieten
    from ssl_registry.cli.settings import resolve

    settings = resolve(options.method, config_class, words)
    quieten()
    from ssl_registry.training.building import build_model, decide, read_options

    asked, source = read_options(dict(settings.run), owner="views", trainer=settings.trainer)
    run, _ = decide(options.method, asked, source, settings.trainer, registry=registry)
    if source.modality == "table":
        raise DataError(f"{source.name} is a table: there is nothing to look at; images and signals have pictures")
    model = build_model(options.method, source, run, options=settings.options, registry=registry)
    rows, told = _draw(model.view_policy, source, run, options.rows)

    from ssl_registry.views.picture import draw_grid
    from ssl_registry.views.traces import draw_traces

    titles = ["sample", *(f"view {number}" for number in range(len(rows[0]) - 1))]
    if source.modality == "signal":
        unit = "standard deviations of each channel" if source.std is not None else ""
        picture = draw_traces(rows, titles, rate=source.rate, unit=unit)
    else:
        picture = draw_grid(rows, titles)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(out)
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be written ({error})") from error
    for line in told:
        tell(line)
    tell(f"{len(rows)} samples of {source.name} and {len(rows[0]) - 1} view(s) of each: {out}")
    return 0


def _free_name() -> Path:
    """Return ``views.png``, or ``views-2.png`` and so on where that is there."""
    out, number = Path("views.png"), 1
    while out.exists():
        number += 1
        out = Path(f"views-{number}.png")
    return out


def _draw(view_policy: ViewPolicy, source: Source, run: RunOptions, count: int) -> tuple[list[list[Tensor]], list[str]]:
    """Return rows of sample and views, and what is to be told of them."""
    import torch

    from ssl_registry.data.loading.drawn import DrawnViews, choose_view_plan

    view_policy = view_policy.model_copy(update={"mean": None, "std": None})  # for eyes, not for a network
    total = len(source.train)
    indices = sorted({index * total // count for index in range(count)})
    drawing = choose_view_plan(source, view_policy, asked=run.engine, accelerator=False)
    told = view_policy.notes(source.input_shape)
    samples = [source.train[index] for index in indices]
    originals = view_policy.prepare(torch.stack([x[0] if isinstance(x, list | tuple) else x for x in samples]))
    if drawing.engine is not None:
        told.append(str(drawing.engine))
    views = view_policy.views_of(DrawnViews(source.train, drawing, seed=run.seed).batch(indices))
    return [list(row) for row in zip(originals, *views, strict=True)], told
