"""`evaluate` on masks: patch tokens of transformers and feature maps, beside the untrained network and raw pixels."""

from __future__ import annotations

import json

import pytest
import torch
from shapes import shapes, write_shapes
from torch import nn
from torchmetrics import JaccardIndex

import ssl_registry
from ssl_registry.cli import main
from ssl_registry.errors import BackboneError, ConfigError, DataError
from ssl_registry.measures import segmentation
from ssl_registry.measures.segmentation import patch_labels
from ssl_registry.nn import Tokens, patchify
from ssl_registry.runs.opened import RawNetwork
from ssl_registry.views import ViewPolicy
from ssl_registry.workflows.evaluate.dense import segment

BOTH = ("knn-segmentation", "linear-segmentation")
CPU = [torch.device("cpu")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes"), (("train", 16), ("val", 6)))


@pytest.fixture
def steps(monkeypatch):
    """How many a linear layer is fitted for."""
    return lambda number: monkeypatch.setitem(segmentation.fit_linear_segmentation.__kwdefaults__, "steps", number)


@pytest.fixture(scope="module")
def token_run(folder, tmp_path_factory):
    """A run of one step on a small vision transformer."""
    return ssl_registry.train(
        "simclr",
        backbone="vit_tiny_patch16_224",
        backbone_kwargs={"patch_size": 8, "depth": 1, "embed_dim": 24, "num_heads": 2},
        data=str(folder / "train/images"),
        image_size=32,
        out=tmp_path_factory.mktemp("runs") / "run",
        options={"projection_dim": 8},
        knn=False,
        report=False,
        trainer={"max_steps": 1, "accelerator": "cpu", "enable_progress_bar": False},
    ).run


class Brightness(nn.Module):
    """Tells dark, middle and bright patches by three directions."""

    def forward(self, x):
        return x.mean((1, 2, 3))[:, None]

    def tokens(self, x, *, keep=None, mask=None, mask_token=None, layers=()):
        level = patchify(x, 8).mean(-1)
        kinds = torch.stack([(level > 0.3) & (level < 0.65), level < 0.3, level > 0.65], dim=-1)
        return Tokens(x.new_zeros(len(x), 0, 3), kinds.float(), (4, 4))


def test_a_network_that_knows_the_shapes(folder, steps):
    """k-NN gives each cell the class of most of its pixels: what that is worth is computed apart, by torchmetrics."""
    steps(150)
    network = RawNetwork(Brightness(), ViewPolicy.plain(32), (3, 32, 32), 1)
    found = segment(
        {"trained": network},
        folder,
        BOTH,
        image_size=32,
        k=3,
        temperature=0.1,
        seeds=2,
        batch_size=4,
        workers=0,
        devices=CPU,
    )
    masks = torch.from_numpy(shapes(6, seed=1)[1])
    best = patch_labels(masks, (4, 4)).view(6, 4, 4).repeat_interleave(8, 1).repeat_interleave(8, 2)
    by_class = JaccardIndex("multiclass", num_classes=3, average="none")(best, masks.long())
    rows = {(row.features, row.protocol): row for row in found.rows}
    knn = rows["trained", "knn-segmentation"]
    assert [knn.per_class[kind].mean for kind in "012"] == pytest.approx(by_class.tolist(), abs=1e-6)
    assert knn.metrics["mean_iou"].mean == pytest.approx(float(by_class.mean()), abs=1e-6)
    assert knn.per_class["1"].mean == 1  # squares fill their cells
    assert knn.metrics["pixel_accuracy"].mean == pytest.approx(float((best == masks).double().mean()))
    assert knn.metrics["mean_iou"].std is None
    linear = rows["trained", "linear-segmentation"]
    assert linear.metrics["mean_iou"].std is not None
    assert linear.metrics["mean_iou"].mean > 0.6
    assert {features for features, _ in rows} == {"trained", "pixels"}


def test_rows_of_a_run(token_run, folder, steps):
    """Trained, untrained and pixels by both protocols; a row in the run, with classes."""
    steps(20)
    result = ssl_registry.evaluate(token_run, data=str(folder), protocols=BOTH, seeds=1, workers=0)
    assert [(row.features, row.protocol) for row in result.rows] == [
        (name, protocol) for name in ("trained", "untrained", "pixels") for protocol in BOTH
    ]
    assert (result.train, result.test, result.task) == (16, 6, "segmentation")
    assert all(set(row.metrics) == {"mean_iou", "pixel_accuracy"} for row in result.rows)
    (line,) = (token_run / "evaluations.jsonl").read_text().splitlines()
    assert json.loads(line)["rows"][0]["per_class"].keys() <= {"0", "1", "2"}
    again = ssl_registry.evaluate(token_run, data=str(folder), protocols=BOTH, seeds=1, workers=0, batch_size=5)
    assert [row.metrics for row in again.rows] == [
        {name: pytest.approx(score) for name, score in row.metrics.items()} for row in result.rows
    ]


def test_command_prints_classes(token_run, folder, capsys):
    """A table, and one of the classes."""
    words = ["evaluate", str(token_run), "--data", str(folder), "--protocols", "knn-segmentation", "--workers", "0"]
    assert main(words) == 0
    out = capsys.readouterr().out
    for word in ("mean iou", "pixel accuracy", "pixels", "untrained", "IoU by class", "16 training and 6 test samples"):
        assert word in out


def test_a_convolutional_networks_feature_map(folder):
    """Of a ResNet: one position for 32 pixels."""
    import timm

    network = RawNetwork(timm.create_model("resnet18", num_classes=0), ViewPolicy.plain(64), (3, 64, 64), 512)
    found = segment(
        {"trained": network},
        folder,
        ("knn-segmentation",),
        image_size=64,
        k=3,
        temperature=0.1,
        seeds=1,
        batch_size=8,
        workers=0,
        devices=CPU,
    )
    assert {row.features for row in found.rows} == {"trained", "pixels"}
    assert 0 < found.rows[0].metrics["mean_iou"].mean < 1


def test_what_does_not_go_together(token_run, folder, run):
    """Protocols of two kinds, no folder, a Source, options of sources, a network without tokens."""
    with pytest.raises(ConfigError, match="evaluate twice"):
        ssl_registry.evaluate(token_run, data=str(folder), protocols=["knn", "knn-segmentation"])
    with pytest.raises(ConfigError, match="needs a folder of images and masks, not none; give --data"):
        ssl_registry.evaluate(token_run, protocols=["knn-segmentation"])
    with pytest.raises(ConfigError, match="label_column says nothing"):
        ssl_registry.evaluate(token_run, data=str(folder), protocols=["knn-segmentation"], label_column="x")
    with pytest.raises(DataError, match="no masks"):
        ssl_registry.evaluate(token_run, data=str(folder / "train/images"), protocols=["knn-segmentation"])
    network = RawNetwork(nn.Flatten(), ViewPolicy.plain(32), (3, 32, 32), 3072)
    options = {"k": 3, "temperature": 0.1, "seeds": 1, "batch_size": 8, "workers": 0, "devices": CPU}
    with pytest.raises(BackboneError, match="Flatten has no tokens"):
        segment({"trained": network}, folder, BOTH, image_size=32, **options)
    series = RawNetwork(nn.Flatten(), ViewPolicy.plain(None), (2, 32), 64)
    with pytest.raises(ConfigError, match="of images alone"):
        segment({"trained": series}, folder, BOTH, image_size=32, **options)
