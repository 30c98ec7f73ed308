"""What the options of a run would do."""

from __future__ import annotations

import pytest

from ssl_registry.data.sources import SOURCES
from ssl_registry.runs.deeds import deed_of_data


@pytest.mark.parametrize("kind", SOURCES.own)
def test_a_kind_that_reads_this_disk_does_nothing_else(kind):
    """Also with its name before it, which a run's file may have; shards may be anywhere."""
    deed = deed_of_data(f"{kind}:s3://bucket/x")
    assert (deed is None) == (kind != "shards")


def test_kinds_of_plugins_may_do_anything():
    """A name that is not the core's needs the user's word; samples that Python gave need none."""
    assert deed_of_data("wav:recordings").would == "fetch it, or run what a plugin does with it"
    assert deed_of_data("python:tensors") is None
