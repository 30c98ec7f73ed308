"""Training on labels: what is trained, what stays frozen, what is logged, and what schedulers see."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from functools import cache
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import CatMetric, MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from ssl_registry import SupervisedModule
from ssl_registry.errors import BackboneError, BatchError, ConfigError
from ssl_registry.testing.processes import run_in_two

pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:GPU available but not used"),
    # Lightning 2.6 walks trees in a way that newer torch deprecates.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
    # Lightning wonders at a frozen backbone.
    pytest.mark.filterwarnings("ignore:Found .* module.* in eval mode at the start of training"),
]


def accuracy() -> MulticlassAccuracy:
    return MulticlassAccuracy(num_classes=10, average="micro")


def normed_backbone() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.MaxPool2d(2))


def make(**options: Any) -> SupervisedModule:
    torch.manual_seed(0)
    given = {"backbone": normed_backbone(), "head": nn.Linear(128, 10), "loss_fn": nn.CrossEntropyLoss()}
    return SupervisedModule(**(given | options))


@cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    scans = load_digits()
    return torch.from_numpy(scans.images[:, None] / 16).float(), torch.from_numpy(scans.target)


def loader(first: int, last: int, batch_size: int = 50) -> DataLoader:
    x, y = digits()
    return DataLoader(TensorDataset(x[first:last], y[first:last]), batch_size=batch_size)


def trainer(**options: Any) -> Trainer:
    given = {"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    return Trainer(enable_progress_bar=False, enable_model_summary=False, **(given | options))


def share_right(model: nn.Module, first: int, last: int) -> float:
    x, y = digits()
    model.eval()
    with torch.no_grad():
        return (model(x[first:last]).argmax(1) == y[first:last]).float().mean().item()


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(before: dict[str, torch.Tensor], module: nn.Module) -> bool:
    now = module.state_dict()
    return all(torch.equal(value, now[name]) for name, value in before.items())


# --- the whole way ----------------------------------------------------------------------------------------


def test_learns_digits_and_serves_every_stage():
    """Fit, validate, test and predict with a real Trainer: accuracy rises, and the logged one is the true one."""
    shared = {"acc": accuracy()}
    model = make(learning_rate=1e-2, train_metrics=shared, val_metrics=shared, test_metrics=shared)
    run = trainer(max_epochs=4)
    (before,) = run.validate(model, loader(1000, 1400), verbose=False)
    run.fit(model, loader(0, 1000), loader(1000, 1400))
    logged = run.callback_metrics
    assert set(logged) == {"train_loss", "train_acc", "val_loss", "val_acc"}
    assert before["val_acc"] < 0.3
    assert logged["val_acc"] > 0.85
    assert logged["val_loss"] < before["val_loss"]
    (tested,) = run.test(model, loader(1400, 1797), verbose=False)
    assert tested["test_acc"] == pytest.approx(share_right(model, 1400, 1797))
    outputs = torch.cat(run.predict(model, loader(1400, 1797)))
    assert outputs.shape == (397, 10)
    assert (outputs.argmax(1) == digits()[1][1400:]).float().mean().item() == pytest.approx(tested["test_acc"])


def test_epoch_values_cover_all_samples_equally():
    """A last, smaller batch weighs by its size, and the sanity check before training leaves no trace."""
    model = make(val_metrics={"acc": accuracy()})
    run = trainer()
    run.fit(model, loader(0, 100), loader(100, 270, batch_size=100))
    x, y = digits()
    model.eval()
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model(x[100:270]), y[100:270]).item()
    assert run.callback_metrics["val_loss"].item() == pytest.approx(expected, rel=1e-5)
    assert run.callback_metrics["val_acc"].item() == pytest.approx(share_right(model, 100, 270))


def test_train_values_are_those_of_the_epoch():
    """With a rate of zero the training loss is the data's, and training metrics start anew each epoch."""
    model = make(
        backbone=nn.Identity(),
        head=nn.Linear(64, 10),
        learning_rate=0.0,
        optimizer=torch.optim.SGD,
        train_metrics={"acc": accuracy()},
    )
    run = trainer(max_epochs=2)
    run.fit(model, loader(0, 130))
    x, y = digits()
    expected = nn.functional.cross_entropy(model(x[:130]), y[:130]).item()
    assert run.callback_metrics["train_loss"].item() == pytest.approx(expected, rel=1e-5)
    assert run.callback_metrics["train_acc"].item() == pytest.approx(share_right(model, 0, 130))


