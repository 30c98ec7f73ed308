"""What `finetune` wrote opens everywhere: `predict`, `embed`, `evaluate`, `export`, and as a start for training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import ssl_registry
from ssl_registry.checkpoint.finetuned import KEY
from ssl_registry.checkpoint.weights import load_backbone_weights
from ssl_registry.cli import main
from ssl_registry.data import open_source
from ssl_registry.errors import CheckpointError, ConfigError, DataError, TrustError
from ssl_registry.runs.opened import open_run
from ssl_registry.workflows.export import writing

CPU = {"accelerator": "cpu"}


@pytest.fixture(scope="module")
def _tuned(_trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(_trained, tmp_path_factory.mktemp("tuned") / "run"))
    ssl_registry.finetune(folder, labels=0.1, epochs=2, learning_rate=3e-3, trainer=CPU)
    return folder


@pytest.fixture
def tuned(_tuned: Path, tmp_path: Path) -> Path:
    """Return a run with a network that was fine-tuned on digits, for the test to keep."""
    return Path(shutil.copytree(_tuned, tmp_path / "run"))


def rewrite(file: Path, **changes: object) -> None:
    """Change values of the record, or put text in its place."""
    with safe_open(file, "pt") as opened:
        record = opened.metadata()[KEY]
    text = changes.pop("text", None)
    values = {**json.loads(record), **changes}
    save_file(load_file(file), file, {KEY: json.dumps(values) if text is None else str(text)})


def test_every_row_in_every_format(tuned: Path, tmp_path: Path) -> None:
    """Names of classes, probabilities that sum to one, the same in each file and in Python."""
    result = ssl_registry.predict(tuned)
    assert result.rows == 1797 == sum(result.counts)
    assert result.classes == tuple("0123456789")
    assert result.probabilities is not None
    np.testing.assert_allclose(result.probabilities.sum(1), 1, atol=1e-5)
    for name, read in (("p.csv", pd.read_csv), ("p.parquet", pd.read_parquet)):
        written = ssl_registry.predict(tuned / "finetuned-10.safetensors", out=tmp_path / name)
        assert (written.rows, written.predictions) == (1797, None)
        table = read(tmp_path / name)
        assert table["id"].tolist() == list(range(1797))
        assert table["prediction"].astype(str).tolist() == list(result.predictions)
        np.testing.assert_allclose(table[[f"p_{c}" for c in result.classes]], result.probabilities, atol=1e-6)
    ssl_registry.predict(tuned, out=tmp_path / "p.npz")
    arrays = np.load(tmp_path / "p.npz")
    np.testing.assert_allclose(arrays["probabilities"], result.probabilities, atol=1e-6)
    assert arrays["prediction"].tolist() == list(result.predictions)
    assert arrays["label"][:3].tolist() == pd.read_csv(tmp_path / "p.csv")["label"][:3].astype(str).tolist()


def test_files_without_labels(tuned: Path, tmp_path: Path) -> None:
    """Photographs in a folder are classified by name; the run's own preparation is applied."""
    from PIL import Image

    source = open_source("digits", image_size=16)
    for number in range(3):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(source.train[number][0][0].numpy()).save(tmp_path / f"photos/{number}.png")
    result = ssl_registry.predict(tuned, data=str(tmp_path / "photos"), out=tmp_path / "p.csv")
    table = pd.read_csv(tmp_path / "p.csv")
    assert [Path(path).name for path in table["path"]] == ["0.png", "1.png", "2.png"]
    assert table["label"].isna().all()
    own = ssl_registry.predict(tuned)
    np.testing.assert_allclose(table[[f"p_{c}" for c in result.classes]], own.probabilities[:3], atol=1e-5)


