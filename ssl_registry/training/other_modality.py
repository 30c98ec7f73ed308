"""What mends a training whose method does not take the samples: how the data are read, or another method."""

from __future__ import annotations

from ssl_registry._registry import Registry
from ssl_registry.contract.needs import Needs, needs_of
from ssl_registry.data.source import Source

__all__ = ["remedy"]

SHOWN = 5  # methods


def remedy(needs: Needs, source: Source, *, registry: Registry) -> str:
    """Say how data must be read for a method that does not take them, and which methods do; "" where it does.

    Args:
        needs: of the method.
        source: of the samples.
        registry: where other methods are looked up.
    """
    if source.modality in needs.modalities:
        return ""
    ways = []
    if source.modality == "table" and "signal" in needs.modalities and source.columns is not None:
        row = f"each row of {source.name} is a sample"
        if source.likely_sample is not None:
            ways.append(f"{row}: --data.sample {source.likely_sample} makes recordings of the rows")
        else:
            ways.append(
                f"{row}: where rows are moments, --data.sample COLUMN makes recordings of them; where a row is a "
                "signal, give --modality signal"
            )
    names = methods_for(source.modality, registry)
    shown = ", ".join(names[:SHOWN]) + (" and more" if len(names) > SHOWN else "")
    ways.append(f"methods that take {source.modality}s: {shown or 'none is installed'} (ssl-registry list)")
    words = "; ".join(ways)
    return words[0].upper() + words[1:]


def methods_for(modality: str, registry: Registry) -> list[str]:
    """Return the methods that take a kind of samples; first those that take the fewest others."""
    found = []
    for info in registry.methods():
        try:
            needs = needs_of(registry.method_class(info.name))
        except Exception:  # of a plugin that is broken; `ssl-registry list --check` tells of it
            continue
        if modality in needs.modalities:
            found.append((len(needs.modalities), info.name))
    return [name for _, name in sorted(found)]
