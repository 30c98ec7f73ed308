"""Fixtures that several test files share."""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest


@pytest.fixture
def make_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Install a distribution by hand: a module and its metadata, in a folder of its own on sys.path."""
    modules: list[str] = []

    def make(
        distribution: str,
        entries: dict[str, str],
        *,
        group: str = "ssl_registry.methods",
        code: str = "",
        version: str = "1.0",
        summary: str = "A method for tests.",
        requires: str | None = None,
    ) -> Path:
        site = tmp_path / f"site-{distribution}"
        module = distribution.replace("-", "_")
        modules.append(module)
        info = site / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nSummary: {summary}\n"
        if requires is not None:
            metadata += f"Requires-Dist: {requires}\n"
        (info / "METADATA").write_text(metadata)
        lines = "".join(f"{name} = {target}\n" for name, target in entries.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
        (site / f"{module}.py").write_text(dedent(code))
        monkeypatch.syspath_prepend(site)
        return site

    yield make
    for module in modules:  # another test may make a module of this name
        sys.modules.pop(module, None)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Block this project's own plugins, so that a test sees only what it makes."""
    from ssl_registry._registry import FIRST_PARTY

    monkeypatch.setenv("SSL_REGISTRY_BLOCK", ",".join(f"ssl-registry-{name}" for name in FIRST_PARTY))


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ssl_registry import train

    folder = tmp_path_factory.mktemp("trained") / "run"
    limits = {"max_steps": 2, "enable_progress_bar": False, "accelerator": "cpu"}
    train("simclr", backbone="regnetx_002", batch_size=64, out=folder, knn=False, report=False, trainer=limits)
    return folder


@pytest.fixture
def run(_trained: Path, tmp_path: Path) -> Path:
    """Return a run of two steps on digits, with a backbone of timm's, for the test to keep."""
    return Path(shutil.copytree(_trained, tmp_path / "run"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep features and look for weights in folders of the tests' own, never in the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_REGISTRY_CACHE", str(folder / "features"))
        patch.setenv("TORCH_HOME", str(folder / "torch"))
        patch.setenv("HF_HUB_CACHE", str(folder / "hub"))
        yield


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Let no file grow beyond a number of bytes: the nearest thing to a full disk that needs no root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def spread() -> type:
    """Return the least of a method that trains: it keeps features apart."""
    from torch import Tensor, nn  # not above: most tests that use this file need no torch

    from ssl_registry import MethodConfig, hookimpl

    class Spread:
        """Keep features apart; a method for tests."""

        class Config(MethodConfig):
            """No options of its own."""

        def __init__(self, config: MethodConfig) -> None:
            self.config = config

        @hookimpl
        def build_heads(self, feature_dim: int) -> dict[str, nn.Module]:
            return {"head": nn.Linear(feature_dim, 2)}

        @hookimpl
        def compute_loss(self, model: Any, views: list[Tensor]) -> Tensor:
            z = model.heads["head"](model(views[0]))
            return (1 - z.std(0)).relu().mean()

    return Spread
