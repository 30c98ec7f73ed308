"""LFR: projectors that never train, a choice that is made once, and the two schedules."""

from __future__ import annotations

import copy

import pytest
import torch
from lightning.pytorch import Trainer
from ssl_registry_lfr import BatchWiseBarlowTwinsLoss
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import hookimpl, registry
from ssl_registry.errors import ConfigError
from ssl_registry.nn import RepeatedModuleList

SMALL = {"num_candidates": 5, "num_targets": 2, "projection_dim": 4, "selection_batch_size": 8}


def make(**options):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 6))
    return registry.create("lfr", backbone=backbone, input_shape=(5,), seed=0, **SMALL | options)


def fit(model, samples=16, **arguments):
    if not isinstance(samples, torch.Tensor):
        samples = torch.randn(samples, 5, generator=torch.Generator().manual_seed(0))
    data = DataLoader(samples, batch_size=4)
    trainer = Trainer(
        **{"max_epochs": 2} | arguments,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    return trainer


def state(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(module, before):
    return all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


class Epochs:
    """Notes after each epoch's last step what has moved."""

    def __init__(self):
        self.states = {}

    @hookimpl
    def on_step_end(self, model, ctx):
        self.states[ctx.epoch] = {
            name: state(part) for name, part in {"backbone": model.backbone, **model.heads}.items()
        }

    def moved(self, name, epoch):
        before, after = self.states[epoch - 1][name], self.states[epoch][name]
        return any(not torch.equal(before[key], after[key]) for key in before)


def test_projectors_never_train():
    """No gradient, no place in the optimizer, and evaluation mode for ever, also after `.train()`."""
    projectors = nn.ModuleList(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout()) for _ in range(5))
    model = make(projectors=projectors)
    before = state(model.heads["projectors"])
    model.train()
    assert not any(module.training for module in model.heads["projectors"].modules())
    trainer = fit(model)
    assert same(model.heads["projectors"], before)
    optimized = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert not any(id(p) in optimized for p in model.heads["projectors"].parameters())


def test_choice_is_made_once():
    """A second fit keeps it, on other data and after new random numbers."""
    model = make()
    fit(model)
    first = model.heads["selection"].as_list()
    assert model.heads["selection"].is_chosen
    assert len(set(first)) == 2
    torch.manual_seed(99)
    fit(model, samples=12)
    assert model.heads["selection"].as_list() == first


def test_choice_comes_from_the_data():
    """Two candidates that are alike are never chosen together while a different one is there."""
    torch.manual_seed(0)
    one, other = nn.Linear(5, 4), nn.Linear(5, 4)
    model = make(projectors=nn.ModuleList([one, copy.deepcopy(one), other]))
    fit(model)
    assert model.heads["selection"].as_list() == [0, 2]


def test_always_as_many_as_told():
    """Candidates that are all alike still give two distinct targets."""
    one = nn.Linear(5, 4)
    model = make(projectors=nn.ModuleList(copy.deepcopy(one) for _ in range(4)))
    fit(model)
    assert len(set(model.heads["selection"].as_list())) == 2


@pytest.mark.parametrize("told", [None, -1, 5, 99])
def test_all_targets(told):
    """None, negative or too many: all of them, and nothing to choose."""
    model = make(num_targets=told)
    assert model.heads["selection"].as_list() == [0, 1, 2, 3, 4]
    fit(model, max_epochs=1)
    assert model.heads["selection"].as_list() == [0, 1, 2, 3, 4]


def test_no_targets():
    """Zero is a mistake."""
    with pytest.raises(ConfigError, match="num_targets=0"):
        make(num_targets=0)


def test_as_many_predictors_as_targets():
    """Candidates that are not chosen need none; each target keeps its own, in the order of choice."""
    model = make()
    assert len(model.heads["predictors"]) == 2
    model.heads["selection"].choose([4, 1])
    x = torch.randn(3, 5)
    predictions, targets = model.method.forward(model, x)
    for place, candidate in enumerate((4, 1)):
        torch.testing.assert_close(predictions[place], model.heads["predictors"][place](model(x)))
        torch.testing.assert_close(targets[place], model.heads["projectors"][candidate](x))


def test_predictors_of_the_users_for_the_targets_alone():
    """Five projectors to choose two from go with two predictors, which all train."""
    predictors = RepeatedModuleList(2, nn.Linear, 6, 4)
    model = make(projectors=RepeatedModuleList(5, nn.Linear, 5, 4), predictors=predictors, training="joint")
    before = state(predictors)
    fit(model, max_epochs=1)
    assert all(not torch.equal(before[key], value) for key, value in predictors.state_dict().items())


def test_unchosen_predictors_rest():
    """Of predictors of the user's, one for each candidate, only the chosen ones train."""
    predictors = RepeatedModuleList(5, nn.Linear, 6, 4)
    model = make(training="joint", predictor_training_epochs=None, weight_decay=0.1, predictors=predictors)
    before = state(model.heads["predictors"])
    fit(model)
    chosen = set(model.heads["selection"].as_list())
    moved = {
        int(key.partition(".")[0])
        for key, value in model.heads["predictors"].state_dict().items()
        if not torch.equal(value, before[key])
    }
    assert moved == chosen


def test_unchosen_predictors_are_frozen_while_training():
    """They get no gradient, so nothing, DDP for one, may wait for it; afterwards they are as they were."""
    trainable = []

    class Watch:
        @hookimpl
        def on_step_end(self, model):
            trainable.append({i for i, p in enumerate(model.heads["predictors"]) if p.weight.requires_grad})

    predictors = RepeatedModuleList(5, nn.Linear, 6, 4)
    model = make(training="joint", predictor_training_epochs=None, predictors=predictors, observers=[Watch()])
    fit(model)
    chosen = set(model.heads["selection"].as_list())
    assert all(each == chosen for each in trainable)
    assert all(p.requires_grad for p in model.heads["predictors"].parameters())


def test_alternating_is_the_papers_schedule():
    """One epoch of the backbone, two of the predictors, again: each rests while the other trains."""
    watch = Epochs()
    fit(make(predictor_training_epochs=2, observers=[watch]), max_epochs=6)
    assert [watch.moved("backbone", epoch) for epoch in range(1, 6)] == [False, False, True, False, False]
    assert [watch.moved("predictors", epoch) for epoch in range(1, 6)] == [True, True, False, True, True]


def test_joint_trains_predictors_always():
    """The other schedule: predictors train in backbone epochs too."""
    watch = Epochs()
    fit(make(training="joint", predictor_training_epochs=1, observers=[watch]), max_epochs=4)
    assert [watch.moved("backbone", epoch) for epoch in (1, 2, 3)] == [False, True, False]
    assert all(watch.moved("predictors", epoch) for epoch in (1, 2, 3))


@pytest.mark.parametrize("told", [None, 0, -3])
def test_joint_without_predictor_epochs_trains_both_always(told):
    """None, zero and negative mean none."""
    watch = Epochs()
    fit(make(training="joint", predictor_training_epochs=told, observers=[watch]), max_epochs=3)
    assert all(watch.moved(name, epoch) for name in ("backbone", "predictors") for epoch in (1, 2))


@pytest.mark.parametrize("told", [None, 0, -3])
def test_alternating_needs_predictor_epochs(told):
    """Predictors that would never train are a mistake."""
    with pytest.raises(ConfigError, match="predictors would never train"):
        make(predictor_training_epochs=told)


def authors_loop(model, batches, epochs):
    """Train as the authors do: one optimizer for each part, the encoder in eval mode while the predictors learn.

    Not by Adam, as theirs, which makes something of the rounding that biases in front of a norm have for a gradient.
    """
    backbone, predictors, projectors = model.backbone, model.heads["predictors"], model.heads["projectors"]
    parts = (backbone, predictors)
    optimizers = [torch.optim.SGD(part.parameters(), model.config.learning_rate, momentum=0.9) for part in parts]
    for epoch in range(epochs):
        model.train()
        if epoch % 2:
            backbone.eval()
        for x in batches:
            features = backbone(x)
            pairs = zip(predictors, projectors, strict=True)
            losses = [model.heads["criterion"](predictor(features), projector(x)) for predictor, projector in pairs]
            model.zero_grad()
            torch.stack(losses).mean().backward()
            optimizers[epoch % 2].step()


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_alternating_is_the_authors_loop(epochs):
    """Weights and statistics agree, also where predictors hold BatchNorm: in backbone epochs it goes on learning."""

    def build():
        torch.manual_seed(1)
        predictors = nn.ModuleList(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)) for _ in range(3))
        return make(
            num_candidates=3, num_targets=None, predictors=predictors, optimizer="momentum", learning_rate=0.01
        ).double()

    x = torch.randn(16, 5, generator=torch.Generator().manual_seed(0)).double()
    ours, theirs = build(), build()
    fit(ours, x, max_epochs=epochs)
    authors_loop(theirs, x.split(4), epochs)
    assert theirs.heads["predictors"][0][1].num_batches_tracked == 4 * epochs
    for part in ("backbone", "heads.predictors"):
        found, wanted = (dict(model.get_submodule(part).state_dict()) for model in (ours, theirs))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_one_adam_is_the_papers_two():
    """What rests keeps its Adam moments: a step of one optimizer over both equals two separate optimizers."""
    torch.manual_seed(0)
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    twins = copy.deepcopy(a), copy.deepcopy(b)
    both = torch.optim.Adam([*a.parameters(), *b.parameters()], lr=0.1)
    apart = [torch.optim.Adam(twin.parameters(), lr=0.1) for twin in twins]
    for step in range(6):
        x = torch.randn(4, 3)
        active = step % 2
        for modules, optimizers in (((a, b), [both]), (twins, [apart[active]])):
            modules[active].requires_grad_(True)
            modules[1 - active].requires_grad_(False)
            for optimizer in [both, *apart]:
                optimizer.zero_grad(set_to_none=True)
            modules[1](modules[0](x)).square().sum().backward()
            for optimizer in optimizers:
                optimizer.step()
    for ours, theirs in zip(
        [*a.parameters(), *b.parameters()], [*twins[0].parameters(), *twins[1].parameters()], strict=True
    ):
        assert torch.equal(ours, theirs)


