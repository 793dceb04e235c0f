"""Label files of every kind give exactly what they say, and all that is wrong with them at once."""

from __future__ import annotations

import shutil

import pytest

from tracknet.data.check import check_dataset

from .inputs import say
from .label_files import places_of, tables, write_clip

TABLES = {f"{place:02d}": table for place, table in enumerate(tables())}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All label files in one data set, each beside a copy of one video."""
    root = tmp_path_factory.mktemp("tables")
    (name, table), *others = TABLES.items()
    write_clip(table, root, name)
    for other, table in others:
        shutil.copyfile(root / f"{name}.mp4", root / f"{other}.mp4")
        (root / f"{other}.csv").write_bytes(table.content)
    return root


def test_labels_and_faults_are_exact(folder):
    report = check_dataset(folder)
    labels = {one.clip.name: places_of(one.labels) for one in report.checked}
    assert labels == {name: table.places for name, table in TABLES.items()}
    found = {
        name: tuple((fault.kind, fault.line) for fault in report.faults if fault.path.stem == name)
        for name in TABLES
    }
    assert found == {name: table.faults for name, table in TABLES.items()}


def test_the_command_tells_all_of_them_at_once(folder):
    said = say("data", "check", folder, "--shown", "0")
    assert (said.code, said.err) == (1, "")
    for name, table in TABLES.items():
        kinds = dict(reversed(table.faults))
        for line in kinds.values():
            assert f"{folder / name}.csv:{'' if line is None else f'{line}:'} " in said.out, table.name
        assert (f"{folder / name}.csv" in said.out) == bool(table.faults), table.name
    kinds = {kind for table in TABLES.values() for kind, _ in table.faults}
    assert said.out.count("\n  remedy: ") == len(kinds)