def test_checkpoint_reopens(tmp_path):
    """A checkpoint is loaded by Lightning, given the modules again."""
    model = make(train_metrics={"acc": accuracy()}, freeze_backbone=True)
    run = trainer()
    run.fit(model, loader(0, 100))
    run.save_checkpoint(tmp_path / "probe.ckpt", weights_only=True)
    torch.manual_seed(9)
    again = SupervisedModule.load_from_checkpoint(
        tmp_path / "probe.ckpt",
        backbone=normed_backbone(),
        head=nn.Linear(128, 10),
        loss_fn=nn.CrossEntropyLoss(),
        weights_only=True,
    )
    assert same(weights(model), again)


# --- forward ----------------------------------------------------------------------------------------------


def test_forward_order():
    """Backbone, then adapter, then flatten, then head."""
    seen: list[tuple[int, ...]] = []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape))
            return x

    model = SupervisedModule(
        nn.Sequential(Spy(), nn.Conv2d(1, 4, 3)),
        nn.Sequential(Spy(), nn.Linear(16, 2)),
        nn.CrossEntropyLoss(),
        adapter=nn.Sequential(Spy(), nn.AdaptiveAvgPool2d(2)),
    )
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 2)
    assert seen == [(3, 1, 8, 8), (3, 4, 6, 6), (3, 16)]


def test_flatten_false_keeps_axes():
    """A dense head gets the feature map."""
    model = make(head=nn.Conv2d(8, 10, 1), flatten=False)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10, 4, 4)