def test_evaluate_has_a_row_for_the_classifier(tuned: Path) -> None:
    """Its accuracy on the test part that fine-tuning held out, as fine-tuning measured it."""
    (line,) = (tuned / "evaluations.jsonl").read_text().splitlines()
    measured = next(row for row in json.loads(line)["rows"] if row["features"] == "trained")
    found = ssl_registry.evaluate(tuned / "finetuned-10.safetensors", protocols=["knn"], cache=False)
    accuracy = found.figure("trained", "classifier", "accuracy")
    assert accuracy == pytest.approx(measured["metrics"]["accuracy"]["mean"])
    assert {row.features for row in found.rows} >= {"trained", "untrained"}


def test_one_of_several_is_asked_for(tuned: Path) -> None:
    """A run with two classifiers does not choose."""
    shutil.copy(tuned / "finetuned-10.safetensors", tuned / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"several classifiers; give one of them: .*finetuned-10\.safetensors"):
        ssl_registry.predict(tuned)


def test_embed_and_start_from_it(tuned: Path, tmp_path: Path) -> None:
    """Features are those of the fine-tuned backbone, and its name comes with the weights."""
    file = tuned / "finetuned-10.safetensors"
    assert ssl_registry.embed(file, out=tmp_path / "e.parquet").width == 368
    vector = pd.read_parquet(tmp_path / "e.parquet")["vector"][0]
    opened, before = open_run(file), open_run(tuned)
    sample = open_source("digits", image_size=16).train[0][0][None]
    with torch.inference_mode():
        wanted, other = (run.trained().eval()(sample)[0] for run in (opened, before))
    np.testing.assert_allclose(vector, wanted, atol=1e-5)
    assert not np.allclose(vector, other, atol=1e-3)
    weights = load_backbone_weights(file)
    assert (weights.backbone, weights.own) == ("regnetx_002", True)
    assert not any(key.startswith("head.") for key in weights.weights)


