"""Fixtures for the tests of a method's author, in every pytest run where ssl-registry is installed.

Loading this costs a run that does not use it a few milliseconds: torch comes with the first fixture that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import nn

    from ssl_registry import Registry
    from ssl_registry.data import Source


@pytest.fixture
def isolated_registry() -> Registry:
    """A registry that knows nothing of what is installed, for methods that a test registers."""
    from ssl_registry import Registry

    return Registry(entry_points=False)


@pytest.fixture
def tiny_backbone() -> Callable[..., nn.Module]:
    """Build a backbone of a few thousand weights: ``tiny_backbone((1, 16, 16))``; see `fixtures.tiny_backbone`."""
    from ssl_registry.testing import fixtures

    return fixtures.tiny_backbone


@pytest.fixture
def real_digits() -> Callable[..., Source]:
    """Open real handwritten digits: ``real_digits("signal", train=48)``; see `fixtures.digits`."""
    from ssl_registry.testing import fixtures

    return fixtures.digits
