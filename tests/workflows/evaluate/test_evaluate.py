"""`evaluate`: baselines beside the trained backbone, protocols, seeds, the cache and the run's row; and its errors."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import timm
import torch

import ssl_registry
from ssl_registry import registry
from ssl_registry.errors import CheckpointError, ConfigError, DataError, SSLRegistryError, TrustError
from ssl_registry.workflows.evaluate import baselines
from ssl_registry.workflows.evaluate import evaluate as module


def test_rows_of_a_run(run):
    """Both backbones by both protocols; the probe has a spread over seeds; the row is added to the run."""
    result = ssl_registry.evaluate(run, seeds=2)
    assert [(row.features, row.protocol) for row in result.rows] == [
        ("trained", "knn"),
        ("trained", "linear"),
        ("untrained", "knn"),
        ("untrained", "linear"),
        ("raw", "knn"),
        ("raw", "linear"),
    ]
    assert re.search("(over|under) (logistic regression|k-NN) on the raw input", result.verdict)
    assert (result.train, result.test, result.task) == (1300, 497, "classification")
    assert result.rows[0].metrics["accuracy"].std is None
    assert result.rows[1].metrics["accuracy"].std is not None
    assert set(result.rows[1].metrics) == {"accuracy", "balanced_accuracy", "macro_f1", "auroc"}
    assert result.figure("untrained", "linear", "accuracy") == result.rows[3].metrics["accuracy"].mean
    assert "not on this machine" in result.notes[0]
    (line,) = (run / "evaluations.jsonl").read_text().splitlines()
    assert json.loads(line)["rows"] == json.loads(json.dumps(result.to_dict()))["rows"]


def test_features_are_kept(run, monkeypatch):
    """The second evaluation computes none, gives the same figures, and adds a second row."""
    first = ssl_registry.evaluate(run, protocols=["knn"], k=5)
    monkeypatch.setattr(module, "stream_features", lambda *_: pytest.fail("computed again"))
    assert ssl_registry.evaluate(run, protocols=["knn"], k=5).rows == first.rows
    assert len((run / "evaluations.jsonl").read_text().splitlines()) == 2


def test_a_stopped_evaluation_goes_on(run, monkeypatch, caplog, tmp_path):
    """What was measured before is told at once and not measured again; other settings are others' rows."""
    monkeypatch.setenv("SSL_REGISTRY_CACHE", str(tmp_path))
    measure, asked, stops = module._measure, [], ["once"]

    def counted(protocol, *rest):
        asked.append(protocol)
        if len(asked) == 3 and stops:
            stops.clear()
            raise RuntimeError("stopped")
        return measure(protocol, *rest)

    monkeypatch.setattr(module, "_measure", counted)
    with caplog.at_level("INFO", "ssl_registry"), pytest.raises(RuntimeError, match="stopped"):
        ssl_registry.evaluate(run, k=7, seeds=1)
    assert [line.partition(":")[0] for line in caplog.messages[-2:]] == ["trained, knn", "trained, linear"]
    result = ssl_registry.evaluate(run, k=7, seeds=1)
    assert asked[3:] == ["knn", "linear", "knn", "linear"]
    assert result.rows == ssl_registry.evaluate(run, k=7, seeds=1, cache=False).rows
    asked.clear()
    ssl_registry.evaluate(run, protocols=["knn"], k=8)
    assert asked == ["knn"] * 3


def test_two_devices_give_the_same(run):
    """Batches shared out among devices come back in order."""
    one = ssl_registry.evaluate(run, protocols=["knn"], cache=False)
    two = ssl_registry.evaluate(run, protocols=["knn"], cache=False, devices="cpu,cpu")
    assert one.rows == two.rows


def test_supervised_weights_of_this_machine(run, monkeypatch, tmp_path):
    """Weights in torch's cache make a third backbone; nothing is downloaded."""
    weights = timm.create_model("regnetx_002").state_dict()
    torch.save(weights, tmp_path / "weights.pth")
    monkeypatch.setattr(baselines, "local_weights", lambda config: tmp_path / "weights.pth")
    result = ssl_registry.evaluate(run, protocols=["knn"])
    assert [row.features for row in result.rows] == ["trained", "untrained", "supervised", "raw"]