def test_backbone_steps_are_limited_and_end_training():
    """Only steps that train the backbone count; the limit ends the run, not the epoch."""
    model = make(max_backbone_training_steps=6, predictor_training_epochs=1)
    trainer = fit(model, max_epochs=50)
    assert model.heads["selection"].backbone_steps == 6
    # Four steps an epoch: backbone, predictors, then two of the backbone.
    assert trainer.global_step == 10


@pytest.mark.parametrize("told", [None, 0, -1])
def test_no_limit_of_backbone_steps(told):
    """None, zero and negative mean no limit."""
    assert fit(make(max_backbone_training_steps=told)).global_step == 8


def test_user_lists_and_adapter():
    """ModuleLists of the user's, an adapter between, flattened outputs: all by name."""
    projectors = RepeatedModuleList(3, nn.Linear, 5, 7)
    predictors = RepeatedModuleList(3, nn.Linear, 9, 7)
    adapter = nn.Sequential(nn.Linear(6, 9), nn.Unflatten(1, (3, 3)))
    model = make(projectors=projectors, predictors=predictors, adapter=adapter, flatten=True, num_targets=None)
    predictions, targets = model.method.forward(model, torch.randn(4, 5))
    assert [p.shape for p in predictions] == [z.shape for z in targets] == [(4, 7)] * 3
    fit(model)


