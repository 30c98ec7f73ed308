"""Batches that carry views: the same whoever loads them, in every epoch others, and trained on like any."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn

from ssl_registry import registry
from ssl_registry.data import Source, SSLDataModule, open_source
from ssl_registry.data.loading.drawn import DrawnViews, choose_view_plan
from ssl_registry.data.loading.loader import training_loader
from ssl_registry.data.samples import Samples
from ssl_registry.errors import DataError
from ssl_registry.model.drawing import TrainingBatch
from ssl_registry.views import ImageView, SignalView, TableView, ViewPolicy
from ssl_registry.views.device.geometry import crop_resize
from ssl_registry.views.host.draw import HostViews

RECIPE = ViewPolicy(
    views=(ImageView(crop_scale=(0.2, 1.0), flip=0.5, color_jitter=0.8, brightness=0.4, hue=0.1, blur=0.5, copies=2),),
    image_size=24,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.2, 0.2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten JPEG photographs of two classes, of different sizes, and one that is broken."""
    root = tmp_path_factory.mktemp("photos")
    (image, other) = load_sample_images().images
    for number in range(10):
        place = root / ("first", "second")[number % 2] / f"{number}.jpg"
        place.parent.mkdir(exist_ok=True)
        part = (image, other)[number % 2][number * 20 : number * 20 + 80 + number, 30:130]
        Image.fromarray(part).save(place, quality=92)
    (root / "first" / "broken.jpg").write_bytes((root / "first" / "0.jpg").read_bytes()[:300])
    return root


def batches(source, asked="auto", workers=0, epochs=1, view_policy=RECIPE, batch_size=4, seed=3):
    draw = choose_view_plan(source, view_policy, asked=asked, accelerator=False)
    loader = SSLDataModule(source, batch_size=batch_size, num_workers=workers, seed=seed, draw=draw).train_dataloader()
    found = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        found.append(list(loader))
    return found


def drawn(batch, view_policy=RECIPE):
    return view_policy.views_of(batch)


def in_memory(count=10, labels=True):
    x = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Source("x", "image", (3, 32, 32), Samples(x, torch.arange(count) if labels else None), classes=None)