def test_local_weights_are_found_in_torchs_cache(tmp_path, monkeypatch):
    """By the file's name in timm's configuration."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    config = timm.models.get_pretrained_cfg("resnet18.a1_in1k")
    assert baselines.local_weights(config) is None
    file = tmp_path / "hub" / "checkpoints" / config.url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    file.touch()
    assert baselines.local_weights(config) == file


def test_checkpoint_outside_of_a_run(run, tmp_path):
    """It needs to be told the data, and has no folder to write to."""
    checkpoint = shutil.copy(run / "checkpoints" / "last.ckpt", tmp_path / "alone.ckpt")
    with pytest.raises(ConfigError, match="give --data"):
        ssl_registry.evaluate(checkpoint)
    result = ssl_registry.evaluate(checkpoint, data="digits", protocols=["knn"])
    assert result.saved is None
    assert len(result.rows) == 3


def test_network_of_ones_own(tmp_path, monkeypatch):
    """A run on file.py:Name runs that file with trust alone; then its baseline comes from the same file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_net.py").write_text(
        "from torch import nn\ndef Net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(256, 8))\n"
    )
    limits = {"max_steps": 1, "enable_progress_bar": False, "accelerator": "cpu"}
    ssl_registry.train("simclr", backbone="own_net.py:Net", out="own", knn=False, report=False, trainer=limits)
    with pytest.raises(TrustError, match=r"backbone: own_net\.py:Net, which would run the Python file own_net\.py"):
        ssl_registry.evaluate("own", protocols=["knn"])
    result = ssl_registry.evaluate("own", protocols=["knn"], trust=True)
    assert [row.features for row in result.rows] == ["trained", "untrained", "raw"]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "has no labels; evaluation needs some: --data LABELLED gives images"),
        ([1] * 20, "one class only"),
        (list(range(20)), "no test part"),
    ],
)
def test_data_that_cannot_be_probed(run, tmp_path, y, message):
    """No labels, one class, or classes of one sample: one line each, and no row is written."""
    x = np.random.default_rng(0).integers(0, 256, (20, 1, 16, 16)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", X=x, **({} if y is None else {"y": np.array(y)}))
    with pytest.raises(DataError, match=message):
        ssl_registry.evaluate(run, data=str(tmp_path / "data.npz"))
    assert not (run / "evaluations.jsonl").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"protocols": ["kn"]}, "Did you mean 'knn'"),
        ({"seeds": 0}, "one seed"),
        ({"devices": "gpu"}, "devices='gpu'"),
        ({"devices": "cuda:99"}, "there is no cuda:99"),
    ],
)
def test_wrong_options(run, option, message):
    """An option out of range is named."""
    with pytest.raises(ConfigError, match=message):
        ssl_registry.evaluate(run, **option)


def test_half_a_checkpoint(run):
    """A file that was cut short is told as such."""
    file = run / "checkpoints" / "last.ckpt"
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match="damaged"):
        ssl_registry.evaluate(run)


def test_method_that_is_not_installed(run, nothing_installed):
    """The message names what to install."""
    with pytest.raises(SSLRegistryError, match="ssl-registry-simclr"):
        ssl_registry.evaluate(run)


def test_checkpoint_of_another_version(run):
    """A newer format says which version wrote it."""
    file = run / "checkpoints" / "last.ckpt"
    content = torch.load(file, weights_only=True)
    content["ssl_registry"] |= {"format": 99, "core_version": "9.9"}
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=r"ssl-registry 9\.9"):
        ssl_registry.evaluate(run)


def test_full_disk_keeps_the_rows_of_before(run, small_disk):
    """The row that does not fit is told; the others stay."""
    ssl_registry.evaluate(run, protocols=["knn"])
    before = (run / "evaluations.jsonl").read_text()
    small_disk(len(before))
    with pytest.raises(SSLRegistryError, match=r"evaluations\.jsonl cannot be written"):
        ssl_registry.evaluate(run, protocols=["knn"])
    assert (run / "evaluations.jsonl").read_text() == before


def test_loaded_backbone_is_plain_timm(run):
    """What `registry.load` gives holds timm's own module."""
    assert type(registry.load(run).backbone).__module__.startswith("timm.")