@pytest.mark.parametrize("format", ["timm", "hf"])
def test_folders_of_timm_hold_the_classifier(tuned: Path, monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    """Names of the classes in timm's own key, the head in timm's own layer."""
    monkeypatch.setattr(writing, "largest_difference", lambda *_: 0.0)
    result = ssl_registry.export(tuned / "finetuned-10.safetensors", format=format)
    config = json.loads((result.folder / "config.json").read_text())
    assert (config["num_classes"], config["label_names"]) == (10, list("0123456789"))
    assert "num_classes" not in config["model_args"]
    head = load_file(tuned / "finetuned-10.safetensors")["head.weight"]
    assert torch.equal(load_file(result.folder / "model.safetensors")["head.fc.weight"], head)
    if format == "hf":
        assert "A classifier of 10 classes: 0, 1, 2" in (result.folder / "README.md").read_text()


def logits(tuned: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return prepared samples and what the fine-tuned network says of them."""
    opened = open_run(tuned / "finetuned-10.safetensors")
    source = open_source("digits", image_size=16)
    x = opened.model.view_policy.prepare(torch.stack([source.train[i][0] for i in range(5)]))
    with torch.inference_mode():
        return x, opened.exported.eval()(x)


@pytest.mark.slow
def test_the_whole_road(tuned: Path, tmp_path: Path) -> None:
    """Finetune, predict, export in every format, load elsewhere: one answer."""
    timm = pytest.importorskip("timm")
    runtime = pytest.importorskip("onnxruntime")
    transformers = pytest.importorskip("transformers", reason="transformers is in the extra test")
    file = tuned / "finetuned-10.safetensors"
    said = ssl_registry.predict(file)
    assert said.probabilities is not None
    folders = {name: ssl_registry.export(file, format=name).folder for name in ("timm", "hf", "torch", "onnx")}
    x, wanted = logits(tuned)
    np.testing.assert_allclose(wanted.softmax(1), said.probabilities[:5], atol=1e-5)

    hub = timm.create_model(f"local-dir:{folders['hf']}", pretrained=True).eval()
    program = torch.export.load(folders["torch"] / "model.pt2").module()
    session = runtime.InferenceSession(folders["onnx"] / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[0] == "batch" == session.get_outputs()[0].shape[0]
    classifier = transformers.AutoModelForImageClassification.from_pretrained(folders["hf"]).eval()
    assert classifier.config.id2label == dict(enumerate("0123456789"))
    with torch.inference_mode():
        for answer in (hub(x), program(x), classifier(pixel_values=x).logits):
            torch.testing.assert_close(answer, wanted)  # as float32 rounds: of logits above 8 one step is 1e-6
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], wanted, atol=1e-4)

    from PIL import Image

    images = [Image.fromarray(open_source("digits", image_size=16).train[i][0][0].numpy()) for i in range(5)]
    processor = transformers.AutoImageProcessor.from_pretrained(folders["hf"])
    torch.testing.assert_close(processor(images)["pixel_values"], x, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_features_in_transformers(run: Path) -> None:
    """A backbone without a head is an `AutoModel`, whose pooled output is the features."""
    transformers = pytest.importorskip("transformers", reason="transformers is in the extra test")
    folder = ssl_registry.export(run, format="hf").folder
    x = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        found, wanted = model(pixel_values=x).pooler_output, open_run(run).network.eval()(x)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_a_network_without_a_classifier(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how to get one."""
    for path in (run, run / "checkpoints/last.ckpt"):
        assert main(["predict", str(path), "--out", str(tmp_path / "p.csv")]) == 2
        err = capsys.readouterr().err
        assert "no classifier" in err
        assert "ssl-registry finetune" in err
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize("out", ["p.txt", "p", "."])
def test_where_predictions_go(tuned: Path, out: str) -> None:
    """A folder or an unknown kind of file is named, with one that works."""
    with pytest.raises(ConfigError, match=r"predictions\.csv|--out .*\.csv"):
        ssl_registry.predict(tuned, out=out)


def test_classes_with_nothing_in_common(tuned: Path, tmp_path: Path) -> None:
    """Evaluation compares by name and says whose classes are whose."""
    x = np.zeros((20, 1, 16, 16), np.uint8)
    np.savez(tmp_path / "pets.npz", X=x, y=np.array(["cat", "dog"] * 10))
    with pytest.raises(DataError, match=r"classes cat, dog, the classifier has 0, 1, 2, 3, 4: none in common"):
        ssl_registry.evaluate(
            tuned / "finetuned-10.safetensors", data=str(tmp_path / "pets.npz"), protocols=["knn"], cache=False
        )


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"data": {"data": "pipe:touch canary"}}, TrustError),
        ({"data": {"data": [1]}}, CheckpointError),
        ({"classes": ["a", "a"]}, CheckpointError),
        ({"classes": ["a", "b"]}, CheckpointError),
        ({"format": 2}, CheckpointError),
        ({"text": "[" * 100_000}, CheckpointError),
        ({"text": '{"method": 1}'}, CheckpointError),
    ],
)
def test_records_of_others(tuned: Path, tmp_path: Path, changes: dict[str, object], error: type[Exception]) -> None:
    """A damaged record is one line; what it would run needs trust."""
    file = tuned / "finetuned-10.safetensors"
    rewrite(file, **changes)
    with pytest.raises(error):
        ssl_registry.predict(file, out=tmp_path / "p.csv")
    assert not list(tmp_path.rglob("canary"))


def test_backbone_of_the_record_needs_trust(tuned: Path) -> None:
    """A Python file that a record names is not run."""
    file = tuned / "finetuned-10.safetensors"
    with safe_open(file, "pt") as opened:
        backbone = json.loads(opened.metadata()[KEY])["backbone"]
    rewrite(file, backbone={**backbone, "name": "evil.py:Net"})
    with pytest.raises(TrustError):
        ssl_registry.predict(file)
    with pytest.raises(TrustError):
        ssl_registry.train("simclr", start_from=file, out=tuned / "next")
