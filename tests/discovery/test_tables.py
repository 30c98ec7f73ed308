"""What plugins add besides methods: found, listed, loaded and broken as methods are."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import ssl_registry
from ssl_registry import registry
from ssl_registry.cli import main
from ssl_registry.cli.entries import TABLES, list_entries
from ssl_registry.discovery.entry_points import GROUPS, discover
from ssl_registry.errors import BackboneError, ConfigError, PluginError

EXPORTER = """
from ssl_registry.workflows.export.format import ExportFormat

def write(run, folder):
    import torch
    torch.save(run.model.backbone.state_dict(), folder / "w.pt")
    name = run.model.backbone_record.name
    return (
        f"import timm, torch\\nmodel = timm.create_model({name!r}, in_chans=1, num_classes=0)\\n"
        "model.load_state_dict(torch.load(folder + '/w.pt', weights_only=True))"
    )

FORMAT = ExportFormat("plain", "a state dict", write=write)
"""
ENCODER = """
def build(input_shape, width=4):
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[0] * input_shape[1] * input_shape[2], width))
"""
BROKEN = "raise RuntimeError('imported')"


@pytest.fixture
def add(make_plugin):
    """Install a plugin that adds one entry of a kind."""

    def install(distribution, kind, name, attribute, code, **options):
        entries = {name: f"{distribution.replace('-', '_')}:{attribute}"}
        return make_plugin(distribution, entries, code=code, group=GROUPS[kind], **options)

    return install


def test_a_plugins_format_is_written_and_checked(add, run):
    """As the core's are: its code is run in a fresh process, and its outputs are compared."""
    add("plain-plugin", "exporter", "plain", "FORMAT", EXPORTER)
    result = ssl_registry.export(run, format="plain")
    assert result.difference < 1e-5
    assert set(result.files) == {"config.json", "w.pt"}


def test_an_unknown_format_is_answered_with_those_of_plugins(add, run):
    """The list has them, and nothing is imported to make it."""
    add("bad-plugin", "exporter", "plain", "FORMAT", BROKEN)
    with pytest.raises(ConfigError, match=r"Did you mean 'plain'.*Known: timm, hf, torch, onnx, plain"):
        ssl_registry.export(run, format="plane")
    with pytest.raises(PluginError, match=r"bad-plugin 1.0 fails to import"):
        ssl_registry.export(run, format="plain")


def test_a_plugins_backbone_is_built_and_reopened(add):
    """By its name, with the shape of a sample and the user's arguments."""
    add("net-plugin", "backbone", "tiny_net", "build", ENCODER)
    model = registry.create("byol", backbone="tiny_net", input_shape=(1, 8, 8), backbone_kwargs={"width": 6})
    assert model.feature_dim == 6
    assert model.backbone_record.name == "tiny_net"
    assert registry.create("byol", backbone="tiny_net", image_size=8).input_shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (BROKEN, PluginError, "net-plugin 1.0 fails to import"),
        ("build = 3", PluginError, "is a int, not a callable that builds"),
        ("def build(input_shape): return 3", BackboneError, "gives a int, not an nn.Module"),
        ("def build(input_shape): raise ValueError('too small')", BackboneError, "too small"),
    ],
)
def test_a_faulty_backbone_is_told(code, error, words, add):
    """Whatever the entry point names, and whatever it gives."""
    add("net-plugin", "backbone", "tiny_net", "build", code)
    with pytest.raises(error) as told:
        registry.create("byol", backbone="tiny_net", input_shape=(1, 8, 8))
    assert words in str(told.value)


def test_timms_backbone_wins_over_a_plugins(add, capsys):
    """A plugin does not change what a known name means."""
    add("net-plugin", "backbone", "resnet18", "build", BROKEN)
    add("own-plugin", "backbone", "own_net", "build", BROKEN, version="2.0")
    assert main(["backbones", "*", "--json"]) == 0
    origins = json.loads(capsys.readouterr().out)
    assert origins["resnet18"].startswith("timm ")
    assert origins["signal_encoder"].startswith("ssl-registry ")
    assert origins["own_net"] == "own-plugin 2.0"
    assert registry.create("byol", backbone="resnet18", image_size=32).feature_dim == 512


def test_list_shows_what_plugins_add(add, capsys):
    """In a block of its own for people, as rows with their kind for programs; nothing is imported."""
    add("odd-plugin", "source", "odd", "KIND", BROKEN, version="2.3")
    add("plain-plugin", "exporter", "timm", "FORMAT", BROKEN)
    assert main(["list", "--json"]) == 0
    rows = {(row["kind"], row["name"]): row for row in json.loads(capsys.readouterr().out)}
    assert rows["source", "odd"]["status"] == "ok"
    assert rows["exporter", "timm"]["status"] == "conflict"
    assert rows["method", "byol"]["status"] == "ok"
    assert main(["list"]) == 0
    methods, others = capsys.readouterr().out.split("Plugins also add:")
    assert "odd-plugin" not in methods
    assert all(word in others for word in ("odd", "source", "odd-plugin", "2.3"))
    assert "odd_plugin" not in sys.modules


@pytest.mark.parametrize("kind", ["source", "exporter", "backbone"])
def test_doctor_and_check_name_a_broken_one(kind, add, capsys, monkeypatch, nothing_installed):
    """Each kind is imported apart, and told with its distribution and the cause."""
    site = add("bad-plugin", kind, "bad", "ENTRY", BROKEN, version="1.5")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    assert main(["doctor"]) == 1
    assert f"{kind} bad (bad-plugin 1.5): broken: bad: bad-plugin 1.5 fails to import" in capsys.readouterr().out
    assert main(["list", "--check", "--json"]) == 1
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["status"] == "broken"]
    assert "RuntimeError: imported" in row["problem"]


def test_lists_of_the_environment_hold_for_every_kind(add, monkeypatch):
    """A blocked source is told as such, and refused."""
    add("odd-plugin", "source", "odd", "KIND", BROKEN)
    monkeypatch.setenv("SSL_REGISTRY_BLOCK", "odd-plugin")
    (info,) = TABLES["source"].entries()
    assert info.status == "blocked"
    with pytest.raises(PluginError, match="unset it to use this source"):
        TABLES["source"].get("odd")


def test_one_name_in_two_kinds_is_no_conflict(add):
    """A source and a format may share a name."""
    add("odd-plugin", "source", "odd", "KIND", BROKEN)
    add("odd-format", "exporter", "odd", "FORMAT", BROKEN)
    assert [(info.kind, info.status) for info in discover(["source", "exporter"])] == [
        ("source", "ok"),
        ("exporter", "ok"),
    ]


def test_thirty_plugins_are_listed_without_an_import(tmp_path, monkeypatch):
    """Of every kind, by metadata alone; benchmarks/startup.py measures the time."""
    for number in range(30):
        info = tmp_path / f"crowd_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: crowd-{number}\nVersion: 1.0\nSummary: x\n")
        group = list(GROUPS.values())[number % 4]
        (info / "entry_points.txt").write_text(f"[{group}]\ncrowd{number} = crowd_{number}:entry\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    code = (
        "import sys; from ssl_registry.cli import main; main(['list']);"
        "sys.exit(repr([m for m in sys.modules if m in ('torch', 'pydantic') or m.startswith('crowd')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
    assert all(f"crowd-{number} " in done.stdout for number in range(30))


def test_every_kind_has_a_table():
    """Methods have the registry."""
    assert {*TABLES, "method"} == set(GROUPS)
    assert {info.kind for info in list_entries()} == {"method"}
