"""Whatever a user writes, he gets a result or one of our errors; Hypothesis looks for a traceback."""

from __future__ import annotations

import contextlib
import io
import json
from types import SimpleNamespace

import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ssl_registry_byol import BYOL
from ssl_registry_lfr import LFR
from ssl_registry_simclr import SimCLR
from torch import nn

from ssl_registry import registry
from ssl_registry._system.options import parse_options
from ssl_registry.cli import main
from ssl_registry.errors import SSLRegistryError
from ssl_registry.model.batches import read_batch

# Fixtures hold for all examples of a test, as they should here; how long one takes depends on the machine.
LENIENT = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
METHODS = [BYOL, SimCLR, LFR]
NUMBERS = st.one_of(
    *(st.integers(), st.floats(), st.booleans(), st.none()),
    *(st.sampled_from([0, 1, -1, 0.5, 1e308, 2**63, 10**30, "1", "nan"]), st.text(max_size=8)),
)
NESTED = {"max_size": 3}
VALUES = st.recursive(
    NUMBERS,
    lambda inner: st.lists(inner, **NESTED) | st.dictionaries(st.text(max_size=5), inner, **NESTED),
    max_leaves=5,
)


def cases(count):
    """The settings of a test that tries ``count`` cases, the same in every run."""
    return settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=LENIENT)


# --- options ----------------------------------------------------------------------------------------------


@cases(300)
@given(data=st.data())
def test_options(data):
    """Right or wrong options: a config that survives JSON and YAML, or a ConfigError."""
    cls = data.draw(st.sampled_from(METHODS))
    names = st.one_of(st.sampled_from([*cls.Config.model_fields]), st.text(max_size=10))
    options = data.draw(st.dictionaries(names, VALUES, max_size=4))
    try:
        config = parse_options(cls.Config, options, owner="method")
        cls(config)
    except SSLRegistryError:
        return
    plain = config.model_dump(mode="json")
    assert cls.Config(**json.loads(json.dumps(plain))) == config
    assert cls.Config(**yaml.safe_load(yaml.safe_dump(plain))) == config


# --- batches ----------------------------------------------------------------------------------------------

DTYPES = [torch.float32, torch.float64, torch.float16, torch.uint8, torch.int64, torch.bool]
SIDES = st.sampled_from([0, 1, 2, 3, 8])


@st.composite
def tensors(draw):
    """A small tensor of any type, number of axes and values."""
    shape = draw(st.lists(SIDES, max_size=5))
    fill = draw(st.sampled_from([0.0, 0.5, 1.0, -1.0, 300.0, float("nan"), float("inf")]))
    dtype = draw(st.sampled_from(DTYPES))
    return torch.full(shape, fill if dtype.is_floating_point else 1).to(dtype)


LEAVES = st.one_of(tensors(), st.none(), st.integers(), st.text(max_size=3))
BATCHES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["x", "image", "views", "label"]), inner, max_size=2),
    ),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def models():
    """One model for images, signals and tables each."""
    shapes = [(3, 8, 8), (3, 8), (8,)]
    return [
        registry.create(
            "simclr",
            backbone=nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 4)),
            input_shape=shape,
            projection_dim=4,
        )
        for shape in shapes
    ]


@cases(150)
@given(batch=BATCHES, number=st.integers(0, 2))
@example(batch=torch.full((2, 3, 8, 8), float("nan")), number=0)
@example(batch=torch.ones(1, 3, 8, 8), number=0)
def test_batches(models, batch, number):
    """A batch of any form: features and a loss, or a BatchError that shows it."""
    model = models[number].train()
    try:
        views = read_batch(batch, model.input_shape)
        assert model.predict_step(batch).shape == (len(views[0]), 4)
        loss, _ = model.batch_loss(batch, 0)
    except SSLRegistryError:
        return
    assert loss.ndim == 0


# --- command lines ----------------------------------------------------------------------------------------

# No letters of paths: whatever is written stays in the test's own folder.
WORD = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/\\~\0"), max_size=8)


