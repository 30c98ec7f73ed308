"""A `Source` of Python in the place of a name: every verb takes it, and a run says that it must be given again."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import TensorDataset

from ssl_registry import embed, evaluate, finetune, train
from ssl_registry._system.yaml_files import read_yaml
from ssl_registry.cli import main
from ssl_registry.data import Source
from ssl_registry.errors import ConfigError, DataError
from ssl_registry.workflows.profile import profile

QUIET = {"enable_progress_bar": False, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def waves():
    """Signals of two classes, in a data set of torch's."""
    random = torch.Generator().manual_seed(0)
    parts = [torch.randn(count, 2, 16, generator=random) for count in (32, 16)]
    labels = [torch.arange(len(part)) % 2 for part in parts]
    sets = [TensorDataset(x + 3 * y[:, None, None], y) for x, y in zip(parts, labels, strict=True)]
    return Source("waves", "signal", (2, 16), *sets, classes=("low", "high"))


@pytest.fixture(scope="module")
def trained(waves, tmp_path_factory):
    out = tmp_path_factory.mktemp("given") / "run"
    train("simclr", data=waves, batch_size=16, out=out, report=False, workers=0, trainer={**QUIET, "max_steps": 2})
    return out


def test_the_run_records_its_name(trained):
    """As one that only Python has."""
    assert read_yaml(trained / "config.yaml")["data"] == "python:waves"


def test_every_verb_takes_it(waves, trained, tmp_path):
    """Evaluation, fine-tuning and embedding judge the samples that they are given."""
    found = evaluate(trained, data=waves, protocols=["knn"], seeds=1, workers=0)
    assert (found.data, found.train, found.test) == ("waves", 32, 16)
    assert finetune(trained, data=waves, epochs=1, workers=0, trainer=QUIET).rows
    assert embed(trained, data=waves, out=tmp_path / "x.parquet", workers=0).rows == 48
    assert profile("simclr", data=waves, batch_size=16, steps=1, workers=0, trainer=QUIET).whole.rate > 0


def test_it_must_be_given_again(waves, trained, capsys):
    """Resuming asks for it, and goes on with it."""
    for verb in (evaluate, finetune):
        with pytest.raises(DataError, match=r"'waves' was a Source that Python gave.*data=source"):
            verb(trained)
    assert main(["train", "simclr", "--out", str(trained), "--resume"]) == 2
    assert "'waves' was a Source that Python gave" in capsys.readouterr().err
    limits = {**QUIET, "max_steps": 3}
    done = train("simclr", data=waves, batch_size=16, out=trained, report=False, workers=0, resume=True, trainer=limits)
    assert done.steps == 3


def test_options_for_opening_have_no_place(waves, trained):
    """They would be passed over in silence."""
    with pytest.raises(ConfigError, match="modality='table' says how a source is opened, and waves is a Source"):
        evaluate(trained, data=waves, modality="table")


def test_samples_of_another_shape_are_refused(trained):
    """As those of a name are."""
    other = Source("other", "signal", (3, 16), TensorDataset(torch.zeros(4, 3, 16)))
    with pytest.raises(DataError, match="takes samples of 2 x 16; other has samples of 3 x 16"):
        embed(trained, data=other, out="x.parquet")
