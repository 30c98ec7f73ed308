"""What the core owns once: steps, random numbers, freezing, views, stopping, and a model that can be saved."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import CombinedLoader
from torch import nn
from torch.utils.data import DataLoader

from ssl_registry import Field, MethodConfig, Registry, hookimpl
from ssl_registry.errors import BatchError, ConfigError, ContractError
from ssl_registry.views import TableView, ViewPolicy


class Probe:
    """A method that pulls two views together, and writes down what the core tells it."""

    class Config(MethodConfig):
        """Options."""

        optimizer: str = "sgd"
        freeze_odd_epochs: bool = False
        stop_after: int = Field(0, ge=0)

    def __init__(self, config):
        self.config = config

    @hookimpl
    def build_heads(self, feature_dim, overrides):
        return {"head": overrides.take("head", lambda: nn.Linear(feature_dim, 3)), "counter": Counter()}

    @hookimpl
    def build_views(self):
        return ViewPolicy(views=(TableView(corruption=0.3, copies=2),))

    @hookimpl
    def compute_loss(self, model, views, ctx):
        out = [model.heads["head"](model(view)) for view in views]
        noise = torch.rand((), generator=ctx.generator)
        return {"loss": (out[0] - out[1] - noise).square().mean(), "noise": noise}

    @hookimpl
    def frozen_modules(self, ctx):
        return {"backbone"} if self.config.freeze_odd_epochs and ctx.epoch % 2 else set()

    @hookimpl
    def on_step_end(self, model, ctx):
        model.heads["counter"].steps += 1
        model.heads["counter"].last.fill_(ctx.step)

    @hookimpl
    def should_stop(self, ctx):
        return bool(self.config.stop_after) and ctx.step >= self.config.stop_after


class Counter(nn.Module):
    """Counts in buffers, as state must."""

    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("last", torch.zeros((), dtype=torch.long))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 4))

    def forward(self, x):
        return self.layers(x)


@pytest.fixture
def local():
    registry = Registry(entry_points=False)
    registry.register("probe", Probe)
    return registry


def make(local, **options):
    options.setdefault("seed", 3)
    torch.manual_seed(0)  # the network is the user's own: its weights are not drawn from the model's seed
    return local.create("probe", backbone=Net(), input_shape=(5,), **options)


def loader(samples=24, batch_size=4):
    generator = torch.Generator().manual_seed(1)
    return DataLoader(torch.randn(samples, 5, generator=generator), batch_size=batch_size)


def fit(model, data=None, **arguments):
    arguments = {
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "accelerator": "cpu",
    } | arguments
    trainer = Trainer(enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1, **arguments)
    trainer.fit(model, loader() if data is None else data)
    return trainer


def weights(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_step_end_follows_optimizer_steps(local, accumulate):
    """Micro-batches make no step; the count is Lightning's own."""
    model = make(local)
    trainer = fit(model, accumulate_grad_batches=accumulate)
    # Six batches an epoch: the last, incomplete group of an epoch steps too.
    steps = 2 * -(-6 // accumulate)
    assert trainer.global_step == model.heads["counter"].steps == model.heads["counter"].last == steps


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"max_epochs": 2}, 12),
        ({"max_epochs": 2, "accumulate_grad_batches": 4}, 4),
        ({"max_steps": 5, "max_epochs": -1}, 5),
    ],
)
def test_max_steps_is_known(local, arguments, expected):
    """Runs limited by epochs and by steps both tell the method how long they are."""
    seen = []

    class Watch:
        @hookimpl
        def on_step_end(self, ctx):
            seen.append(ctx.max_steps)

    fit(make(local, observers=[Watch()]), **arguments)
    assert set(seen) == {expected}


def test_same_seed_same_run(local):
    """Weights depend on the seed, not on what the process drew before."""
    first, second = make(local), make(local)
    fit(first)
    torch.rand(17)
    fit(second)
    assert all(torch.equal(weights(first)[key], value) for key, value in second.state_dict().items())


def test_other_seed_other_run(local):
    """The seed matters."""
    first, second = make(local), make(local)
    second.seed = 4
    fit(first)
    fit(second)
    assert not torch.equal(first.heads["head"].weight, second.heads["head"].weight)


