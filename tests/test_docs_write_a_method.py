"""The guide for authors is followed word by word: every block of code and every command that needs no network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

from ssl_registry import Registry
from ssl_registry.testing import check_method

GUIDE = (Path(__file__).parents[1] / "docs/write-a-method.md").read_text()
BLOCKS = re.findall(r"```(python|sh)\n(.*?)```", GUIDE, flags=re.DOTALL)


def code(start):
    """Return the Python blocks from the one that begins so to the end of its section, joined."""
    blocks = [text for language, text in BLOCKS if language == "python"]
    first = next(number for number, text in enumerate(blocks) if text.startswith(start))
    return blocks[first:]


# What takes the place of a build environment that pip would download.
OFFLINE = "--no-build-isolation --no-deps"
METHOD = code('"""The method."""')
TESTS = code('"""The conformance kit on VICReg')
REFERENCE = code('"""VICReg\'s loss from the paper')
METHOD = METHOD[: len(METHOD) - len(REFERENCE)]
REFERENCE = REFERENCE[: len(REFERENCE) - len(TESTS)]


def commands():
    return [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]


@pytest.fixture
def guide(tmp_path, monkeypatch):
    """An empty folder in which the guide's files are written, with a shell that finds this Python's commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    path = [str(tmp_path / "site"), str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))

    def run(command):
        if command.startswith("pip install") and "-e ." not in command:
            return  # it needs a network; all of it is installed
        command = command.replace("-e .", f"{OFFLINE} --quiet --target site --upgrade .").replace("/tmp/", "runs/")
        command = re.sub(r"^(pip|python|pytest)\b", lambda word: f"{sys.executable} -m {word[1]}", command)
        command = command.replace(f"{sys.executable} -m python", sys.executable)
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"

    return run


# What the shorter examples of the guide leave out: the class around their hooks.
AROUND = """
import math
from functools import partial
import torch
from torch import nn
from torch.nn import functional as F
from ssl_registry import MethodConfig, Needs, Reconstruction, hookimpl
from ssl_registry.nn import *
from ssl_registry.views import ImageView, ViewPolicy

# As small as the network: the default is MAE's decoder, eight blocks of width 512.
TokenDecoder = partial(TokenDecoder, dim=16, depth=1, num_heads=2)

class Sketch:
    '''A sketch (arXiv:2104.02057).'''

    class Config(MethodConfig):
        '''None.'''

    def __init__(self, config):
        self.config = config

"""
TEACHER, TOKENS, PICTURE, INDICES = re.findall(r"```py\n(.*?)```", GUIDE, flags=re.DOTALL)
SKETCHES = {"teacher": TEACHER, "tokens": TOKENS, "picture": f"{TOKENS}\n\n{PICTURE}", "indices": INDICES}
SIZES = {"backbone": "vit_tiny_patch16_224", "image_size": 16, "num_samples": 300}
SMALL = {"patch_size": 4, "depth": 1, "embed_dim": 24, "num_heads": 3}


@pytest.mark.parametrize("name", SKETCHES)
def test_each_sketch_is_a_method(name):
    """A teacher, tokens, and a number for each sample: the shorter examples train, repeat, and validate.

    The picture is one more hook of the method on tokens, and is looked at by itself.
    """
    scope = {}
    exec(AROUND + indent(SKETCHES[name], "    "), scope)
    registry = Registry(entry_points=False)
    registry.register("sketch", scope["Sketch"])
    only = ["step_end", "resuming", "validating", "learns_images", "gradients"]
    if name == "picture":
        only = ["reconstructing"]
    options = {**SIZES, "backbone_kwargs": SMALL, "learning_rate": 1e-3}
    results = check_method("sketch", only=only, options=options, registry=registry)
    assert {result.check: result.status for result in results} == dict.fromkeys(only, "passed"), results


@pytest.mark.slow
def test_guide_works_word_by_word(guide, tmp_path):
    """From the empty folder to a built distribution, in the order of the text."""
    for command in commands():
        if "pytest -q" in command:
            (tmp_path / "ssl_registry_my_vicreg/method.py").write_text("\n\n".join(METHOD))
            (tmp_path / "ssl_registry_my_vicreg/reference.py").write_text("".join(REFERENCE))
            (tmp_path / "tests/test_ssl_registry_my_vicreg.py").write_text("".join(TESTS))
            guide("pip install -e .")
        if "-m build" in command:
            command = "pip wheel --no-deps --no-build-isolation -w dist ."  # `build` wants a network
        guide(command)
    assert list((tmp_path / "dist").glob("ssl_registry_my_vicreg-0.1.0-*.whl"))


def test_guides_method_is_the_plugin():
    """The guide and the plugin give the same loss."""
    import torch
    from ssl_registry_vicreg import VICReg

    from ssl_registry import Registry

    scope = {"__name__": "guide"}
    exec("\n".join(METHOD).replace("from __future__ import annotations\n", ""), scope)
    registry = Registry(entry_points=False)
    registry.register("guide", scope["MyVicreg"])
    registry.register("plugin", VICReg)
    losses = []
    for name in ("guide", "plugin"):
        torch.manual_seed(0)
        model = registry.create(name, backbone=torch.nn.Linear(4, 6), input_shape=(4,), seed=0, projection_dim=8)
        views = [torch.randn(16, 4, generator=torch.Generator().manual_seed(n)) for n in range(2)]
        context = model._context(0)
        losses.append(model.hook.compute_loss(model=model, views=views, ctx=context)["loss"].item())
    assert losses[0] == pytest.approx(losses[1])


def test_guides_own_tests_pass(monkeypatch):
    """The equations' tests of section 4, on the loss of section 2."""
    scope = {"__name__": "guide"}
    exec(METHOD[0].replace("from __future__ import annotations\n", ""), scope)
    text = "".join(TESTS)
    for name in re.findall(r"def (test_(?:variance|covariance)\w*)", text):
        body = text[text.index(f"def {name}") :].partition("\n\n\n")[0]
        exec(f"import pytest\n{body}", scope)
        scope[name]()


def test_links_lead_somewhere():
    """Every relative link is a file of the repository."""
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", re.sub(r"```.*?```", "", GUIDE, flags=re.DOTALL)):
        assert (Path(__file__).parents[1] / "docs" / path.partition("#")[0]).exists(), path
