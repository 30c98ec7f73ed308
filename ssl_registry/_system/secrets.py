"""What a text that is published must not hold: keys in addresses, and where people keep their files."""

from __future__ import annotations

import re
from pathlib import PurePath

__all__ = ["published_name", "without_keys"]

# A user's name and password before the host; and what follows the path, where signed addresses have their signature.
ADDRESS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^/\s@'\"]*@)?(?P<path>[^\s?#'\"]*)(?P<rest>[?#][^\s'\"]*)?"
)


def without_keys(text: str) -> str:
    """Return a text with every address in it cut down to scheme, host and path.

    >>> without_keys("https://me:secret@host/a/{000..099}.tar?X-Signature=5f2b")
    'https://host/a/{000..099}.tar'
    """
    return ADDRESS.sub(r"\g<scheme>\g<path>", text)


def published_name(data: str | None) -> str | None:
    """Return what a model card says of its training data: no key, no command, and of a path its last part.

    >>> published_name("/home/me/project/photos"), published_name("hf:ylecun/mnist"), published_name("pipe:cat x.tar")
    ('photos', 'hf:ylecun/mnist', 'the output of a command')
    >>> published_name("https://host/a/{000..099}.tar?key=5f2b")
    'https://host/a/{000..099}.tar'
    """
    if data is None:
        return None
    if "pipe:" in data:
        return "the output of a command"
    if "://" in data:
        return without_keys(data)
    return data if re.match(r"\w{2,}:", data) else PurePath(data).name or data
