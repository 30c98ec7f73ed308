"""Values of the optimizer that change with the step: schedules of the config, and what the method says."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import SaveAt, Tiny, fit, make, rows

from ssl_registry import hookimpl
from ssl_registry.errors import ConfigError, ContractError


class Watch:
    """Notes a value of each group at every step."""

    def __init__(self, key):
        self.key = key
        self.seen = []

    @hookimpl
    def on_step_end(self, model):
        groups = model.trainer.optimizers[0].param_groups
        self.seen.append({group["name"]: group[self.key] for group in groups})


class Grouped(Tiny):
    """Three groups, of which one states its own values; `told` is what the method says in a step."""

    told: dict | None = None

    @hookimpl
    def param_groups(self, model):
        return [
            {"params": model.backbone.parameters(), "name": "backbone"},
            {"params": model.heads["head"][0].parameters(), "name": "head"},
            {"params": model.heads["head"][2].parameters(), "name": "last", "lr": 0.5, "weight_decay": 0.3},
        ]

    @hookimpl
    def optimizer_values(self, ctx):
        return self.told(ctx) if callable(self.told) else self.told


def saying(told):
    return type("Saying", (Grouped,), {"told": staticmethod(told) if callable(told) else told})


def seen(cls, key, *, steps=4, **options):
    watch = Watch(key)
    fit(make(cls, observers=[watch], **options), max_steps=steps, max_epochs=-1)
    return watch.seen


def test_a_group_has_what_the_method_says():
    """A function of the step; the first step has the value of step 0."""
    found = seen(saying(lambda ctx: {"head": {"lr": 0.01 * (ctx.step + 1)}}), "lr")
    assert [step["head"] for step in found] == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert {step["backbone"] for step in found} == {0.1}


def test_all_groups_but_where_they_state_their_own():
    """What is said of one wins over what is said of all, in whatever order."""
    cls = saying({"head": {"lr": 0.2}, "all": {"lr": 0.3, "weight_decay": 0.7}})
    assert seen(cls, "lr")[-1] == {"backbone": 0.3, "head": 0.2, "last": 0.5}
    assert seen(cls, "weight_decay")[-1] == {"backbone": 0.7, "head": 0.7, "last": 0.3}


def test_the_method_wins_over_the_schedule():
    """A group of its own keeps its rate while the others follow the cosine (SimSiam's predictor)."""
    found = seen(saying({"head": {"lr": 0.1}}), "lr", lr_schedule="cosine")
    assert {step["head"] for step in found} == {0.1}
    assert found[-1]["backbone"] < 0.1 * found[0]["backbone"] * 5
    assert [step["last"] / step["backbone"] for step in found] == pytest.approx([5.0] * 4)


@pytest.mark.parametrize(
    ("told", "match"),
    [
        ({"heads": {"lr": 0.1}}, "names the group 'heads'. Did you mean 'head'"),
        ({"head": {"rate": 0.1}}, "rate=0.1; numbers of this optimizer are: lr"),
        ({"head": {"lr": "0.1"}}, "lr='0.1'"),
        ({"head": 0.1}, "must return"),
        ([0.1], "must return"),
    ],
)
def test_what_the_optimizer_does_not_have(told, match):
    """Groups and values are named."""
    with pytest.raises(ContractError, match=match):
        seen(saying(told), "lr")


def test_weight_decay_follows_a_cosine():
    """From the first value towards the last over the run; groups without decay stay without."""
    found = seen(Tiny, "weight_decay", steps=5, weight_decay=0.04, final_weight_decay=0.4)
    expected = [0.4 + (0.04 - 0.4) * (1 + math.cos(math.pi * step / 5)) / 2 for step in range(5)]
    assert [step["decay"] for step in found] == pytest.approx(expected)
    assert {step["no_decay"] for step in found} == {0.0}


def test_weight_decay_of_its_own_stays():
    """A group that states one follows no schedule; those that state none do, also from zero."""
    found = seen(Grouped, "weight_decay", weight_decay=0.0, final_weight_decay=0.4)
    assert [step["last"] for step in found] == [0.3] * 4
    assert found[0]["backbone"] == 0
    assert found[-1]["backbone"] > 0.2


def test_weight_decay_needs_an_end():
    """A run without a limit has no cosine."""
    with pytest.raises(ConfigError, match="final_weight_decay needs a run with an end"):
        fit(make(Tiny, final_weight_decay=0.1), max_epochs=-1, max_time={"seconds": 1})


def test_the_learning_rate_has_a_floor():
    """The cosine ends there, and groups with a rate of their own end at the same share of it."""
    found = seen(Grouped, "lr", steps=6, lr_schedule="cosine", final_learning_rate=0.02)
    expected = [0.02 + (0.1 - 0.02) * (1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)]
    assert [step["backbone"] for step in found] == pytest.approx(expected)
    assert [step["last"] for step in found] == pytest.approx([5 * rate for rate in expected])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_a_resumed_run_has_the_same_values(tmp_path, optimizer):
    """Weights agree bit for bit with those of a run that was never stopped."""
    cls = saying(lambda ctx: {"head": {"lr": 0.1 / (1 + ctx.step), "weight_decay": 0.01 * ctx.step}})
    options = {
        "optimizer": optimizer,
        "weight_decay": 0.04,
        "final_weight_decay": 0.4,
        "lr_schedule": "cosine",
        "final_learning_rate": 0.01,
    }
    whole, resumed = make(cls, **options), make(cls, **options)
    fit(whole, rows(), callbacks=[SaveAt(5, tmp_path / "half.ckpt")])
    fit(resumed, rows(), tmp_path / "half.ckpt")
    assert resumed.trainer.global_step == 12
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