def test_create_with_a_seed_leaves_global_random_numbers_alone(local):
    """Building a model does not shift what the user draws next."""
    state = torch.get_rng_state()
    local.create("probe", backbone="table_encoder", input_shape=(5,), seed=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_freezing_gives_back_exactly_what_it_took(local):
    """A frozen backbone rests in odd epochs, moves in even ones, and what the user froze stays frozen."""
    history = []

    class Watch:
        @hookimpl
        def on_step_end(self, model, ctx):
            history.append((ctx.epoch, weights(model.backbone)))

    model = make(local, freeze_odd_epochs=True, observers=[Watch()])
    user_frozen = model.backbone.layers[0].weight
    user_frozen.requires_grad_(False)
    before = user_frozen.clone()
    fit(model, max_epochs=3)
    in_epoch = {epoch: [state for number, state in history if number == epoch] for epoch in range(3)}
    for key in ("layers.3.weight", "layers.1.running_mean"):
        assert torch.equal(in_epoch[1][0][key], in_epoch[0][-1][key])
        assert torch.equal(in_epoch[1][-1][key], in_epoch[0][-1][key])
        assert not torch.equal(in_epoch[2][-1][key], in_epoch[1][-1][key])
    assert torch.equal(user_frozen, before)
    assert not user_frozen.requires_grad
    assert model.backbone.layers[3].weight.requires_grad


def test_frozen_stays_in_evaluation_mode_after_train(local):
    """`.train()` in the midst of a run, as Lightning calls it behind validation, wakes nothing up."""
    modes = []

    class Watch:
        @hookimpl
        def on_step_end(self, model, ctx):
            model.train()
            modes.append((ctx.epoch, model.backbone.layers[1].training, model.heads.training))

    model = make(local, freeze_odd_epochs=True, observers=[Watch()])
    fit(model)
    assert set(modes) == {(0, True, True), (1, False, True)}
    assert all(module.training for module in model.modules())


def test_unknown_frozen_name(local):
    """A misspelt module name is answered with the right one."""

    class Wrong(Probe):
        @hookimpl
        def frozen_modules(self):
            return {"back_bone"}

    local.register("probe", Wrong)
    with pytest.raises(ContractError, match=r"'back_bone'\. Did you mean 'backbone'"):
        fit(make(local))


def test_part_of_a_head_is_frozen_by_dots(local):
    """What lies inside of a head rests alone, and comes back after training."""
    moved = set()

    class Deep(Probe):
        @hookimpl
        def build_heads(self, feature_dim):
            head = nn.Sequential(nn.Linear(feature_dim, 3), nn.Linear(3, 3))
            return {"head": head, "counter": Counter()}

        @hookimpl
        def frozen_modules(self):
            return {"head.1"}

        @hookimpl
        def on_step_end(self, model):
            moved.update(name for name, p in model.heads["head"].named_parameters() if p.grad is not None)

    local.register("probe", Deep)
    model = make(local)
    before = weights(model)
    fit(model)
    assert moved == {"0.weight", "0.bias"}
    assert torch.equal(model.heads["head"][1].weight, before["heads.head.1.weight"])
    assert model.heads["head"][1].weight.requires_grad
    assert model.heads["head"][1].training


def test_should_stop_ends_training_not_the_epoch(local):
    """Nothing trains after the step that asked for the end."""
    model = make(local, stop_after=3)
    trainer = fit(model, max_epochs=5)
    assert trainer.global_step == 3
    assert trainer.current_epoch == 1


def test_loss_without_gradient(local):
    """A detached loss is an error, not a run that learns nothing."""

    class Detached(Probe):
        @hookimpl
        def compute_loss(self, model, views):
            return model(views[0]).mean().detach()

    local.register("probe", Detached)
    with pytest.raises(ContractError, match="the loss has no gradient"):
        fit(make(local))


@pytest.mark.parametrize("result", [None, {"los": torch.ones(())}, torch.ones(2), 3.0])
def test_loss_of_wrong_form(local, result):
    """What compute_loss returned is shown."""

    class Odd(Probe):
        @hookimpl
        def compute_loss(self, model, views):
            return result

    local.register("probe", Odd)
    with pytest.raises(ContractError, match="must return a scalar tensor"):
        fit(make(local))


def test_wrong_number_of_ready_made_views(local):
    """Three views for a method of two are refused."""
    model = make(local)
    with pytest.raises(BatchError, match=r"takes 2 view\(s\), the batch holds 3"):
        fit(model, DataLoader([[torch.randn(4, 5)] * 3], batch_size=None))


def test_float_images_out_of_range(local):
    """Images that were normalised already would be clamped by colour steps; the error says what to give."""
    model = local.create(
        "probe",
        backbone=nn.Sequential(nn.Flatten(), nn.Linear(48, 4)),
        image_size=4,
        view_policy=ViewPolicy.model_validate({"views": [{"modality": "image", "flip": 0.5, "copies": 2}]}),
    )
    with pytest.raises(BatchError, match=r"images in \[0, 1\]"):
        fit(model, DataLoader(torch.randn(8, 3, 4, 4), batch_size=4))


def test_override_takes_the_place_of_a_head(local):
    """A module by name is used; an empty Sequential is a module too, although it is falsy."""
    head = nn.Sequential()
    assert make(local, head=head).heads["head"] is head


def test_override_of_an_unknown_head(local):
    """A misspelt head is answered with the right one."""
    with pytest.raises(ConfigError, match=r"neither a head nor an option 'heat'\. Did you mean 'head'"):
        make(local, heat=nn.Linear(4, 3))


def test_module_for_an_option(local):
    """A module where a number belongs is refused by name."""
    with pytest.raises(ConfigError, match="stop_after is an option"):
        make(local, stop_after=nn.Linear(1, 1))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_train_on_alone(local, clone):
    """The plugin manager is rebuilt, and nothing is shared with the original."""
    model = make(local)
    fit(model)
    twin = clone(model)
    before = weights(model)
    fit(twin)
    assert twin.heads["counter"].steps == 24
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert twin.hook is not model.hook


def test_embed_of_batch_and_single_sample(local):
    """One sample gives one vector, the same as in a batch, and modes stay as they were."""
    model = make(local)
    x = torch.randn(6, 5)
    features = model.embed(x)
    assert features.shape == (6, 4)
    torch.testing.assert_close(model.embed(x[2]), features[2])
    assert not features.requires_grad
    assert model.backbone.training


def test_validation_and_prediction(local):
    """Validation logs a loss over the same views each time; prediction returns features."""
    model = make(local)
    trainer = Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    first, second = (trainer.validate(model, loader(), verbose=False)[0]["val_loss"] for _ in range(2))
    assert first == second
    predicted = torch.cat(trainer.predict(model, loader()))
    torch.testing.assert_close(predicted, model.embed(loader().dataset))


def test_default_groups_exclude_biases_and_norms_from_decay(local):
    """Weight decay and LARS's scaling reach matrices alone."""
    model = make(local, weight_decay=0.1)
    trainer = fit(model, max_epochs=1)
    groups = trainer.optimizers[0].param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert all(p.ndim > 1 for p in groups[0]["params"])
    assert all(p.ndim == 1 for p in groups[1]["params"])


def test_nothing_trainable(local):
    """A model without a trainable parameter is refused before training."""
    model = make(local)
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing is trainable"):
        fit(model)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"optimizer": "adamm"}, "no optimizer 'adamm'. Did you mean 'adam"),
        ({"optimizer_kwargs": {"beta": 1}}, "does not take"),
    ],
)
def test_optimizer_mistakes(local, options, match):
    """Name and arguments of the optimizer are checked."""
    with pytest.raises(ConfigError, match=match):
        fit(make(local, **options))


