"""``ssl-registry predict RUN --data SOURCE --out FILE``: the class of every sample."""

from __future__ import annotations

from ssl_registry._system.terminal import tell
from ssl_registry.cli.data_arguments import DEVICES, add_data_arguments, add_trust, data_arguments
from ssl_registry.cli.messages import show_messages
from ssl_registry.cli.parsing import QuickParser
from ssl_registry.errors import ConfigError

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Write, and tell what was written."""
    parser = QuickParser("predict", "Write the class of every sample, and the probability of each class.")
    parser.add_argument("path", metavar="FINETUNED", help="what finetune wrote, or a run's folder with one such file")
    parser.add_argument("--out", required=True, help="the file: .parquet, .csv or .npz")
    parser.add_argument("--devices", help=DEVICES)
    add_data_arguments(parser)
    parser.add_argument("--backbone", metavar="FILE.py:NAME", help="the network, where it is one of your own")
    add_trust(parser)
    options = parser.parse_args(argv)
    if options.backbone is not None and ".py:" not in options.backbone:
        raise ConfigError(
            "--backbone: the file tells its network; leave it out, or give FILE.py:NAME of one of your own"
        )
    from ssl_registry.model.backbones import own_backbone
    from ssl_registry.workflows.predict import in_words, predict

    with show_messages():
        result = predict(
            options.path,
            out=options.out,
            devices=options.devices,
            backbone=None if options.backbone is None else own_backbone(options.backbone, None, 0),
            trust=options.trust,
            **data_arguments(options),
        )
    where = "" if result.file is None else f"{result.file.absolute()}: "
    tell(f"{where}{in_words(result)}")
    if result.unreadable:
        print(f"{result.unreadable} image files cannot be read and have no row")
    return 0
