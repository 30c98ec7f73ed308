"""The report as a file: complete, by itself, honest about what is missing, and never half-written."""

from __future__ import annotations

import json
import os
import re
import shutil

import numpy as np
import pytest
import torch

from ssl_registry import registry
from ssl_registry.cli import main
from ssl_registry.data import open_source
from ssl_registry.errors import ConfigError
from ssl_registry.workflows.evaluate.evaluate import evaluate
from ssl_registry.workflows.report import write_report
from ssl_registry.workflows.report.facts import read_facts
from ssl_registry.workflows.report.gallery import build_gallery
from ssl_registry.workflows.report.page import render
from ssl_registry.workflows.report.run_page import RunPage
from ssl_registry.workflows.report.verdict_of_run import verdict_of_run
from ssl_registry.workflows.train import train


def payload(page):
    """What the page's script draws from."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_training_writes_a_report_with_everything(run):
    """Curves, pictures, maps, neighbours, confusion, options with their origins, versions, the command."""
    page = (run / "report.html").read_text(encoding="utf-8")
    data = payload(page)
    titles = [panel["title"] for panel in data["panels"]]
    assert titles == ["Loss", "Accuracy", "Learning rate", "Momentum", "Throughput"]
    assert len(data["panels"][0]["lines"][0]["points"]) == 10
    assert {"PCA", "t-SNE"} <= set(data["maps"][0]["points"])
    assert len(data["maps"][0]["labels"]) == 497
    assert '<p class="verdict">Trained features:' in page
    for words in ("Nearest neighbours", "Confusion of the linear probe", "hidden_dim", "argument", "Versions", "torch"):
        assert words in page
    assert f"ssl-registry train byol --config {run / 'config.yaml'} --out {run}-again" in page


def test_page_needs_nothing_else(run):
    """No address of another file or host: every picture is within, and scripts and styles too."""
    page = (run / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', page) == []
    assert re.findall(r"url\((?!data:)", page) == []
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {"http://www.w3.org/2000/svg"}
    assert len(page) < 2_000_000


def test_curves_end_in_what_was_measured(run):
    """The accuracy before stands at step 0, the one after at the last step."""
    results = json.loads((run / "results.json").read_text())
    page = (run / "report.html").read_text(encoding="utf-8")
    (accuracy,) = (panel for panel in payload(page)["panels"] if panel["title"] == "Accuracy")
    knn = next(line["points"] for line in accuracy["lines"] if line["label"] == "k-NN")
    assert knn[0] == [0.0, results["knn"]["untrained"]]
    assert knn[-1] == [10.0, results["knn"]["trained"]]


def test_several_runs_stand_side_by_side(run, other_run, tmp_path, capsys):
    """One file, a colour for each, only the options that differ in sight."""
    out = tmp_path / "both.html"
    assert main(["report", str(run), str(other_run), "--out", str(out), "--trust"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    page = out.read_text(encoding="utf-8")
    data = payload(page)
    loss = data["panels"][0]["lines"]
    assert [(line["label"], line["color"]) for line in loss] == [("byol: loss", 0), ("simclr: loss", 1)]
    assert len([found for found in data["maps"] if found]) == 2
    differing = page.partition("What differs")[2].partition("<details>")[0]
    assert "<td>method</td>" in differing
    assert "<td>batch_size</td>" not in differing


def test_written_again_from_the_folder(other_run):
    """A run that was trained without a report gets one, from its checkpoint and its data."""
    assert not (other_run / "report.html").exists()
    assert write_report(other_run, trust=True) == other_run / "report.html"
    assert payload((other_run / "report.html").read_text(encoding="utf-8"))["maps"][0]["points"]


def test_without_its_network_the_rest_is_shown(run, tmp_path):
    """Curves and options stay, and the page says why there are no pictures."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("checkpoints", "report.html"))
    page = write_report(copy).read_text(encoding="utf-8")
    assert payload(page)["panels"]
    assert "no pictures:" in page
    assert "checkpoints/last.ckpt" in page