@pytest.mark.parametrize("asked", ["host", "split", "device"])
def test_number_of_workers_changes_nothing(folder, asked):
    """None, one and two processes give the same bits, epoch for epoch; two epochs differ."""
    source = open_source(str(folder), image_size=24, holdout=0.0)
    alone = batches(source, asked, epochs=2)
    for workers in (1, 2):
        for ours, theirs in zip(alone, batches(source, asked, workers, epochs=2), strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert torch.equal(one["label"], other["label"])
                assert all(torch.equal(a, b) for a, b in zip(drawn(one), drawn(other), strict=True))
    assert not torch.equal(drawn(alone[0][0])[0], drawn(alone[1][0])[0])


def test_host_and_split_agree(folder):
    """From the same photographs, within one grey level."""
    source = open_source(str(folder), image_size=24, holdout=0.0)
    (host,), (split,) = batches(source, "host"), batches(source, "split")
    for one, other in zip(host, split, strict=True):
        for ours, theirs in zip(drawn(one), drawn(other), strict=True):
            assert (ours - theirs).abs().max() <= 1 / 255 / 0.2 + 1e-6


def test_all_engines_agree_in_memory():
    """Samples of one size: host, device and both together, within one grey level."""
    host, split, device = ([drawn(batch) for batch in batches(in_memory(), asked)[0]] for asked in
                           ("host", "split", "device"))  # fmt: skip
    for each in zip(host, split, device, strict=True):
        for first, *others in zip(*each, strict=True):
            assert all((first - other).abs().max() <= 1 / 255 / 0.2 + 1e-6 for other in others)


def test_a_sample_has_its_views_in_any_batch():
    """Another batch size: the same views for the same sample."""
    by_label = []
    for size in (2, 5):
        found = {}
        for batch in batches(in_memory(), "host", batch_size=size)[0]:
            found |= dict(zip(batch["label"].tolist(), batch["views"][1], strict=True))
        by_label.append(found)
    assert len(by_label[0]) == 10
    assert all(torch.equal(view, by_label[1][label]) for label, view in by_label[0].items())


def test_a_crop_is_cut_out_of_the_whole_photograph(folder):
    """Not out of the small square that evaluation sees: the photographs have detail that it lost."""
    source = open_source(str(folder), image_size=24, holdout=0.0)
    view_policy = ViewPolicy(views=(ImageView(crop_scale=(0.05, 0.1)),), image_size=24)
    (host,), (device,) = (
        batches(source, "host", view_policy=view_policy),
        batches(source, "device", view_policy=view_policy),
    )

    def detail(batch):
        return drawn(batch, view_policy)[0].diff(dim=-1).abs().mean()

    assert detail(host[0]) > 1.3 * detail(device[0])


def test_a_broken_photograph_is_replaced(folder):
    """The next one takes its place, and the source knows its name."""
    source = open_source(str(folder), image_size=24, holdout=0.0)
    (found,) = batches(source, "host")
    assert sum(len(batch["label"]) for batch in found) == 8  # two full batches of eleven
    list(batches(source, "host", batch_size=11))
    assert [name.rsplit("/", 1)[-1] for name in source.train.broken] == ["broken.jpg"]


def test_without_labels():
    """There is no label in the batch."""
    (found,) = batches(in_memory(labels=False), "host")
    assert "label" not in found[0]


SIGNALS = Source("s", "signal", (3, 40), Samples(torch.randn(24, 3, 40), torch.arange(24)))
TABLE = Source("t", "table", (5,), Samples(torch.randn(24, 5), torch.arange(24)))
SIGNAL_VIEWS = ViewPolicy(views=(SignalView(time_warp=0.2, permutation=3, jitter=0.1, scaling=0.1, copies=2),))
TABLE_VIEWS = ViewPolicy(views=(TableView(corruption=0.6, copies=2),))


def by_sample(source, view_policy, *, batch_size, workers=0, world_size=1):
    """The views of each sample in the second epoch, whichever batch and rank it came in."""
    found = {}
    plan = choose_view_plan(source, view_policy, accelerator=False)
    for rank in range(world_size):
        loader = training_loader(
            source.train, batch_size=batch_size, seed=3, rank=rank, world_size=world_size, num_workers=workers,
            views=partial(DrawnViews, plan=plan, seed=3),
        )  # fmt: skip
        loader.sampler.set_epoch(1)
        for batch in loader:
            for row, label in enumerate(batch["label"].tolist()):
                found[label] = [view[row] for view in view_policy.views_of(batch)]
    return found


@pytest.mark.parametrize(("source", "view_policy"), [(SIGNALS, SIGNAL_VIEWS), (TABLE, TABLE_VIEWS)])
@pytest.mark.parametrize(
    "how", [{"batch_size": 8}, {"batch_size": 12, "workers": 2}, {"batch_size": 4, "world_size": 3}]
)
def test_signals_and_rows_have_the_same_views_in_any_batch(source, view_policy, how):
    """Whatever the batch, the number of workers and of ranks."""
    expected, found = by_sample(source, view_policy, batch_size=24), by_sample(source, view_policy, **how)
    assert sorted(found) == sorted(expected) == list(range(24))
    for label, views in expected.items():
        for one, other in zip(views, found[label], strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
        assert not torch.equal(views[0], views[1])


def test_rows_are_corrupted_from_the_whole_table():
    """A batch of two rows gets features of rows that are not in it, each from its own column."""
    x = torch.arange(50.0)[:, None] + 1000 * torch.arange(8.0)
    source = Source("t", "table", (8,), Samples(x, torch.arange(50)))
    drawn_views = DrawnViews(source.train, choose_view_plan(source, TABLE_VIEWS, accelerator=False), seed=0)
    (view, _) = drawn_views.batch([3, 41])["views"]
    assert torch.equal(view // 1000, x[:2] // 1000)
    assert set((view % 1000).flatten().tolist()) - {3.0, 41.0}


@pytest.mark.parametrize("asked", ["host", "split", "device"])
def test_trains_and_resumes_bit_for_bit(asked, tmp_path):
    """Stopped in the midst of an epoch and continued: the weights of never having stopped."""

    def fit(checkpoint=None, **limits):
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.Conv2d(3, 4, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        model = registry.create(
            "simclr", backbone=backbone, input_shape=(3, 24, 24), seed=1, projection_dim=4, view_policy=RECIPE
        )
        source = in_memory()
        draw = choose_view_plan(source, model.view_policy, asked=asked, accelerator=False)
        trainer = Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, limit_val_batches=0, **limits,
        )  # fmt: skip
        data = SSLDataModule(source, batch_size=3, seed=1, draw=draw)
        trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        return model, trainer

    whole, _ = fit(max_steps=5, max_epochs=-1)
    _, half = fit(max_steps=2, max_epochs=-1)
    half.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = fit(tmp_path / "half.ckpt", max_steps=5, max_epochs=-1)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def boxes(batch, view, view_policy=RECIPE):
    """Return where a view of a batch was cut, as a context finds it out."""
    return TrainingBatch(batch, view_policy, (3, 24, 24), seed=0, batch_key=0, owner="x").cut(view)


@pytest.mark.parametrize("asked", ["host", "split", "device"])
def test_boxes_are_where_a_view_was_cut(asked):
    """Whoever drew it: the box of each sample, resized and flipped, is the view within a grey level."""
    policy = ViewPolicy(views=(ImageView(crop_scale=(0.2, 1.0), flip=0.5, copies=2), ImageView()), image_size=24)
    source = in_memory()
    seen = 0
    for batch in batches(source, asked, view_policy=policy)[0]:
        samples = source.train.x[torch.as_tensor(batch["indices"])].float()
        for number, view in enumerate(drawn(batch, policy)):
            cut = boxes(batch, number, policy)
            box, flipped = torch.from_numpy(cut.box), torch.from_numpy(cut.flipped)
            wanted = crop_resize(samples, box, (24, 24), flipped, whole=True) / 255
            assert (view - wanted).abs().max() <= 1 / 255 + 1e-6
            seen += int(flipped.any())
    assert seen > 0


@pytest.mark.parametrize("asked", ["host", "split"])
def test_boxes_of_photographs_of_any_size(folder, asked):
    """They are in the pixels of each photograph; without a crop it is the centered square."""
    source = open_source(str(folder), image_size=24, holdout=0.0)
    policy = ViewPolicy(views=(ImageView(crop_scale=(0.1, 1.0), flip=0.5), ImageView()), image_size=24)
    host = HostViews(policy)
    heights = set()
    for batch in batches(source, asked, view_policy=policy)[0]:
        for row, (height, width) in enumerate(batch["size"].tolist()):
            plan = host.planner(batch["keys"]).plan(row, height, width)
            heights.add(height)
            for number in range(2):
                cut = boxes(batch, number, policy)
                assert cut.box[row].tolist() == list(plan.boxes[number])
                assert cut.flipped[row] == plan.drawn.flip[number]
    assert len(heights) > 1


@pytest.mark.parametrize("asked", ["host", "split", "device"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_tells_which_samples_it_holds(asked, workers):
    """Their numbers in the source, whoever loads and draws them."""
    for batch in batches(in_memory(), asked, workers)[0]:
        assert batch["indices"].tolist() == batch["label"].tolist()


def test_keys_stay_on_the_host():
    """They are no tensor, so that no trainer moves them to its device."""
    (found,) = batches(in_memory(), "split")
    assert isinstance(found[0]["keys"], np.ndarray)


def test_an_error_of_the_drawing_is_no_broken_image(folder, monkeypatch):
    """It is raised as what it is, and no good image is blamed."""
    monkeypatch.setattr("ssl_registry.views.host.draw.cut", lambda *_: 1 / 0)
    source = open_source(str(folder), image_size=24, holdout=0.0)
    with pytest.raises(ZeroDivisionError):
        batches(source, "host")
    assert all(name.endswith("broken.jpg") for name in source.train.broken)


def test_nothing_readable_tells_the_last_reason(folder, monkeypatch):
    """Also where it is not the files' fault."""
    monkeypatch.setattr("ssl_registry.views.host.plan.Planner.plan", lambda *_: 1 / 0)
    source = open_source(str(folder), image_size=24, holdout=0.0)
    with pytest.raises(DataError, match="none of the 11 images can be read") as raised:
        batches(source, "host")
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
