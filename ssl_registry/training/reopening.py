"""A run, reopened: its network with the trained weights, and the source of samples that it was trained on."""

from __future__ import annotations

from pathlib import Path

from ssl_registry._registry import Registry
from ssl_registry._registry import registry as default_registry
from ssl_registry.data import Source, open_source
from ssl_registry.module import SSLModule
from ssl_registry.recipes.reading import read_yaml
from ssl_registry.training.building import own_backbone

__all__ = ["reopen_run"]


def reopen_run(folder: Path, *, registry: Registry = default_registry) -> tuple[SSLModule, Source]:
    """Load what a run trained, and open what it was trained on.

    Args:
        folder: of the run, with its ``config.yaml``.
        registry: where the method is looked up.

    Raises:
        SSLRegistryError: if the checkpoint, the method, the backbone's file or the data is not there any more.
    """
    settings = read_yaml(folder / "config.yaml")
    name = str(settings["backbone"])
    backbone = None
    if ".py:" in name:
        backbone = own_backbone(name, settings.get("backbone_kwargs"), int(settings.get("seed", 0)))
    model = registry.load(folder, backbone=backbone)
    source = open_source(
        settings["data"],
        image_size=settings.get("image_size"),
        data_root=settings.get("data_root"),
        kind=settings.get("data_kind"),
        seed=settings.get("seed", 0),
    )
    return model, source