def test_without_trust_nobodys_network_is_run(run, tmp_path):
    """The page says what would have been run, and how to say yes."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    page = write_report(copy).read_text(encoding="utf-8")
    assert payload(page)["panels"]
    assert "which would run the Python file" in page
    assert "add --trust" in page


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "is no folder; give the folder that"),
        (lambda folder: (folder / "config.yaml").unlink(), "has no config.yaml; give the folder that"),
        (lambda folder: (folder / "config.yaml").write_text("[1, 2"), "config.yaml is not YAML"),
        (lambda folder: (folder / "config.yaml").write_text("just words"), "must hold a mapping of options"),
        (lambda folder: (folder / "results.json").write_text('{"steps": 1'), "results.json is damaged"),
    ],
)
def test_broken_folder_is_one_line(run, tmp_path, capsys, break_it, message):
    """Exit code 2, and no page."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("report.html"))
    break_it(copy)
    assert main(["report", str(copy)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (copy / "report.html").exists()


def test_no_run_is_an_error():
    """From Python too."""
    with pytest.raises(ConfigError, match="at least one run"):
        write_report()


def test_full_disk_leaves_the_old_page(run, monkeypatch):
    """The page is written beside its place: an error there loses nothing, and leaves no half file."""
    before = (run / "report.html").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(run)
    assert (run / "report.html").read_bytes() == before
    assert not list(run.glob("*.part"))


def test_unwritable_place_is_one_line(run, tmp_path, capsys):
    """A file where the folder should be."""
    (tmp_path / "file").write_text("")
    assert main(["report", str(run), "--out", str(tmp_path / "file/report.html")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert str(tmp_path / "file") in line


def test_names_from_outside_are_escaped(run, tmp_path):
    """A class, an option or a folder may hold what would be a tag."""
    copy = tmp_path / "a<b>&c"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("checkpoints", "report.html"))
    page = write_report(copy).read_text(encoding="utf-8")
    assert "a<b>" not in page
    assert "a&lt;b&gt;&amp;c" in page


def test_resumed_tables_are_merged(run, tmp_path):
    """Where two sittings logged one step, the later one counts; a row that was cut short is passed over."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("checkpoints"))
    second = copy / "metrics/version_1"
    second.mkdir()
    (second / "metrics.csv").write_text("epoch,step,train_loss\n1,7,-0.5\n2,8,-0.25\n2,9,0.1e")
    points = read_facts(copy).curves["train_loss"]
    assert points[7:9] == [(7.0, -0.5), (8.0, -0.25)]
    assert [step for step, _ in points] == list(range(10))


def test_a_run_too_short_for_curves_says_so(run, tmp_path):
    """Instead of leaving them out without a word."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "metrics")
    results = json.loads((copy / "results.json").read_text())
    (copy / "results.json").write_text(json.dumps({key: results[key] for key in ("steps", "seconds")}))
    write_report(copy)
    page = (copy / "report.html").read_text(encoding="utf-8")
    assert "No curves: figures are logged every" in page
    assert "<h2>Curves</h2>" not in page


def test_long_curves_are_thinned(run, tmp_path):
    """To means of neighbours, at most 400."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("checkpoints", "metrics"))
    (copy / "metrics/version_0").mkdir(parents=True)
    rows = "".join(f"{step},{step % 2}\n" for step in range(10_000))
    (copy / "metrics/version_0/metrics.csv").write_text("step,train_loss\n" + rows)
    points = read_facts(copy).curves["train_loss"]
    assert len(points) == 400
    assert np.mean([value for _, value in points]) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("shape", [(60, 3, 32), (60, 7)])
def test_signals_and_tables_have_pictures(shape, tmp_path, run):
    """Waves and bars, labels or not."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).numpy()
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(60) % 3)
    source = open_source(str(tmp_path / "x.npz"), modality="signal" if len(shape) == 3 else "table")
    backbone = "signal_encoder" if len(shape) == 3 else "table_encoder"
    model = registry.create("lfr", backbone=backbone, input_shape=source.input_shape, num_candidates=3, num_targets=2)
    gallery = build_gallery(model, source)
    assert gallery.views.width == 120
    assert (gallery.has_views, gallery.views.count) == (False, 6)  # LFR sees the samples: three draws tell nothing
    words = "32 moments; 3 channels" if len(shape) == 3 else "A bar for each of 7 features"
    assert words in gallery.told
    page = render([RunPage(0, read_facts(run), gallery)])
    assert "Samples: the method sees them as they are." in page
    assert words in page
    assert gallery.thumbs.count == len(gallery.labels) == len(gallery.maps["t-SNE"])
    assert gallery.confusion is not None
    assert sum(map(sum, gallery.confusion.counts)) == gallery.thumbs.count


def test_without_labels_nothing_is_said_of_classes(tmp_path):
    """No colours, no confusion, the map all the same."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32))
    source = open_source(str(tmp_path / "x.npy"))
    model = registry.create("lfr", backbone="table_encoder", input_shape=(6,), num_candidates=3, num_targets=2)
    gallery = build_gallery(model, source)
    assert (gallery.labels, gallery.classes, gallery.confusion) == ([], [], None)
    assert len(gallery.maps["PCA"]) == 40


def test_the_last_evaluation_has_the_word_where_a_run_had_no_labels(tmp_path):
    """Its verdict, and which data it is about; a fine-tuning compares no features."""
    x = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16)).astype(np.uint8)
    np.savez(tmp_path / "plain.npz", X=x)
    np.savez(tmp_path / "labelled.npz", X=x, y=np.arange(40) % 2)
    trainer = {"max_steps": 2, "accelerator": "cpu", "enable_progress_bar": False}
    given = {"data": str(tmp_path / "plain.npz"), "backbone": "test_resnet", "batch_size": 16, "report": False}
    folder = train("byol", out=tmp_path / "run", trainer=trainer, **given).run
    assert "Without labels nothing is certain" in verdict_of_run(read_facts(folder))
    said = evaluate(folder, data=str(tmp_path / "labelled.npz"), protocols=["knn"]).verdict
    assert said.startswith("Trained features: ")
    assert verdict_of_run(read_facts(folder)) == f"On labelled: {said}"
    with (folder / "evaluations.jsonl").open("a") as file:
        file.write(
            json.dumps({"data": "x", "verdict": "Fine-tuned.", "rows": [{"protocol": "fine-tuned 10 %"}]}) + "\n"
        )
    assert verdict_of_run(read_facts(folder)) == f"On labelled: {said}"
    with (folder / "evaluations.jsonl").open("a") as file:
        file.write('{"data": 1')
    with pytest.raises(ConfigError, match=r"evaluations\.jsonl is damaged"):
        read_facts(folder)


def test_neighbours_are_the_nearest(run, workshop):
    """By cosine similarity, never the sample itself, the nearest first."""
    source = open_source("digits")
    from ssl_registry._system.python_files import load_object

    backbone = load_object(f"{workshop / 'network.py'}:Network")()
    model = registry.load(run, backbone=backbone)
    gallery = build_gallery(model, source)
    z = torch.nn.functional.normalize(model.embed(source.test.x), dim=1)
    asked, *found = gallery.neighbours[3]
    similarity = z @ z[asked]
    similarity[asked] = -2
    assert found == similarity.argsort(descending=True)[:6].tolist()
    assert gallery.similarities[3] == pytest.approx(similarity[found].tolist(), abs=1e-5)


@pytest.mark.parametrize(("broken", "words"), [(float("nan"), "NaN"), (0.0, "all embeddings are the same")])
def test_a_dead_network_still_has_a_report(broken, words):
    """Without a map, and with the reason."""
    source = open_source("digits")
    model = registry.create(
        "simclr", backbone=torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 8)), input_shape=(1, 16, 16)
    )
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.fill_(broken)
    gallery = build_gallery(model, source)
    assert gallery.maps == {}
    assert words in gallery.notes[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.pdf", r"a report is HTML; give --out .*x\.html, open it in a browser, and print it to a PDF there"),
        ("x.md", r"a report is HTML, and .*x\.md says something else; give --out .*x\.html"),
    ],
)
def test_names_of_other_kinds(name, words, tmp_path):
    """Told before a run is read."""
    with pytest.raises(ConfigError, match=words):
        write_report(tmp_path / "run", out=tmp_path / name)
    assert not list(tmp_path.iterdir())