def test_plain_lists_of_modules():
    """A list stands for a ModuleList; a list of anything else is no head."""
    projectors, predictors = ([nn.Linear(width, 7) for _ in range(3)] for width in (5, 6))
    model = make(projectors=projectors, predictors=predictors, num_targets=None)
    assert [*model.heads["predictors"]] == predictors
    assert len(model.method.forward(model, torch.randn(4, 5))[0]) == 3
    with pytest.raises(ConfigError, match="no option 'projectors'"):
        make(projectors=[3, 4])


def test_adapter_may_be_a_function():
    """A callable that is no module works as an adapter too."""
    model = make(adapter=lambda features: features[:, :3])
    assert model.heads["predictors"][0].in_features == 3
    fit(model)


def test_adapter_rests_with_the_backbone():
    """In predictor epochs nothing in front of the predictors moves."""
    watch = Epochs()
    fit(make(adapter=nn.Linear(6, 6), observers=[watch]), max_epochs=3)
    assert [watch.moved("adapter", epoch) for epoch in (1, 2)] == [False, True]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"projectors": nn.ModuleList()}, "at least one module"),
        ({"projectors": nn.Linear(5, 4)}, r"must be an nn\.ModuleList"),
        (
            {
                "projectors": RepeatedModuleList(3, nn.Linear, 5, 4),
                "predictors": RepeatedModuleList(4, nn.Linear, 6, 4),
            },
            "3 projectors need as many predictors, or 2 for num_targets=2, not 4",
        ),
    ],
)
def test_wrong_lists(options, match):
    """What does not fit is told before training."""
    with pytest.raises(ConfigError, match=match):
        make(**options)


@pytest.mark.parametrize("shape", [(7,), (3, 40), (2, 12, 12)])
def test_default_projectors_for_every_kind_of_sample(shape):
    """Tables, signals and images get projectors and predictors that fit."""
    backbone = nn.Sequential(nn.Flatten(), nn.LazyLinear(6))
    model = registry.create("lfr", backbone=backbone, input_shape=shape, num_candidates=3, num_targets=2)
    predictions, targets = model.method.forward(model, torch.randn(4, *shape))
    assert [p.shape for p in predictions] == [z.shape for z in targets] == [(4, 6)] * 2


def test_criterion_is_the_mean_over_targets():
    """The loss of the method is the mean of the loss of each target."""
    model = make()
    x = torch.randn(4, 5)
    pairs = zip(*model.method.forward(model, x), strict=True)
    expected = torch.stack([BatchWiseBarlowTwinsLoss()(p, z) for p, z in pairs]).mean()
    torch.testing.assert_close(model.hook.compute_loss(model=model, views=[x], ctx=None), expected)


def test_validates_before_anything_is_chosen():
    """Lightning's sanity check comes before the choice; the loss is defined there too."""
    model = make()
    loader = DataLoader(torch.randn(8, 5), batch_size=4)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader, loader)
    assert torch.isfinite(trainer.callback_metrics["val_loss"])


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        ({"max_epochs": 1}, {}, True),
        ({"max_epochs": -1, "max_steps": 4}, {}, True),
        ({"max_epochs": 2}, {}, False),
        ({"max_epochs": 1}, {"training": "joint"}, False),
    ],
)
def test_run_in_which_predictors_never_train_is_told(arguments, options, told, caplog):
    """One epoch, however long, trains the backbone alone."""
    fit(make(**options), **arguments)
    assert ("the predictors never train" in caplog.text) == told
