"""``ssl-registry finetune RUN``: go on with labels, few or all."""

from __future__ import annotations

import json
from contextlib import nullcontext

from ssl_registry.cli.data_arguments import PATH, add_data_arguments, add_network, add_trust, data_arguments
from ssl_registry.cli.evaluate import print_result
from ssl_registry.cli.messages import quieten, show_messages
from ssl_registry.cli.parsing import QuickParser

__all__ = ["run"]


def run(argv: list[str]) -> int:
    """Print a table, or JSON."""
    parser = QuickParser("finetune", "Train a backbone and a head on labels, beside the same network from scratch.")
    parser.add_argument("path", metavar="RUN_OR_CHECKPOINT", help=PATH)
    add = parser.add_argument_group("training").add_argument
    add(
        "--labels",
        type=float,
        default=1.0,
        help="share of the labels, such as 0.01 or 0.1, or so many of each class, such as 5 (default: 1, all)",
    )
    add("--layers", type=int, help="train so many last layers of the backbone only (default: all)")
    add("--epochs", type=int, default=20, help="passes over the labelled samples (default: 20)")
    add("--learning-rate", type=float, default=1e-3, help="of the head (default: 0.001)")
    add("--layer-decay", type=float, default=0.75, help="factor on the rate from layer to layer (default: 0.75)")
    add("--weight-decay", type=float, default=0.05, help="AdamW's (default: 0.05)")
    add("--seeds", type=int, default=1, help="repetitions with other labels and heads (default: 1)")
    add("--out", help="file for the trained weights (default: finetuned-PERCENT.safetensors in the run)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_data_arguments(parser)
    parser.set_defaults(batch_size=128)
    add_network(parser)
    add_trust(parser)
    options = parser.parse_args(argv)
    from ssl_registry.workflows.finetune import finetune

    quieten()
    with nullcontext() if options.json else show_messages():
        result = finetune(
            options.path,
            **data_arguments(options),
            labels=options.labels,
            layers=options.layers,
            epochs=options.epochs,
            learning_rate=options.learning_rate,
            layer_decay=options.layer_decay,
            weight_decay=options.weight_decay,
            seeds=options.seeds,
            out=options.out,
            backbone=options.backbone,
            network=options.network,
            trust=options.trust,
        )
    if options.json:
        print(json.dumps(result.to_dict(), indent=2))
    else:
        print_result(result)
    return 0
