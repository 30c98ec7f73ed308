"""What can be seen of a method before it trains."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from typing import Any

import torch
import yaml
from torch import nn

from ssl_registry._system.options import parse_options
from ssl_registry.contract.config import MethodConfig
from ssl_registry.errors import ConfigError, SSLRegistryError
from ssl_registry.testing.check import CheckFailure, NotApplicable, check
from ssl_registry.testing.subject import Subject, loader

# An identifier or a link: a name and a year alone cannot be looked up.
PAPER = re.compile(r"arxiv[:\s/.]*(abs/)?\d{4}\.\d{4,5}|10\.\d{4,}/\S+|https?://\S+", re.IGNORECASE)


@check()
def documentation(subject: Subject) -> None:
    """The class cites its paper, and every option of its own says what it does.

    Why: `ssl-registry show` prints both; a user can neither choose nor cite a method that does not say what it is.
    Usual cause: a docstring with a name and a year but no identifier, a Field without a description.
    """
    words = inspect.getdoc(subject.method_class) or ""
    if not words.strip():
        raise CheckFailure("the class has no docstring; say in its first line what it is, and cite the paper")
    if not PAPER.search(words):
        raise CheckFailure("the class's docstring cites no paper; add arXiv:..., a DOI or a link")
    for name, field in subject.method_class.Config.model_fields.items():
        if not (field.description or "").strip():
            raise CheckFailure(f"option {name} has no description; write {name}: ... = Field(..., description=...)")


@check()
def config_round_trip(subject: Subject) -> None:
    """The options survive JSON and YAML, and mean the same when they are read again.

    Why: checkpoints, run folders and `--config` hold options as text; what does not come back equal trains another
    model than the one that was saved.
    Usual cause: a validator that changes a value each time it sees it, or a type that text does not have.
    """
    config_class = subject.method_class.Config
    options = {key: value for key, value in subject.options.items() if key in config_class.model_fields}
    config: MethodConfig = parse_options(config_class, options, owner=subject.name)
    try:
        plain = config.model_dump(mode="json")
        texts = {"JSON": json.loads(json.dumps(plain)), "YAML": yaml.safe_load(yaml.safe_dump(plain))}
    except Exception as error:  # pydantic and PyYAML each raise their own kinds
        raise CheckFailure(f"the options cannot be written as text: {error}") from error
    for form, values in texts.items():
        try:
            again = parse_options(config_class, values, owner=subject.name)
        except ConfigError as error:
            raise CheckFailure(f"the options do not come back from {form}: {error}") from error
        for key in config_class.model_fields:
            if getattr(again, key) != getattr(config, key):
                raise CheckFailure(
                    f"option {key}={getattr(config, key)!r} comes back from {form} as {getattr(again, key)!r}"
                )


LISTING = """
import sys
from ssl_registry import registry
(info,) = [info for info in registry.methods() if info.qualified == sys.argv[1]]
package = info.target.partition(":")[0].partition(".")[0]
print([name for name in ("torch", package) if name in sys.modules])
"""


@check()
def listing(subject: Subject) -> None:
    """It is listed from metadata alone: nothing of it is imported, and its requirement on the core is stated.

    Why: a list that imports plugins takes seconds, and one broken plugin takes the list with it; without a
    requirement, a plugin for another core fails in the midst instead of saying so.
    Usual cause: a pyproject.toml without `ssl-registry` in its dependencies or without a description.
    """
    info = subject.registry.info(subject.name)
    if info.distribution is None:
        raise NotApplicable("it is registered in this process, not installed")
    for word, value in (("description", info.summary), ("version", info.version)):
        if not value.strip():
            raise CheckFailure(f"{info.distribution} has no {word}; add one to its pyproject.toml")
    if not info.requires:
        raise CheckFailure(
            f'{info.distribution} does not say which core it needs; add dependencies = ["ssl-registry>=..."]'
        )
    done = subprocess.run([sys.executable, "-c", LISTING, info.qualified], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailure(f"listing it fails: {(done.stderr.strip().splitlines() or ['without a word'])[-1]}")
    if done.stdout.strip() != "[]":
        raise CheckFailure(f"listing it imports {done.stdout.strip()} or prints; a list must run no plugin code")


@check()
def construction(subject: Subject) -> None:
    """Building a model twice gives two that share nothing, are alike for one seed, and leave the backbone alone.

    Why: a module that two models share trains with both; state on the method's instance is in no checkpoint.
    Usual cause: a module as a class attribute or default argument, `self.something = ...` in `__init__`, a target
    that is the backbone instead of a copy, a `backbone.eval()` or `requires_grad_` in `build_heads`.
    """
    given = subject.backbone()
    flags = [(name, part.training) for name, part in given.named_modules()]
    before = {key: value.clone() for key, value in given.state_dict().items()}
    model, twin = subject.model(backbone=given), subject.model()
    _holds_config_alone(model.method)
    if given is not model.backbone or any(
        not torch.equal(value, before.get(key, value.new_empty(0))) for key, value in given.state_dict().items()
    ):
        raise CheckFailure("build_heads changed the backbone's weights; copy the backbone, do not change it")
    if flags != [(name, part.training) for name, part in given.named_modules()]:
        raise CheckFailure("build_heads put the backbone in another mode; give back the mode that you found")
    if frozen := [name for name, p in given.named_parameters() if not p.requires_grad]:
        raise CheckFailure(f"build_heads froze the backbone's {frozen[0]}; freezing is frozen_modules' business")
    own, shared = _parts(model.backbone), _parts(model.heads)
    if both := own.keys() & shared.keys():
        name = shared[both.pop()]
        raise CheckFailure(f"heads.{name} is the backbone's own tensor; copy it (copy.deepcopy(backbone))")
    theirs = _parts(twin.heads)
    if both := shared.keys() & theirs.keys():
        name = shared[both.pop()]
        raise CheckFailure(f"two models share heads.{name}; build it anew in build_heads, not once for the class")
    before_fit = _class_state(model.method)
    subject.fit(model, max_steps=2, max_epochs=-1)
    _holds_config_alone(model.method)
    if changed := [name for name, value in _class_state(model.method).items() if before_fit.get(name, value) != value]:
        raise CheckFailure(
            f"training changes {changed[0]!r} of the method's class, which no checkpoint has and all models share; "
            "what must survive a restart belongs into a buffer of a head"
        )
    torch.rand(())  # the process's own random numbers must not matter
    other = subject.model().heads.state_dict()
    for key, value in twin.heads.state_dict().items():
        if key not in other or not _alike(value, other[key]):
            raise CheckFailure(f"heads.{key} differs between two models of one seed; draw it with torch, unseeded")


def _holds_config_alone(method: Any) -> None:
    if extra := sorted(vars(method).keys() - {"config"}):
        raise CheckFailure(
            f"the method's instance holds {extra[0]!r} besides config; what must survive a restart belongs into a "
            "buffer of a head, the rest is computed from config"
        )


def _class_state(method: Any) -> dict[str, str]:
    """Return what a method's class holds beside functions, as text."""
    kept = {name: value for cls in type(method).__mro__[:-1] for name, value in vars(cls).items()}
    return {name: repr(value) for name, value in kept.items() if not name.startswith("__") and not callable(value)}


