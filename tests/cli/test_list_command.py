"""``tracknet list``: what can be chosen."""

from __future__ import annotations

import re

import pytest

import tracknet.models
from tracknet.cli.main import main


def test_all_kinds_with_how_many_there_are(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    kinds = {line.split()[0]: int(line.split()[1]) for line in lines if re.match(r"\w+ +\d+ ", line)}
    assert {"networks", "losses", "decoders", "callbacks"} <= kinds.keys()
    assert all(count > 0 for count in kinds.values())
    assert lines[-1] == "`tracknet list KIND` lists them"


def test_the_classes_of_a_kind(capsys):
    assert main(["list", "networks"]) == 0
    out = capsys.readouterr().out
    for name in ("CompactTrackNet", "TrackNetV3", "WASB"):
        assert name in tracknet.models.__all__
        assert re.search(rf"^ *{name}\b", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "says"),
    [(["network"], r"no kind 'network'; did you mean 'networks'\?"), (["a", "b"], "unrecognized|unknown")],
)
def test_wrong_words(words, says, capsys):
    assert main(["list", *words]) == 2
    error = capsys.readouterr().err
    assert re.search(says, error)
    assert error.count("\n") == 1
