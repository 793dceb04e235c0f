"""Files that are changed at random are read or refused, never more; what was found once is kept here."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import re
import signal
import zipfile

import pytest
import torch
import yaml

from tracknet.configs import compose, find_config
from tracknet.configs.tree import read_tree
from tracknet.data.labels import read_labels
from tracknet.errors import TrackNetError, UsageError
from tracknet.training.checkpoint_format import read_metadata, write_checkpoint
from tracknet.training.checkpoint_report import report_checkpoint
from tracknet.training.checkpoint_tools import verify
from tracknet.training.checkpoints import load_tracker

from .fuzz import TARGETS, Campaign, Target, add_row, fuzz
from .inputs import write_tracker


@pytest.mark.usefixtures("bright_network")
@pytest.mark.parametrize(("name", "count"), [("csv", 300), ("checkpoint", 25), ("packed", 120)])
def test_some_changed_files(tmp_path, name, count):
    campaign = fuzz(TARGETS[name], tmp_path, seed=7, count=count)
    assert campaign.findings == {}
    assert campaign.read + campaign.refused == campaign.tried == count
    assert campaign.refused > 0
    assert campaign.read > 0


@pytest.mark.slow
@pytest.mark.usefixtures("bright_network")
@pytest.mark.parametrize("name", ["checkpoint", "yaml"])
def test_more_changed_files(tmp_path, name):
    campaign = fuzz(TARGETS[name], tmp_path, seed=8, count=200)
    assert campaign.findings == {}


def test_a_reader_that_fails_hangs_or_takes_all_memory_is_found(tmp_path):
    def reader(folder):
        def read(path):
            word = path.read_text()
            if word == "wrong":
                raise KeyError(word)
            if word == "large":
                bytearray(1 << 40)
            if word == "slow":
                os.kill(os.getpid(), signal.SIGALRM)
            return "read"

        return read

    words = iter(["right", "wrong", "large", "slow", "wrong"])
    target = Target("any", lambda folder: lambda draw: ("a.txt", next(words).encode()), reader)
    campaign = fuzz(target, tmp_path, seed=0, count=5)
    assert (campaign.tried, campaign.read, campaign.refused) == (5, 1, 0)
    assert [what.split()[0] for what in campaign.findings] == ["KeyError", "MemoryError", "takes"]
    assert [path.read_text() for path in campaign.findings.values()] == ["wrong", "large", "slow"]


def test_campaigns_are_added_to_a_table(tmp_path):
    table = tmp_path / "table.md"
    for number in (1, 2000):
        campaign = Campaign(number, number, 0, {"KeyError": tmp_path}, 60.0)
        add_row(table, TARGETS["csv"], seed=number, campaign=campaign)
    lines = table.read_text().splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    assert [row[1:] for row in cells] == [
        ["target", "seed", "minutes", "tried", "read", "refused", "findings"],
        ["csv", "1", "1.0", "1", "1", "0", "1"],
        ["csv", "2000", "1.0", "2,000", "2,000", "0", "1"],
    ]


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in itertools.pairwise("abcdefghij")
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("optimizer:\n  <<: text\n", r"c\.yaml:2:7: not valid YAML: expected a mapping"),
        ("a: !!binary é\n", r"c\.yaml.*: not valid YAML: "),
        ("a: &a\n  b: [*a]\n", r"c\.yaml:1:4: this anchor \(&\) holds an alias \(\*\) of itself"),
        (LAUGHS, r"c\.yaml: its anchors \(&\) and aliases \(\*\) unfold to more than 100,000 values"),
        ("a: " + "[" * 3000 + "]" * 3000, r"c\.yaml: .*nested too deeply"),
        ("?", r"c\.yaml:1:2: expected the name of a key, found '', which YAML does not take for text"),
        ("3:\n", r"c\.yaml:1:1: expected the name of a key, found '3', which YAML does not take for text"),
        ("a:\n  ? [b]\n  : 1\n", r"c\.yaml:2:5: expected the name of a key, found a list"),
        ("a:\n  - ? {b: 1}\n    : 1\n", r"c\.yaml:2:7: expected the name of a key, found a mapping"),
        ("a: !!python/object/apply:os.getcwd []\n", r"c\.yaml:1:4: not valid YAML: could not determine"),
    ],
)
def test_yaml_that_is_no_configuration(tmp_path, text, says):
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=says):
        read_tree(find_config(str(path)))


def test_a_heading_of_invisible_characters_is_told_in_few_words(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("filA " + "\ufeff" * 51, encoding="utf-8")
    (fault,) = read_labels(path, 8, (64, 96))[1]
    assert fault.kind == "missing-column"
    assert len(fault.message) < 500


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "a\0b", "~nobody-of-this-name/a"])
@pytest.mark.parametrize("key", ["extends", "--config", "+data"])
def test_names_that_no_file_can_have(name, key, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"extends": name}))
    words = {"extends": ["--config", str(path)], "--config": ["--config", name], "+data": [f"+data={name}"]}
    with pytest.raises(UsageError, match=rf"(c\.yaml:1: )?{re.escape(key)}.*: no "):
        compose(words[key], "fit")


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("state_dict", [], "its state_dict is a list, expected names and values"),
        ("state_dict", {0: torch.ones(1)}, "its state_dict has a name that is no text"),
        ("hyper_parameters", 0, "its hyper_parameters is a int, expected names and values"),
        ("hyper_parameters", {"network": None}, "its network is a NoneType, expected names and values"),
        ("callbacks", True, "its callbacks is a bool, expected names and values"),
    ],
)
@pytest.mark.usefixtures("bright_network")
def test_checkpoints_of_another_shape(tmp_path, part, value, says):
    path = write_tracker(tmp_path / "a.ckpt")
    torch.save(torch.load(path, weights_only=True) | {part: value}, path)
    for read in (report_checkpoint, verify, load_tracker):
        with pytest.raises(TrackNetError, match=says) as refused:
            read(path)
        assert str(refused.value).startswith(f"{path}: not a readable checkpoint: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [("versions", []), ("metrics", None), ("epoch", "3"), ("saved", 5), ("data", {}), ("config", 1)],
)
def test_metadata_of_another_shape_are_none(tmp_path, name, value):
    path = tmp_path / "a.ckpt"
    recipe = {"network": {"class_path": "CompactTrackNet"}}
    write_checkpoint({"state_dict": {"network.w": torch.ones(2)}, "hyper_parameters": recipe}, path)
    assert read_metadata(path) is not None
    out = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w") as target:
        for record in source.namelist():
            told = source.read(record)
            if record.endswith("tracknet.json"):
                told = json.dumps(json.loads(told) | {name: value}).encode()
            target.writestr(record, told)
        target.comment = source.comment
    made = out.getvalue()[:-64]
    path.write_bytes(made + hashlib.sha256(made).hexdigest().encode())
    assert read_metadata(path) is None
    assert "checkpoint of tracknet" in report_checkpoint(path)
