"""What a checkpoint records of its origin.

The record is plain values beside Lightning's own entries: it names the method and the distribution, never an import
path that reopening would follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ssl_registry._version import __version__
from ssl_registry.errors import CheckpointError

if TYPE_CHECKING:
    from ssl_registry.discovery.entry_points import MethodInfo

__all__ = ["FORMAT", "RECORD_KEY", "check_record"]

RECORD_KEY = "ssl_registry"
FORMAT = 1
# What a record holds. Its values come from a file that anyone may have written: nothing in them is imported, and
# nothing they name is read or fetched.
FIELDS: dict[str, tuple[type, ...]] = {
    "core_version": (str,),
    "method": (str,),
    "distribution": (str, type(None)),
    "version": (str,),
    "config": (dict,),
    "backbone": (dict,),
    "view_policy": (dict,),
    "overridden": (list,),
    "num_samples": (int, type(None)),
    "product": (str,),
    "seed": (int,),
}
BACKBONE_FIELDS: dict[str, tuple[type, ...]] = {
    "name": (str, type(None)),
    "class": (str, type(None)),
    "input_shape": (list,),
    "low_resolution": (bool,),
    "pooling": (str,),
    "kwargs": (dict,),
}


def check_record(checkpoint: dict[str, Any], info: MethodInfo) -> dict[str, Any]:
    """Return a checkpoint's record if it can go on as this method; training resumes through here.

    Raises:
        CheckpointError: if it has no record, a newer format, or another method's.
    """
    record = checkpoint.get(RECORD_KEY)
    if not isinstance(record, dict):
        raise CheckpointError("the checkpoint was not written by ssl-registry: it has no record of its method")
    if record.get("format") != FORMAT:
        raise CheckpointError(
            f"the checkpoint has format {record.get('format')}, written by ssl-registry {record.get('core_version')}; "
            f"this is {__version__}, which reads format {FORMAT}: pip install --upgrade ssl-registry"
        )
    _check_fields(record, FIELDS, "")
    _check_fields(record["backbone"], BACKBONE_FIELDS, "backbone.")
    if record["method"] != info.name:
        raise CheckpointError(f"the checkpoint holds {record['method']!r}, it cannot go on as {info.name!r}")
    return record


def _check_fields(record: dict[str, Any], fields: dict[str, tuple[type, ...]], where: str) -> None:
    for key, kinds in fields.items():
        if key not in record or not isinstance(record[key], kinds):
            came = type(record[key]).__name__ if key in record else "missing"
            raise CheckpointError(
                f"the checkpoint's record is damaged: {where}{key} is {came}, not {kinds[0].__name__}; use another one"
            )