def run(argv):
    """Run a command line as a shell would, and return its exit code and what it says."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(argv)
        except SystemExit as done:  # argparse's --help and --print_config
            code = done.code or 0
    return code, out.getvalue(), err.getvalue()


def check(argv):
    """No traceback, a known exit code, and a mistake is one line."""
    code, _, err = run(argv)
    assert code in (0, 1, 2), (argv, err)
    if code == 2:
        assert len(err.strip().splitlines()) == 1, (argv, err)
        assert err.startswith("ssl-registry "), (argv, err)


QUICK = {
    "list": ["--json", "--check", "--timeout", "--help"],
    "show": ["byol", "simclr", "lfr", "--json", "ssl-registry-byol:byol", "--help"],
    "backbones": ["resnet1*", "*", "[", "--help"],
    "new": ["my-method", "byol", "--out", "--help"],
    "doctor": ["--json", "--out", "--timeout", "1", "--help"],
}


@cases(120)
@given(data=st.data())
def test_quick_commands(data, tmp_path, monkeypatch):
    """Commands with right and wrong words in any order."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ssl_registry.cli.entries.import_problem", lambda info, timeout: "")
    command = data.draw(st.sampled_from([*QUICK]) | WORD)
    words = st.one_of(st.sampled_from(QUICK.get(command, ["--help"])), WORD)
    check([command, *data.draw(st.lists(words, max_size=4))])


OPTIONS = [
    "--epochs",
    "--batch_size",
    "--seed",
    "--image_size",
    "--data",
    "--backbone",
    "--learning_rate",
    "--config",
    "--temperature",
    "--knn",
    "--workers",
    "--trainer.max_steps",
    "--trainer.precision",
    "--trainer.devices",
    "--trainer",
    "--optimizer_kwargs",
    "--backbone_kwargs",
    "--low_resolution",
    "--warmup_steps",
    "--modality",
]
WRITTEN = ["0", "1", "-1", "2.5", "nan", "1e400", "true", "null", "[1", "{a: 1}", "{", "resnet18", "digits"]


def training_line(data):
    """Draw the words of a `train` command: known options with right and wrong values, and noise."""
    words = ["train", data.draw(st.sampled_from(["byol", "simclr", "lfr"]))]
    for _ in range(data.draw(st.integers(0, 3))):
        words.append(data.draw(st.sampled_from(OPTIONS) | WORD.map("--{}".format)))
        words += data.draw(st.lists(st.sampled_from(WRITTEN) | WORD, max_size=2))
    return words


def try_training_lines(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = SimpleNamespace(warning=None, diverged=False)
    monkeypatch.setattr("ssl_registry.workflows.train.train", lambda *words, **more: done)
    check(training_line(data))


@cases(40)
@given(data=st.data())
def test_training_lines(data, tmp_path, monkeypatch):
    """The parser of `train`, which does not train here."""
    try_training_lines(data, tmp_path, monkeypatch)


@pytest.mark.slow
@cases(500)
@given(data=st.data())
def test_more_training_lines(data, tmp_path, monkeypatch):
    """The same, at length."""
    try_training_lines(data, tmp_path, monkeypatch)


# --- runs -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@cases(60)
@given(
    method=st.sampled_from(["byol", "simclr", "lfr"]),
    shape=st.lists(st.sampled_from([1, 2, 3, 5, 16]), min_size=1, max_size=4),
    dtype=st.sampled_from(["float32", "uint8", "int64", "bool"]),
    batch_size=st.sampled_from([1, 2, 7, 10**9]),
    steps=st.sampled_from([-1, 0, 1, 2]),
    seed=st.sampled_from([0, 1, 2**40, -1]),
)
def test_tiny_runs(method, shape, dtype, batch_size, steps, seed, tmp_path_factory, monkeypatch):
    """Arrays of any shape through a whole training: a run, or one line."""
    folder = tmp_path_factory.mktemp("run")
    monkeypatch.chdir(folder)
    torch.save((torch.rand(shape) * 2).to(getattr(torch, dtype)), "x.pt")
    argv = ["train", method, "--data", "x.pt", "--batch_size", str(batch_size), "--seed", str(seed), "--out", "run"]
    argv += ["--trainer.max_steps", str(steps), "--epochs", "1", "--report", "false"]
    check(argv)
