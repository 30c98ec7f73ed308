"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest


@pytest.fixture
def make_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Install a distribution by hand: a module and its metadata, in a folder of its own on sys.path."""

    def make(
        distribution: str,
        methods: dict[str, str],
        *,
        code: str = "",
        version: str = "1.0",
        summary: str = "A method for tests.",
        requires: str | None = None,
    ) -> Path:
        site = tmp_path / f"site-{distribution}"
        module = distribution.replace("-", "_")
        info = site / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nSummary: {summary}\n"
        if requires is not None:
            metadata += f"Requires-Dist: {requires}\n"
        (info / "METADATA").write_text(metadata)
        lines = "".join(f"{name} = {target}\n" for name, target in methods.items())
        (info / "entry_points.txt").write_text(f"[ssl_registry.methods]\n{lines}")
        (site / f"{module}.py").write_text(dedent(code))
        monkeypatch.syspath_prepend(site)
        return site

    return make


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Block this project's own plugins, so that a test sees only what it makes."""
    monkeypatch.setenv("SSL_REGISTRY_BLOCK", "ssl-registry-byol,ssl-registry-simclr,ssl-registry-lfr")
