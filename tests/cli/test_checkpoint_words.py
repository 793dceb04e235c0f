"""``--ckpt_path`` among the words of a command."""

from __future__ import annotations

import pytest

from tracknet.cli.main import main
from tracknet.cli.resuming import resolve
from tracknet.cli.words import checkpoints_named, config_of_run
from tracknet.errors import UsageError


def test_both_ways_of_writing_it_are_found():
    words = ["--ckpt_path", "a.ckpt", "--x=1", "--ckpt_path=b.ckpt", "--ckpt_path"]
    assert list(checkpoints_named(words)) == [(0, 2, "a.ckpt"), (3, 4, "b.ckpt")]


@pytest.mark.parametrize("words", [["--ckpt_path="], ["--ckpt_path", ""]])
def test_an_empty_one_is_not_the_current_folder(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "of_another_run.ckpt").touch()
    for find in (lambda: resolve(words, "fit"), lambda: config_of_run(words)):
        with pytest.raises(UsageError, match="--ckpt_path: expected a file or a folder, found nothing"):
            find()


def test_nor_is_an_empty_variable(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tracknet"])
    monkeypatch.setenv("TRACKNET_FIT__CKPT_PATH", "")
    assert main(["fit", "+env=ci", "+model=compact", "--data=FlatVideoDataModule", "--data.root=x"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "tracknet fit: --ckpt_path: expected a file or a folder, found nothing"