def _parts(module: nn.Module) -> dict[int, str]:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return {id(tensor): name for name, tensor in tensors}


def _alike(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


@check()
def overrides(subject: Subject) -> None:
    """A head that the user gives is used, even one that is empty, and so false.

    Why: an `nn.Sequential()` is how one leaves a head out, and `overrides.get(name) or default` throws it away.
    Usual cause: that very line; use `overrides.take(name, lambda: default)`.
    """
    heads = subject.model().heads
    taken = 0
    for name in heads:
        if isinstance(heads[name], nn.ModuleList | nn.ModuleDict):
            continue  # an empty list of heads is a mistake that a method may refuse
        given = nn.Sequential()
        try:
            head: dict[str, Any] = {name: given}
            model = subject.model(**head)
        except SSLRegistryError:
            continue  # not a head that can be given, or refused with a reason
        taken += 1
        if not any(part is given for part in model.heads.modules()):
            raise CheckFailure(
                f"{name}=nn.Sequential() is thrown away; an empty one is false: overrides.take({name!r}, lambda: ...)"
            )
    if not taken:
        raise NotApplicable("none of its heads can be given as an empty nn.Sequential")


@check()
def odd_sizes(subject: Subject) -> None:
    """A backbone of another width, on samples of another shape, trains as well.

    Why: heads that are hard-wired to one width, and widths that are probed with a zero image of one shape, make a
    method useless on every other backbone.
    Usual cause: a number in `build_heads` where `feature_dim` or `input_shape` belongs.
    """
    shapes: dict[str, tuple[int, ...]] = {"image": (2, 12, 12), "signal": (3, 20), "table": (10,)}
    shape = shapes[subject.modality]
    model = subject.model(backbone=subject.backbone(shape, features=13), input_shape=shape)
    x = torch.rand(24, *shape, generator=torch.Generator().manual_seed(0))
    starts = range(0, len(x), 8)
    data = loader([{"x": x[start : start + 8], "indices": torch.arange(start, start + 8)} for start in starts])
    try:
        subject.fit(model, data=data)
    except (RuntimeError, ValueError, IndexError) as error:
        raise CheckFailure(
            f"it does not train on a backbone of 13 features over samples of shape {shape}: {error}"
        ) from error
