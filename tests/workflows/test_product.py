"""After training commands work on the method's product or, if asked, on the backbone: DINO's teacher and student."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import load_file

import ssl_registry
from ssl_registry import Registry, errors
from ssl_registry.checkpoint.weights import load_backbone_weights
from ssl_registry.measures import knn_accuracy
from ssl_registry.runs.opened import open_run

# As wide as digits need it; the student must leave the teacher, so the teacher's momentum is low.
OPTIONS = {
    "prototypes": 32,
    "hidden_dim": 32,
    "bottleneck_dim": 16,
    "local_views": 0,
    "momentum": 0.9,
    "learning_rate": 0.01,
    "frozen_epochs": 0,
}


@pytest.fixture(scope="module")
def methods():
    return Registry()


@pytest.fixture(scope="module")
def run(tmp_path_factory, methods):
    """A run of DINO on digits, of which both networks lie apart."""
    folder = tmp_path_factory.mktemp("product") / "run"
    ssl_registry.train(
        "dino",
        backbone="test_resnet",
        batch_size=64,
        knn=False,
        report=False,
        out=folder,
        options=OPTIONS,
        registry=methods,
        trainer={"max_steps": 3, "accelerator": "cpu", "enable_progress_bar": False},
    )
    return folder


def networks(run, methods):
    model = open_run(run, registry=methods).model
    return model.heads["target"][0], model.backbone


def test_export_is_the_teacher_and_loads_in_timm_alone(run, methods, tmp_path):
    """The keys are timm's, the values the teacher's."""
    teacher, student = networks(run, methods)
    result = ssl_registry.export(run, out=tmp_path / "timm", registry=methods)
    weights = load_file(result.folder / "model.safetensors")
    assert weights.keys() == teacher.state_dict().keys()
    assert all(torch.equal(value, teacher.state_dict()[key]) for key, value in weights.items())
    assert not torch.equal(weights["conv1.0.weight"], student.state_dict()["conv1.0.weight"])
    timm.create_model("test_resnet", num_classes=0, in_chans=1)  # what timm knows by itself
    scope = {"__name__": "alone"}
    exec(result.code, scope)
    x = torch.rand(4, 1, 16, 16)
    assert torch.allclose(scope["model"].eval()(x), teacher.eval()(x), atol=1e-6)


@pytest.mark.slow
def test_the_backbone_is_the_student(run, methods, tmp_path):
    """`network="backbone"` gives the other one."""
    _, student = networks(run, methods)
    result = ssl_registry.export(run, out=tmp_path / "timm", network="backbone", registry=methods)
    weights = load_file(result.folder / "model.safetensors")
    assert all(torch.equal(value, student.state_dict()[key]) for key, value in weights.items())


@pytest.mark.slow
def test_starting_from_a_run_takes_the_product(run, methods, tmp_path):
    """`weights=` of the run and of its export are the same network; the method need not be installed for it."""
    result = ssl_registry.export(run, out=tmp_path / "timm", registry=methods)
    of_run, of_export = load_backbone_weights(run).weights, load_backbone_weights(result.folder).weights
    assert of_run.keys() == of_export.keys()
    assert all(torch.equal(of_run[key], of_export[key]) for key in of_run)


@pytest.mark.slow  # a trained DINO, evaluated twice
def test_evaluate_agrees_on_the_run_and_on_the_export(run, methods, tmp_path):
    """k-NN on the run is k-NN on the exported weights; that of the student is another."""
    result = ssl_registry.export(run, out=tmp_path / "timm", registry=methods)
    arguments = {"protocols": ["knn"], "cache": False, "registry": methods}
    product, backbone = (ssl_registry.evaluate(run, network=name, **arguments) for name in ("product", "backbone"))
    trained = [rows.rows[0].metrics["accuracy"].mean for rows in (product, backbone)]
    assert trained[0] == pytest.approx(knn_of(result, open_run(run, registry=methods)), abs=1e-9)
    assert trained[0] != trained[1]


def knn_of(result, opened):
    """k-NN by the export alone, on the same samples."""
    scope = {"__name__": "alone"}
    exec(result.code, scope)
    network, source = scope["model"].eval(), opened.open_data()
    parts = []
    for part in (source.train, source.test):
        loader = torch.utils.data.DataLoader(part, batch_size=256)
        with torch.no_grad():
            x = torch.cat([network(opened.model.view_policy.prepare(x)) for x, _ in loader])
        parts += [x, torch.cat([y for _, y in loader])]
    return knn_accuracy(*parts, k=20, temperature=0.1)


@pytest.mark.parametrize("verb", ["evaluate", "embed", "export", "finetune"])
def test_another_name_is_refused(run, methods, verb, tmp_path):
    """With those that there are."""
    more = {"embed": {"out": tmp_path / "x.parquet"}}.get(verb, {})
    with pytest.raises(errors.ConfigError, match=r"network='teacher' is not known.*'product' is"):
        getattr(ssl_registry, verb)(run, network="teacher", registry=methods, **more)