def test_function_as_adapter():
    """A plain function picks the tensor from a mapping."""

    class Dense(nn.Module):
        def forward(self, x: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
            return OrderedDict(out=x * 2, aux=x)

    model = make(backbone=Dense(), head=nn.Identity(), adapter=lambda out: out["out"])
    assert torch.equal(model(torch.ones(2, 1, 2, 2)), torch.full((2, 4), 2.0))
    with pytest.raises(BackboneError, match=r"'aux'.*give an adapter"):
        make(backbone=Dense(), head=nn.Identity())(torch.ones(2, 1, 2, 2))


def test_empty_sequential_is_a_module():
    """An empty nn.Sequential is falsy, and used all the same."""
    backbone, adapter, head = nn.Sequential(), nn.Sequential(), nn.Sequential()
    model = SupervisedModule(backbone, head, nn.MSELoss(), adapter=adapter)
    assert model.backbone is backbone
    assert model.adapter is adapter
    assert model.head is head
    x = torch.randn(3, 2, 2)
    assert torch.equal(model(x), x.flatten(1))


# --- what is trained --------------------------------------------------------------------------------------


class LearnedScale(nn.Module):
    """A loss with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs * self.scale, y)


def test_every_part_trains():
    """Backbone, adapter, head and the loss's own parameters all move."""
    model = make(adapter=nn.BatchNorm2d(8), loss_fn=LearnedScale())
    parts = [model.backbone, model.adapter, model.head, model.loss_fn]
    before = [weights(part) for part in parts]
    trainer().fit(model, loader(0, 100))
    assert [same(old, part) for old, part in zip(before, parts, strict=True)] == [False] * 4


def test_frozen_backbone_stays_as_it_is():
    """No weight and no normalisation statistic moves, and the backbone's parameters are in no optimizer."""
    model = make(freeze_backbone=True, adapter=nn.BatchNorm2d(8), val_metrics={"acc": accuracy()})
    before, adapter, head = weights(model.backbone), weights(model.adapter), weights(model.head)
    run = trainer(max_epochs=2)
    run.fit(model.train(), loader(0, 100), loader(100, 150))
    assert same(before, model.backbone)
    assert not same(adapter, model.adapter)
    assert not same(head, model.head)
    held = {id(p) for group in run.optimizers[0].param_groups for p in group["params"]}
    assert held == {id(p) for p in [*model.adapter.parameters(), *model.head.parameters()]}


def test_frozen_backbone_survives_train():
    """Eval mode stays after .train(); the rest follows the call."""
    model = make(freeze_backbone=True).eval().train()
    assert not any(part.training for part in model.backbone.modules())
    assert model.training
    assert model.head.training
    assert not any(p.requires_grad for p in model.backbone.parameters())


def test_frozen_backbone_builds_no_graph():
    """Features of a frozen backbone carry no gradient, even to an input that asks for it."""
    x = torch.zeros(2, 1, 8, 8, requires_grad=True)
    assert not make(head=nn.Identity(), freeze_backbone=True)(x).requires_grad
    assert make(head=nn.Identity())(x).requires_grad


def test_unfreeze_gives_back_what_was_taken():
    """After a probe the backbone trains again, but for what the user had frozen."""
    model = make(freeze_backbone=True)
    model.unfreeze_backbone()
    assert not model.freeze_backbone
    assert all(p.requires_grad for p in model.backbone.parameters())
    assert all(part.training for part in model.backbone.modules())
    before = weights(model.backbone)
    trainer().fit(model, loader(0, 100))
    assert not same(before, model.backbone)

    backbone = normed_backbone()
    backbone[0].requires_grad_(False)
    again = make(backbone=backbone, freeze_backbone=True)
    again.unfreeze_backbone()
    assert [p.requires_grad for p in backbone.parameters()] == [False, False, True, True]


def test_copy_of_a_frozen_module_is_its_own():
    """A deep copy is frozen too, and unfreezing it leaves the first alone."""
    model = make(freeze_backbone=True)
    twin = copy.deepcopy(model)
    assert twin.freeze_backbone
    twin.unfreeze_backbone()
    assert all(p.requires_grad for p in twin.backbone.parameters())
    assert not any(p.requires_grad for p in model.backbone.parameters())


def test_nothing_to_train():
    """A frozen backbone under a head without parameters is refused."""
    with pytest.raises(ConfigError, match="nothing is trainable"):
        trainer().fit(make(head=nn.Identity(), freeze_backbone=True), loader(0, 100))


def test_shared_parameters_are_held_once():
    """A head that shares a layer with the backbone gives the optimizer one copy of it."""
    layer = nn.Linear(64, 64)
    model = make(backbone=nn.Sequential(nn.Flatten(), layer), head=layer)
    assert len(model.configure_optimizers().param_groups[0]["params"]) == 2


# --- optimizer and scheduler ------------------------------------------------------------------------------


def test_optimizer_by_class_and_arguments():
    """The class is built with the learning rate and its own arguments."""
    model = make(optimizer=torch.optim.SGD, learning_rate=0.5, optimizer_kwargs={"momentum": 0.7})
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.5, 0.7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer_kwargs": {"momentun": 0.9}}, "optimizer=Adam.*momentun"),
        ({"optimizer_kwargs": {"lr": 0.1}}, "optimizer_kwargs holds lr; give it as learning_rate"),
        ({"learning_rate": -1.0}, "optimizer=Adam.*-1.0"),
        ({"optimizer": "adam"}, "optimizer='adam'"),
        ({"lr_scheduler": StepLR, "lr_scheduler_kwargs": {"gama": 1}}, "lr_scheduler=StepLR.*gama"),
    ],
)
def test_wrong_arguments(options, message):
    """What an optimizer or a scheduler does not take is an error that names it."""
    with pytest.raises(ConfigError, match=message):
        make(**options).configure_optimizers()


def test_scheduler_steps_each_epoch():
    """The rate falls once an epoch, however many batches there are."""
    model = make(
        learning_rate=1.0, optimizer=torch.optim.SGD, lr_scheduler=StepLR, lr_scheduler_kwargs={"step_size": 1}
    )
    run = trainer(max_epochs=3)
    run.fit(model, loader(0, 200))
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-3)


