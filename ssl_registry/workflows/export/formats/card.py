"""The model card of a Hugging Face folder."""

from __future__ import annotations

import re
from typing import Any

from ssl_registry._system.terminal import one_line

__all__ = ["model_card"]

CARD = """---
library_name: timm
tags: [image-feature-extraction, timm, self-supervised]
---
# {architecture}, pretrained with {method}

A backbone without a head: {num_features} features. Trained without labels by `{method}` ({origin}) on `{data}` with
ssl-registry {version}.

Input: {input_size} (channels, height, width), floats in [0, 1], normalised with mean {mean} and standard deviation
{std}.

```python
import timm
model = timm.create_model("hf-hub:USER/NAME", pretrained=True)  # or "local-dir:FOLDER"
features = model.eval()(images)
```
"""


def _words(text: object) -> str:
    """Return a text as words in a line of Markdown, without what would be markup or HTML there."""
    return re.sub(r"[`<>\[\]]", "", one_line(text))[:200]


def model_card(config: dict[str, Any]) -> str:
    """Return the card for the configuration of a timm folder."""
    about, prepared = config["ssl_registry"], config["pretrained_cfg"]
    origin = f"{about['distribution']} {about['method_version']}" if about["distribution"] else "a method of one's own"
    return CARD.format(
        architecture=_words(config["architecture"]),
        num_features=config["num_features"],
        method=_words(about["method"]),
        origin=_words(origin),
        data=_words(about["data"]),
        version=about["version"],
        input_size=tuple(prepared["input_size"]),
        mean=[round(value, 4) for value in prepared["mean"]],
        std=[round(value, 4) for value in prepared["std"]],
    )
