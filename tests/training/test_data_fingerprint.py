"""What a record says of data whose clips it does not know: names, sizes and times of the files."""

from __future__ import annotations

import os

import pytest
from lightning.pytorch import LightningDataModule

from tracknet.training.records import fingerprint
from tracknet.training.records.fingerprint import data_fingerprint


class Files(LightningDataModule):
    def __init__(self, root):
        super().__init__()
        self.root = root


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "match1").mkdir()
    for name in ("a.csv", "match1/b.csv"):
        (tmp_path / name).write_text("Frame,X,Y\n")
        os.utime(tmp_path / name, (1_000, 1_000))
    return tmp_path


def print_of(folder):
    return data_fingerprint(Files(folder))["fingerprint"]


def test_it_says_what_it_is_of(folder):
    told = data_fingerprint(Files(str(folder)))
    assert told["of"] == "names, sizes and times"
    assert (told["files"], told["root"]) == (2, str(folder))
    assert told["fingerprint"] == print_of(folder)
    assert len(told["fingerprint"]) == 32


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.csv").rename(folder / "c.csv"),
        lambda folder: (folder / "match1").rename(folder / "match2"),
        lambda folder: (folder / "match1/b.csv").unlink(),
        lambda folder: os.utime(folder / "a.csv", (1_000, 1_001)),
        lambda folder: (folder / "d.csv").write_text(""),
        lambda folder: (folder / "a.csv").write_text("Frame,X\n"),
    ],
)
def test_it_changes_with_each_of_them(change, folder):
    before = print_of(folder)
    change(folder)
    assert print_of(folder) != before


def test_links_are_not_followed(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "a").write_text("1")
    (folder / "link").symlink_to(other)
    before = data_fingerprint(Files(folder))
    (other / "a").write_text("123")
    assert data_fingerprint(Files(folder)) == before


def test_a_file_that_has_gone_since_it_was_listed_is_left_out(folder, monkeypatch):
    monkeypatch.setattr(fingerprint.os, "walk", lambda root: [(root, [], ["a.csv", "gone.csv"])])
    assert data_fingerprint(Files(folder))["files"] == 1


def test_a_folder_of_very_many_files_is_told_as_such(folder, monkeypatch):
    monkeypatch.setattr(fingerprint, "_MOST", 1)
    told = data_fingerprint(Files(folder))
    assert (told["of"], told["fingerprint"]) == ("nothing: too many files", None)


def test_where_there_is_nothing_to_tell(folder):
    assert data_fingerprint(None) is None
    assert data_fingerprint(LightningDataModule()) is None
    assert data_fingerprint(Files(folder / "missing")) is None