class Watched(ReduceLROnPlateau):
    """A plateau scheduler that writes down what it sees."""

    def __init__(self, optimizer: torch.optim.Optimizer, **kwargs: Any) -> None:
        super().__init__(optimizer, **kwargs)
        self.seen: list[float] = []

    def step(self, metrics: Any, epoch: int | None = None) -> None:
        self.seen.append(float(metrics))
        super().step(metrics)


class Recorded(SupervisedModule):
    """Writes down every epoch's values."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.losses: dict[str, list[float]] = {"train_loss": [], "val_loss": []}

    def on_validation_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.losses["val_loss"].append(float(self.trainer.callback_metrics["val_loss"]))

    def on_train_end(self) -> None:
        self.losses["train_loss"].append(float(self.trainer.callback_metrics["train_loss"]))


def plateau(**options: Any) -> tuple[list[float], dict[str, list[float]], float]:
    """Fit four epochs; return what the scheduler saw, what there was, and the last learning rate."""
    val = options.pop("val", None)
    torch.manual_seed(0)
    model = Recorded(
        backbone=nn.Flatten(),
        head=nn.Linear(64, 10),
        loss_fn=nn.CrossEntropyLoss(),
        learning_rate=0.1,
        optimizer=torch.optim.SGD,
        lr_scheduler=Watched,
        lr_scheduler_kwargs={"patience": 0, "threshold": 10.0, "threshold_mode": "abs"},
    )
    run = trainer(max_epochs=4, **options)
    run.fit(model, loader(0, 100), val)
    return run.lr_scheduler_configs[0].scheduler.seen, model.losses, run.optimizers[0].param_groups[0]["lr"]


@pytest.mark.parametrize("sanity", [0, 2])
@pytest.mark.parametrize(("every", "times"), [(1, 4), (2, 2), (3, 1)])
def test_plateau_of_validation(every, times, sanity):
    """The scheduler sees each validation's loss once; epochs without one do not count as stalled."""
    seen, losses, rate = plateau(val=loader(100, 200), check_val_every_n_epoch=every, num_sanity_val_steps=sanity)
    assert len(seen) == times
    assert seen == losses["val_loss"]
    # Nothing improves by the threshold of ten: every value after the first lowers the rate.
    assert rate == pytest.approx(0.1 * 0.1 ** (times - 1))


@pytest.mark.parametrize("val", [None, []])
@pytest.mark.filterwarnings("ignore:Total length of .* across ranks is zero")
def test_plateau_of_training(val):
    """Without validation, or with nothing to validate on, it sees the training loss."""
    seen, losses, rate = plateau(val=val)
    assert len(seen) == 4
    assert seen[-1:] == losses["train_loss"]
    assert rate == pytest.approx(1e-4)


# --- metrics ----------------------------------------------------------------------------------------------


def test_metrics_are_copied():
    """One metric for two stages shares no state, with itself or with the caller's."""
    metric = accuracy()
    model = make(train_metrics={"acc": metric}, val_metrics={"acc": metric})
    model.train_metrics.update(torch.eye(10), torch.arange(10))
    assert model.val_metrics["acc"].tp.sum() == metric.tp.sum() == 0
    assert model.train_metrics["acc"].tp.sum() == 10


def test_metrics_keep_no_graph():
    """A metric that collects outputs gets them without their history."""

    class Collect(CatMetric):
        def update(self, outputs: torch.Tensor, y: torch.Tensor) -> None:
            self.value.append(outputs)

        def compute(self) -> torch.Tensor:
            return torch.cat(self.value).mean()

    model = make(train_metrics={"mean": Collect()})
    model.log_dict = lambda *args, **kwargs: None
    model.training_step((digits()[0][:4], digits()[1][:4]), 0)
    assert [value.requires_grad for value in model.train_metrics["mean"].value] == [False]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"acc": torch.nn.functional.cross_entropy}, r"val_metrics\['acc'\] is a function"),
        ({"loss": MeanMetric()}, "'loss' is taken"),
        ({"top.1": MeanMetric()}, "a dot"),
    ],
)
def test_wrong_metrics(metrics, message):
    """What is no metric, or has a name that cannot be, is refused at creation."""
    with pytest.raises(ConfigError, match=message):
        make(val_metrics=metrics)


