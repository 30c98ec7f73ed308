"""Every mistake in a method's class is an error at creation that names class, source and right name."""

from __future__ import annotations

import pytest
from torch import nn

from ssl_registry import MethodConfig, Registry, hookimpl
from ssl_registry.contract.validation import bind, check_method_class, implemented_hooks
from ssl_registry.errors import ContractError


class Good:
    """A method that does as little as it may."""

    class Config(MethodConfig):
        """No options."""

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim):
        return {"head": nn.Linear(feature_dim, 2)}

    @hookimpl
    def compute_loss(self, model, views):
        return model.heads["head"](model(views[0])).square().mean()


def refused(cls, match):
    with pytest.raises(ContractError, match=match) as caught:
        check_method_class(cls, source="dist 1.0")
    assert "dist 1.0" in str(caught.value)


def test_a_good_class_passes():
    """The smallest method is accepted, and its hooks are known."""
    assert check_method_class(Good, source="dist 1.0") is Good
    assert implemented_hooks(Good) == {"build_heads", "compute_loss"}


def test_forgotten_hookimpl():
    """A function with a hook's name but no mark would never be called."""

    class Forgot(Good):
        def on_step_end(self, model):
            pass

    refused(Forgot, "on_step_end is a hook but is not marked; add @hookimpl")


def test_override_without_hookimpl():
    """Overriding a marked hook without the mark would switch it off."""

    class Forgot(Good):
        def compute_loss(self, model, views):
            return 0

    refused(Forgot, "compute_loss is a hook but is not marked")


def test_misspelt_hook():
    """A marked function that is no hook is answered with the nearest one."""

    class Misspelt(Good):
        @hookimpl
        def on_steps_end(self, model):
            pass

    refused(Misspelt, "no hook 'on_steps_end'. Did you mean 'on_step_end'")


@pytest.mark.parametrize("modality", [staticmethod, classmethod])
def test_misspelt_static_and_class_methods(modality):
    """Decorators of Python's own do not hide the mistake."""

    class Misspelt(Good):
        on_steps_end = modality(hookimpl(lambda model: None))

    refused(Misspelt, "no hook 'on_steps_end'")


def test_wrong_argument():
    """An argument that the hook does not have is answered with the nearest one."""

    class Wrong(Good):
        @hookimpl
        def on_step_end(self, modell):
            pass

    refused(Wrong, r"no argument 'modell'. Did you mean 'model'.*model, ctx")


async def awaited(self, model):
    pass


def yields(self, model):
    yield


def behind_a_star(self, *, model):
    pass


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (awaited, "on_step_end is an async function, which nothing awaits"),
        (yields, "on_step_end has a yield, so a call of it runs nothing"),
        (behind_a_star, r"on_step_end takes 'model' behind a \*"),
    ],
)
def test_a_function_that_would_not_run(function, words):
    """What a plain call would leave undone, or could not be called with."""
    refused(type("Odd", (Good,), {"on_step_end": hookimpl(function)}), words)


def test_an_observer_may_wrap():
    """A wrapper yields by right."""

    class Wraps(Good):
        @hookimpl(wrapper=True)
        def on_step_end(self, model):
            return (yield)

    assert check_method_class(Wraps, source="dist 1.0") is Wraps


@pytest.mark.parametrize("missing", ["build_heads", "compute_loss"])
def test_missing_required_hook(missing):
    """Both required hooks are asked for by name."""
    cls = type("Lacking", (Good,), {missing: None})
    refused(cls, f"lacks the required hook {missing}")


def test_no_config():
    """The message shows the line to write."""
    refused(type("NoConfig", (Good,), {"Config": dict}), r"class Config\(MethodConfig\)")


def test_option_without_default():
    """`create` and `show` must work without arguments."""

    class Config(MethodConfig):
        width: int

    refused(type("Needs", (Good,), {"Config": Config}), "give Config.width a default")


def test_option_that_create_takes():
    """An option named like an argument of `create` could never be set."""

    class Config(MethodConfig):
        backbone: str = "x"

    refused(type("Clash", (Good,), {"Config": Config}), "rename Config.backbone")


def test_module_class():
    """A method is not an nn.Module."""
    refused(type("Network", (nn.Module,), {}), "is an nn.Module; a method is a plain class")


def test_instance():
    """An entry point that leads to an instance is told so."""
    with pytest.raises(ContractError, match="a method is a class"):
        check_method_class(Good(None), source="dist 1.0")


def test_each_model_has_its_own_manager():
    """Two methods never meet in one plugin manager."""
    first, second = bind(Good(None)), bind(Good(None))
    assert first is not second
    assert len(first.get_plugins()) == len(second.get_plugins()) == 1


def test_observer_is_called_beside_the_method():
    """A hook that collects from all reaches observers."""
    seen = []

    class Watch:
        @hookimpl
        def on_step_end(self, ctx):
            seen.append(ctx)

    bind(Good(None), [Watch()]).hook.on_step_end(model=None, ctx=7)
    assert seen == [7]


def test_observer_cannot_answer_for_the_method():
    """A first-result hook of an observer is refused unless it wraps."""

    class Capture:
        @hookimpl
        def compute_loss(self, model):
            return 0

    with pytest.raises(ContractError, match="compute_loss has one answer"):
        bind(Good(None), [Capture()])


def test_observer_may_wrap():
    """A wrapper sees the method's answer and may change it knowingly."""

    class Double:
        @hookimpl(wrapper=True)
        def should_stop(self):
            return not (yield)

    class Stops(Good):
        @hookimpl
        def should_stop(self):
            return False

    assert bind(Stops(None), [Double()]).hook.should_stop(model=None, ctx=None) is True


def test_registering_checks_the_contract():
    """`register` refuses what `create` would."""
    with pytest.raises(ContractError, match="lacks the required hook"):
        Registry(entry_points=False).register("x", type("X", (Good,), {"compute_loss": None}))
