"""`hub_asked_once`: no waiting for the Hugging Face Hub where there is no network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies

__all__ = ["hub_asked_once"]


@contextmanager
def hub_asked_once() -> Iterator[None]:
    """Let the Hub's library look on the disk alone where its host has no address; it would ask five times, for long."""
    from huggingface_hub import constants

    try:
        if not getproxies():  # which knows the address
            socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before
    else:
        yield
