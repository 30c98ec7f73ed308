"""``ssl-registry check``: its table, its JSON, its exit codes."""

from __future__ import annotations

import json

import pytest

from ssl_registry.cli import main

QUICK = ["--only", "documentation", "config_round_trip"]


def test_table(capsys):
    """A row for each check and a verdict."""
    assert main(["check", "byol", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "documentation" in out
    assert "2 passed. It conforms." in out


def test_json(capsys):
    """What a machine needs: the verdict, and each check's status, reason and time."""
    assert main(["check", "byol", "--json", *QUICK]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["method"], facts["passed"]) == ("ssl-registry-byol:byol", True)
    assert [row["check"] for row in facts["checks"]] == QUICK[1:]
    assert facts["checks"][0]["status"] == "passed"


def test_repeated_options_add_up(capsys):
    """Of two --only, --set or --expect none is forgotten."""
    words = ["--only", "documentation", "--only", "config_round_trip", "--set", "hidden_dim=8", "--set", "momentum=2"]
    assert main(["check", "byol", *words]) == 2
    assert "momentum=2 is not accepted" in capsys.readouterr().err
    assert main(["check", "byol", *words[:6], "--expect=documentation=a", "--expect=config_round_trip=b"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "2 unexpected" in out


def test_a_backbone_by_name(capsys):
    """It is the checks' in place of the tiny ones; arguments of it come with it."""
    chosen = ["backbone=resnet10t", "image_size=32", "in_chans=3", "hidden_dim=8", "projection_dim=8"]
    assert main(["check", "byol", "--only", "stopping", "odd_sizes", "--set", *chosen]) == 0
    assert "the backbone is resnet10t" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_method_that_does_not_conform(flags, capsys):
    """Exit code 1; here an expected failure that does not come."""
    assert main(["check", "byol", *QUICK, "--expect", "documentation=it has none", *flags]) == 1
    assert "take it off the list" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["byoll"], "no method 'byoll' is installed. Did you mean 'byol'?"),
        (["byol", "--only", "documention"], "Did you mean 'documentation'"),
        (["byol", "--set", "hidden_dim"], "--set takes NAME=VALUE, not 'hidden_dim'"),
        (["byol", "--set", "hidden_dims=3"], "byol has no option 'hidden_dims'. Did you mean 'hidden_dim'"),
        (["byol", "--set", "hidden_dim=0"], "hidden_dim=0 is not accepted"),
        (["byol", "--expect", "x=y"], "there is no check 'x'"),
        ([], "the following arguments are required: method"),
    ],
)
def test_mistakes_are_one_line(argv, told, capsys):
    """Exit code 2, and what mends it."""
    assert main(["check", *argv]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1