# --- batches ----------------------------------------------------------------------------------------------

X = torch.zeros(4, 1, 8, 8)
Y = torch.zeros(4, dtype=torch.long)


@pytest.mark.parametrize(
    ("batch", "came"),
    [
        (X, r"float32\[4, 1, 8, 8\]"),
        ((X,), r"\(float32\[4, 1, 8, 8\]\)"),
        ((X, None), "NoneType"),
        ((X, Y[:3]), r"int64\[3\]"),
        ((X, Y, Y), r"int64\[4\], int64\[4\]"),
        (([X, X], Y), r"\(\[float32"),
        ((X[:0], Y[:0]), r"float32\[0, 1, 8, 8\]"),
        ({"x": X, "y": Y}, "'x': float32"),
        (None, "NoneType"),
    ],
)
@pytest.mark.parametrize("stage", ["training", "validation", "test"])
def test_wrong_batches(batch, came, stage):
    """The error shows what came and what is accepted."""
    with pytest.raises(BatchError, match=rf"{came}.*accepted: \(x, y\)"):
        getattr(make(), f"{stage}_step")(batch, 0)


@pytest.mark.parametrize("batch", [X, [X], (X, Y), [X, Y], (X, None)])
def test_predict_needs_no_labels(batch):
    """A batch with labels gives the outputs of one without."""
    model = make().eval()
    assert torch.equal(model.predict_step(batch), model(X))


@pytest.mark.parametrize("batch", [None, (X, Y, Y), {"x": X}, ([X], Y)])
def test_wrong_batches_for_predict(batch):
    """Prediction says what it accepts."""
    with pytest.raises(BatchError, match=r"accepted: a tensor x, or \(x, y\)"):
        make().predict_step(batch)


# --- two processes ----------------------------------------------------------------------------------------


def on_rank(rank: int) -> dict[str, Any]:
    warnings.simplefilter("ignore")  # Lightning's, about data loaders and validation on two ranks
    model = make(
        freeze_backbone=True,
        lr_scheduler=ReduceLROnPlateau,
        train_metrics={"acc": accuracy()},
        val_metrics={"acc": accuracy()},
    )
    run = trainer(devices=2, strategy="ddp", max_epochs=2)
    run.fit(model, loader(0, 100, batch_size=10), loader(100, 200, batch_size=10))
    logged = {name: value.item() for name, value in run.callback_metrics.items()}
    return {"logged": logged, "model": model.state_dict()}


@pytest.mark.slow  # starts two processes
def test_two_processes():
    """Logged values are those of all ranks' samples, the same on each; so are the weights."""
    outcomes = run_in_two(on_rank)
    assert [outcome.error for outcome in outcomes] == ["", ""]
    first, second = (outcome.value for outcome in outcomes)
    assert first["logged"] == second["logged"]
    model = make()
    model.load_state_dict(first["model"])
    assert same(second["model"], model)
    x, y = digits()
    model.eval()
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(x[100:200]), y[100:200]).item()
    assert first["logged"]["val_loss"] == pytest.approx(loss, rel=1e-5)
    assert first["logged"]["val_acc"] == pytest.approx(share_right(model, 100, 200))


def test_a_learning_rate_among_the_arguments():
    """It has an argument of its own; the weight decay has none, and works."""
    parts = {"backbone": nn.Identity(), "head": nn.Linear(4, 2), "loss_fn": nn.CrossEntropyLoss()}
    with pytest.raises(ConfigError, match="give it as learning_rate"):
        SupervisedModule(**parts, optimizer_kwargs={"lr": 0.1})
    optimizer = SupervisedModule(**parts, optimizer_kwargs={"weight_decay": 1e-6}).configure_optimizers()
    assert optimizer.param_groups[0]["weight_decay"] == 1e-6
