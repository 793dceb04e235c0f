"""Which checkpoints may go: ``tracknet checkpoint prune FOLDER``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from tracknet.cli.main import main
from tracknet.training.checkpoint_format import write_checkpoint

DAY = 86400


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs: a with five checkpoints, 50, 40, 30, 20 and 10 days old, b with one of 90 days."""
    monkeypatch.chdir(tmp_path)
    for run, names in (("a", ("e1", "best", "e2", "e3", "e4")), ("b", ("only",))):
        folder = Path("runs") / run / "checkpoints"
        folder.mkdir(parents=True)
        for place, name in enumerate(names):
            write_checkpoint({"state_dict": {"w": torch.zeros(1000)}}, folder / f"{name}.ckpt")
            age = 90 if run == "b" else 50 - 10 * place
            then = time.time() - age * DAY - 60
            os.utime(folder / f"{name}.ckpt", (then, then))
    return Path("runs")


def left(root: Path) -> list[str]:
    return sorted(path.stem for path in root.rglob("*.ckpt"))


def spoil(path: Path) -> None:
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-5])
    os.utime(path, (status.st_atime, status.st_mtime))


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        (["--keep_last", "2"], ["e1", "e2"]),
        (["--keep_last", "0"], ["e1", "e2", "e3"]),
        (["--older_than", "25d"], ["e1", "e2"]),
        (["--older_than", "5w"], ["e1"]),
        (["--older_than", "15d", "--keep_last", "3"], ["e1"]),
        (["--max_size", "1TB"], []),
        (["--max_size", "0"], ["e1", "e2", "e3"]),
        (["--older_than", "45d", "--max_size", "1KB", "--keep_last", "2"], ["e1", "e2"]),
    ],
)
def test_what_goes_is_told_first_and_removed_on_request(runs, words, gone, capsys):
    before = left(runs)
    assert main(["checkpoint", "prune", "runs", *words]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [Path(line.partition(": ")[0]).stem for line in told[:-1]] == gone
    assert told[-1].startswith(f"would remove: {len(gone)} checkpoint")
    assert left(runs) == before
    assert main(["checkpoint", "prune", "runs", *words, "--yes"]) == 0
    assert left(runs) == sorted(set(before) - set(gone))


def test_a_budget_takes_the_oldest_until_the_rest_fits(runs):
    size = (runs / "a" / "checkpoints" / "e1.ckpt").stat().st_size
    assert main(["checkpoint", "prune", "runs", "--max_size", f"{5 * size + 10}", "--yes"]) == 0
    assert left(runs) == ["best", "e2", "e3", "e4", "only"]


def test_the_last_good_one_stays_where_newer_ones_are_damaged(runs):
    folder = runs / "a" / "checkpoints"
    for name in ("best", "e3", "e4"):
        spoil(folder / f"{name}.ckpt")
    assert main(["checkpoint", "prune", "runs", "--keep_last", "0", "--yes"]) == 0
    assert left(runs) == ["e2", "only"]


def test_what_a_link_leads_to_stays(runs):
    folder = runs / "a" / "checkpoints"
    (folder / "last.ckpt").symlink_to("e1.ckpt")
    assert main(["checkpoint", "prune", str(runs / "a"), "--keep_last", "1", "--yes"]) == 0
    assert left(runs) == ["best", "e1", "e4", "last", "only"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs"], "prune runs: of a folder, say --keep_last N, --older_than 30d or --max_size 5GB"),
        (["runs", "--older_than", "soon"], "--older_than soon: expected an age such as 30d, 12h or 2w"),
        (["runs", "--max_size", "much"], "--max_size much: expected a size such as 5GB or 500MB"),
        (["runs/b/checkpoints/only.ckpt", "--keep_last", "1"], "and --yes are for folders"),
    ],
)
def test_wrong_words(runs, words, said, capsys):
    assert main(["checkpoint", "prune", *words]) == 2
    assert said in capsys.readouterr().err
    assert len(left(runs)) == 6