def test_cosine_schedule_with_warmup(local):
    """The rate climbs to its peak, then falls towards zero by the last step, once per optimizer step."""
    rates = []

    class Watch:
        @hookimpl
        def on_step_end(self, model):
            rates.append(model.trainer.optimizers[0].param_groups[0]["lr"])

    fit(make(local, learning_rate=0.1, lr_schedule="cosine", warmup_steps=3, observers=[Watch()]))
    assert rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert rates[-1] < 0.01
    assert rates[3:] == sorted(rates[3:], reverse=True)


def test_cosine_needs_an_end(local):
    """A run without a limit has no cosine."""
    with pytest.raises(ConfigError, match="max_epochs or max_steps"):
        fit(make(local, lr_schedule="cosine"), max_epochs=-1, max_time={"seconds": 1})


def test_sample_is_the_training_data(local):
    """`sample(n)` gives n training inputs and does not disturb the run's random numbers."""
    seen = []

    class Look:
        @hookimpl
        def on_fit_start(self, sample):
            seen.append(sample(10))

    plain, looked = make(local), make(local, observers=[Look()])
    fit(plain)
    fit(looked)
    torch.testing.assert_close(seen[0], loader().dataset[:10])
    assert torch.equal(plain.heads["head"].weight, looked.heads["head"].weight)


@pytest.mark.parametrize("together", [list, CombinedLoader])
def test_two_loaders_are_refused(local, together):
    """Their batches are no views of each other."""
    with pytest.raises(BatchError, match=r"fit was given 2 loaders.*ConcatDataset"):
        fit(make(local), together([loader(), loader()]))
