"""For the site: a docstring's ``Example:`` is code, as ``Examples:`` is, and not a paragraph."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

__all__ = ["Examples"]


class Examples(Extension):
    """Rename the section, which griffe knows by the other name alone."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Look at each class, function and attribute as it is read."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