@pytest.mark.parametrize(
    ("y", "task", "metric"),
    [
        (lambda rng: rng.normal(size=60), "regression", "r2"),
        (lambda rng: rng.integers(0, 2, (60, 3)), "multilabel", "macro_f1"),
    ],
)
def test_other_targets(run, tmp_path, y, task, metric):
    """Numbers and several labels at once are probed; k-NN votes for classes alone."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 1, 16, 16)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", X=images, y=y(rng))
    result = ssl_registry.evaluate(run, data=str(tmp_path / "data.npz"), seeds=1)
    assert result.task == task
    assert {row.protocol for row in result.rows} == {"linear"}
    assert metric in result.rows[0].metrics
    with pytest.raises(ConfigError, match="cannot vote"):
        ssl_registry.evaluate(run, data=str(tmp_path / "data.npz"), protocols=["knn"])


@pytest.mark.slow  # two trainings and an evaluation
def test_a_run_that_began_with_weights_is_compared_with_them(run, tmp_path, monkeypatch):
    """What training made of its start is said; a start that is gone is named."""
    monkeypatch.chdir(tmp_path)
    limits = {"max_steps": 1, "enable_progress_bar": False, "accelerator": "cpu"}
    options = {"learning_rate": 1e-30, "warmup_steps": 0}
    shared = {"start_from": run, "batch_size": 64, "report": False, "trainer": limits, "options": options}
    result = ssl_registry.train("simclr", out="next", **shared)
    assert set(result.knn) == {"pixels", "start", "trained"}
    assert "the weights that training started from" in result.verdict
    found = ssl_registry.evaluate("next", protocols=["knn"])
    assert [row.features for row in found.rows] == ["trained", "start", "untrained", "raw"]
    assert found.figure("start", "knn", "accuracy") == ssl_registry.evaluate(run, protocols=["knn"]).figure(
        "trained", "knn", "accuracy"
    )
    run.rename(tmp_path / "moved")
    assert any("not compared with its start" in note for note in ssl_registry.evaluate("next", protocols=["knn"]).notes)


@pytest.mark.parametrize("verb", ["evaluate", "finetune"])
def test_a_column_that_was_trained_on_is_no_label(tmp_path, verb):
    """It would be told by the input; with the label named at training nothing is."""
    rows = [f"{n % 7},{n % 3},{'rich' if n % 2 else 'poor'}" for n in range(60)]
    (tmp_path / "people.csv").write_text("\n".join(["age,children,income", *rows]))
    trainer = {"accelerator": "cpu", "enable_progress_bar": False}
    size = {"backbone": "table_encoder", "epochs": 1, "knn": False, "report": False, "trainer": trainer}
    for name, label in (("seen", None), ("unseen", "income")):
        ssl_registry.train("scarf", data=str(tmp_path / "people.csv"), label_column=label, out=tmp_path / name, **size)
    more = {"protocols": ["linear"]} if verb == "evaluate" else {"epochs": 1, "trainer": trainer}
    with pytest.raises(ConfigError, match="'income' among its features, so its input tells the answer; train again"):
        getattr(ssl_registry, verb)(tmp_path / "seen", label_column="income", **more)
    assert getattr(ssl_registry, verb)(tmp_path / "unseen", label_column="income", **more).rows


def test_few_labels_and_what_is_usual_for_tables(tmp_path):
    """Gradient boosting sees the columns alone; fewer labels are drawn anew for each seed, and say less."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    np.savez(tmp_path / "t.npz", X=x, y=(x[:, 0] * x[:, 1] > 0).astype(int), is_test=np.arange(400) >= 200)
    done = ssl_registry.train(
        "scarf",
        data=str(tmp_path / "t.npz"),
        modality="table",
        backbone="table_encoder",
        epochs=1,
        out=tmp_path / "run",
        knn=False,
        report=False,
        trainer={"accelerator": "cpu", "enable_progress_bar": False},
    )
    result = ssl_registry.evaluate(done.run, labels=(5, 1), seeds=2, cache=False)
    rows = {(row.features, row.protocol): row.metrics["accuracy"] for row in result.rows}
    few = {"knn 5 a class", "linear 5 a class"}
    assert {protocol for features, protocol in rows if features == "trained"} == {"knn", "linear"} | few
    assert {protocol for features, protocol in rows if features == "raw"} - {"knn", "linear"} == few | {
        "boosting",
        "boosting 5 a class",
    }
    assert rows["raw", "boosting"].mean > 0.85 > rows["raw", "boosting 5 a class"].mean  # a product of two columns
    assert rows["raw", "linear"].mean < 0.65
    assert rows["trained", "linear 5 a class"].std is not None
    of_all, of_few = result.verdict.split("\n")
    assert of_all.startswith("Trained features: ")
    assert "gradient boosting on the columns" in of_all
    assert of_few.startswith("Trained features with 5 labels a class: ")
    assert "the untrained backbone" in of_few
    only = ssl_registry.evaluate(done.run, labels=(5,), seeds=2, cache=False)
    assert only.verdict == of_few
    with pytest.raises(ConfigError, match="neither a share"):
        ssl_registry.evaluate(done.run, labels=(0,))
