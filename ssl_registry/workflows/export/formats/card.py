"""The model card of a Hugging Face folder."""

from __future__ import annotations

import re
from typing import Any

from ssl_registry._system.terminal import one_line

__all__ = ["model_card"]

CARD = """---
library_name: timm
tags: [{task}, timm, transformers, self-supervised]
---
# {architecture}, pretrained with {method}

{what} Trained without labels by `{method}` ({origin}) {then}with ssl-registry {version}.

Input: {input_size} (channels, height, width), floats in [0, 1], normalised with mean {mean} and standard deviation
{std}.

```python
import timm
model = timm.create_model("hf-hub:USER/NAME", pretrained=True)  # or "local-dir:FOLDER"
{result} = model.eval()(images)
```

```python
from transformers import AutoImageProcessor, {auto}
processor = AutoImageProcessor.from_pretrained("USER/NAME")  # or a folder
model = {auto}.from_pretrained("USER/NAME").eval()
{result} = model(**processor(image)).{output}
```
"""


def _words(text: object) -> str:
    """Return a text as words in a line of Markdown, without what would be markup or HTML there."""
    return re.sub(r"[`<>\[\]]", "", one_line(text))[:200]


def model_card(config: dict[str, Any]) -> str:
    """Return the card for the configuration of a timm folder."""
    about, prepared = config["ssl_registry"], config["pretrained_cfg"]
    origin = f"{about['distribution']} {about['method_version']}" if about["distribution"] else "a method of one's own"
    classes = [_words(name) for name in config.get("label_names", ())]
    shown = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
    data = _words(about["data"])
    return CARD.format(
        architecture=_words(config["architecture"]),
        task="image-classification" if classes else "image-feature-extraction",
        what=f"A classifier of {len(classes)} classes: {shown}."
        if classes
        else f"A backbone without a head: {config['num_features']} features.",
        then=f"and fine-tuned on the labels of `{data}`, " if classes else f"on `{data}` ",
        result="scores" if classes else "features",
        auto="AutoModelForImageClassification" if classes else "AutoModel",
        output="logits" if classes else "pooler_output",
        method=_words(about["method"]),
        origin=_words(origin),
        version=about["version"],
        input_size=tuple(prepared["input_size"]),
        mean=[round(value, 4) for value in prepared["mean"]],
        std=[round(value, 4) for value in prepared["std"]],
    )
