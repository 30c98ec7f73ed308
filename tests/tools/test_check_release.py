"""A tag is released only when versions, ranges and the changelog agree with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from check_release import release_faults

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository that is ready to release 1.2.0, with one plugin."""
    write(tmp_path / "ssl_registry/_version.py", '__version__ = "1.2.0"\n')
    write(tmp_path / "pyproject.toml", '[project.optional-dependencies]\nall = ["ssl-registry-byol>=1.2,<1.3"]\n')
    write(tmp_path / "CHANGELOG.md", "# Changelog\n\n## 1.2.0 (2026-11-30)\n")
    plugin = '[project]\nname = "ssl-registry-byol"\nversion = "1.2.0"\ndependencies = ["ssl-registry>=1.2,<1.3"]\n'
    write(tmp_path / "plugins/byol/pyproject.toml", plugin)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_consistent_checkout_has_no_faults(checkout):
    """Versions, ranges, extra and changelog say the same as the tag."""
    assert list(release_faults(checkout, "v1.2.0")) == []


@pytest.mark.parametrize(
    ("tag", "fault"),
    [
        ("1.2.0", "the tag is '1.2.0': name it v1.2.0"),
        ("v1.2.00", "the tag is 'v1.2.00': name it v1.2.0"),
        ("vnext", "the tag 'vnext' is no version: name it v1.2.3"),
    ],
)
def test_tag_has_one_spelling(checkout, tag, fault):
    """A tag of another form is a fault, with the form it should have."""
    assert list(release_faults(checkout, tag)) == [fault]


@pytest.mark.parametrize(
    ("path", "old", "new", "fault"),
    [
        ("ssl_registry/_version.py", "1.2.0", "1.1.9", "ssl-registry has version 1.1.9, the tag says 1.2.0"),
        ("plugins/byol/pyproject.toml", '"1.2.0"', '"1.1.0"', "ssl-registry-byol has version 1.1.0"),
        ("plugins/byol/pyproject.toml", ">=1.2,<1.3", ">=1.1,<1.2", "which refuses 1.2.0"),
        ("pyproject.toml", ">=1.2,<1.3", ">=1.1,<1.2", "the extra 'all' of pyproject.toml asks for"),
        ("pyproject.toml", "byol", "mae", "ssl-registry-byol is not in the extra 'all'"),
        ("pyproject.toml", "byol", "mae", "names ssl-registry-mae, which is not under plugins/"),
        ("CHANGELOG.md", "2026-11-30", "unreleased", "CHANGELOG.md says 'unreleased'"),
        ("CHANGELOG.md", "## 1.2.0", "## 1.1.0", "CHANGELOG.md has no heading '## 1.2.0 (date)'"),
    ],
)
def test_disagreement_is_a_fault(checkout, path, old, new, fault):
    """Each place that the version stands in is compared."""
    text = (checkout / path).read_text()
    assert old in text
    write(checkout / path, text.replace(old, new))
    assert any(fault in found for found in release_faults(checkout, "v1.2.0"))


def test_this_repository_lacks_at_most_the_date():
    """Between releases everything but the changelog's date is ready."""
    version = re.search(r'"(.+)"', (ROOT / "ssl_registry/_version.py").read_text().split("__version__")[1])
    assert version
    faults = list(release_faults(ROOT, f"v{version[1]}"))
    assert [fault for fault in faults if "unreleased" not in fault] == []
