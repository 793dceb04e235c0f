"""Whole data sets of generated rallies: files, labels, repetition and interruption."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tracknet.data.generate import dataset, generate_rallies
from tracknet.data.generate.baseline import background_difference_baseline
from tracknet.data.generate.film import Film
from tracknet.data.labels import read_labels
from tracknet.data.layouts import FlatVideo, ShuttlecockTrajectory, TrackNetTennis
from tracknet.data.video import open_source
from tracknet.errors import TrackNetError, UsageError

SMALL = {"frames": 3, "size": (72, 128), "workers": 1, "progress": False}


def generate(root: Path, **options) -> Path:
    return generate_rallies(root, **{"train": 3, "val": 1, "test": 1} | SMALL | options)


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_the_flat_layout_is_read_back(tmp_path):
    root = generate(tmp_path / "rallies", size=(73, 129))
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*") if path.name[0] != ".")
    assert names == [
        "rallies.json",
        "test/match4_01.csv",
        "test/match4_01.mp4",
        "train/match1_01.csv",
        "train/match1_01.mp4",
        "train/match1_02.csv",
        "train/match1_02.mp4",
        "train/match2_01.csv",
        "train/match2_01.mp4",
        "val/match3_01.csv",
        "val/match3_01.mp4",
    ]
    clips, faults = FlatVideo().find(root)
    assert not faults
    assert {clip.group for clip in clips} == {"train/match1", "train/match2", "val/match3", "test/match4"}
    for clip in clips:
        info = open_source(clip.video).info
        assert (info.width, info.height, info.fps) == (130, 74, 30.0)  # even, as H.264 wants
        labels, faults = read_labels(clip.labels, 3, (74, 130))
        assert not faults
        assert labels.labelled.all()
    assert (root / "train/match1_01.csv").read_text().startswith("Frame,Visibility,X,Y\n0,")
    assert not (root / ".unfinished").exists()


@pytest.mark.parametrize(
    ("layout", "reader", "name"),
    [("tennis", TrackNetTennis, "game1/Clip2"), ("shuttlecock", ShuttlecockTrajectory, "match1/1_02_02")],
)
def test_other_layouts_are_read_back(tmp_path, layout, reader, name):
    root = generate(tmp_path / "rallies", layout=layout, sport="tennis")
    clips, faults = reader().find(root / "train")
    assert not faults
    assert name in [clip.name for clip in clips]
    assert len(clips) == 3
    clip = next(clip for clip in clips if clip.name == name)
    source = open_source(clip.video)
    frames = list(source.frames())
    assert len(frames) == 3
    assert frames[0].shape == (72, 128, 3)
    assert not read_labels(clip.labels, 3, (72, 128))[1]


def test_layouts_differ_in_files_only(tmp_path):
    flat = generate(tmp_path / "flat")
    tennis = generate(tmp_path / "tennis", layout="tennis")
    one, _ = read_labels(flat / "train/match1_02.csv", 3, (72, 128))
    other, _ = read_labels(tennis / "train/game1/Clip2/Label.csv", 3, (72, 128))
    np.testing.assert_array_equal(one.xy, other.xy)
    video = np.stack(list(open_source(flat / "train/match1_02.mp4").frames()))
    images = np.stack(list(open_source(tennis / "train/game1/Clip2").frames()))
    assert np.abs(video.astype(int) - images).mean() < 8


def test_labels_do_not_depend_on_the_number_of_processes(tmp_path):
    one = generate(tmp_path / "one")
    two = generate(tmp_path / "two", workers=2)
    tables = {name: content for name, content in files(one).items() if name.endswith((".csv", ".json"))}
    assert len(tables) == 6
    assert tables.items() <= files(two).items()


def test_other_seeds_give_other_rallies_and_parts_differ(tmp_path):
    one, other = generate(tmp_path / "one"), generate(tmp_path / "other", seed=1)
    read = [path.read_text() for root in (one, other) for path in sorted(root.rglob("*.csv"))]
    assert len(set(read)) == len(read) == 10


def test_a_second_call_writes_only_what_is_missing(tmp_path):
    root = generate(tmp_path / "rallies")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.mp4")}
    content = (root / "val/match3_01.csv").read_bytes()
    (root / "val/match3_01.csv").unlink()
    assert generate(root) == root
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == [root / "val/match3_01.mp4"]
    assert (root / "val/match3_01.csv").read_bytes() == content


def test_an_interrupt_ends_the_work_of_all_processes(tmp_path, monkeypatch):
    """With far too many frames to wait for, the call must end early, and leave no part of a rally."""

    def interrupted(jobs):
        while not list(tmp_path.rglob(".[0-9]*.mp4")):
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "as_finished", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "rallies", workers=2, frames=3000)
    assert set(files(tmp_path / "rallies")) == {".lock", "rallies.json"}
    assert not (tmp_path / "rallies" / ".unfinished").exists()


@pytest.mark.parametrize("layout", ["flat", "tennis", "shuttlecock"])
def test_an_interrupted_call_leaves_whole_rallies_and_is_continued(tmp_path, monkeypatch, layout):
    whole = generate(tmp_path / "whole", layout=layout)
    frames = Film.__iter__
    made = []

    def interrupted(film):
        made.append(film)
        for shown in frames(film):
            if len(made) == 3:
                raise KeyboardInterrupt
            yield shown

    monkeypatch.setattr(Film, "__iter__", interrupted)
    root = tmp_path / "rallies"
    with pytest.raises(KeyboardInterrupt):
        generate(root, layout=layout)
    left = files(root)
    assert {name for name in left if name.endswith(".csv")} < {
        name for name in files(whole) if name.endswith(".csv")
    }
    assert len([name for name in left if name.endswith(".csv")]) == 2
    assert set(left) < set(files(whole))
    monkeypatch.undo()
    generate(root, layout=layout)
    assert files(root) == files(whole)


def test_a_folder_with_other_settings_is_refused(tmp_path):
    root = generate(tmp_path / "rallies")
    before = files(root)
    with pytest.raises(UsageError, match="seed 0 instead of 5") as caught:
        generate(root, seed=5)
    assert str(root) in str(caught.value)
    with pytest.raises(UsageError, match=r"size \[72, 128\] instead of \[72, 130\]"):
        generate(root, size=(72, 130))
    assert files(root) == before
    (root / "rallies.json").write_text("[")
    with pytest.raises(UsageError, match="is no table of settings"):
        generate(root)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds other files and no rallies\.json"):
        generate(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        generate(tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_pictures_must_not_be_too_small(tmp_path):
    with pytest.raises(UsageError, match="found 48 x 128, expected a height and width of at least 72 x 128"):
        generate(tmp_path / "rallies", size=(48, 128))
    assert not (tmp_path / "rallies").exists()


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackNetError, match="cannot be written: Not a directory"):
        generate(tmp_path / "file" / "rallies")


def test_a_folder_that_may_not_be_written_is_told_with_its_remedy(tmp_path, monkeypatch):
    def refusing(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refusing)
    with pytest.raises(TrackNetError, match="Permission denied; choose a folder that you may write to"):
        generate(tmp_path / "rallies")


def test_settings_are_kept_with_the_rallies(tmp_path):
    root = generate(tmp_path / "rallies", sport="volleyball", train=0, val=0)
    assert json.loads((root / "rallies.json").read_text()) == {
        "version": dataset.VERSION,
        "sport": "volleyball",
        "layout": "flat",
        "train": 0,
        "val": 0,
        "test": 1,
        "frames": 3,
        "size": [72, 128],
        "fps": 30.0,
        "seed": 0,
    }


def test_a_threshold_does_not_find_the_ball(tmp_path):
    root = generate(tmp_path / "rallies", train=1, frames=48, size=(180, 320))
    found = right = visible = 0
    for clip in FlatVideo().find(root)[0]:
        frames = np.stack(list(open_source(clip.video).frames()))
        labels, _ = read_labels(clip.labels, 48, (180, 320))
        background = np.median(frames, axis=0).astype(np.uint8)
        xy, confidence = background_difference_baseline(frames, background)
        near = np.hypot(*(xy - labels.xy).T) * 288 / 180 <= 4
        found += int((confidence >= 0.5).sum())
        right += int(((confidence >= 0.5) & labels.visible & near).sum())
        visible += int(labels.visible.sum())
    assert visible > 100
    assert 2 * right / (found + visible) < 0.5


@pytest.mark.parametrize("way", ["command", "function"])
def test_a_script_that_its_own_processes_import_is_told_so(tmp_path, way):
    lines = {
        "command": """\
from tracknet.cli.main import main
words = "data generate rallies --train 2 --val 0 --test 0 --frames 4 --size 80 128 --workers 2"
print(main(words.split()))
""",
        "function": """\
from tracknet.data.generate.dataset import generate_rallies
generate_rallies("rallies", train=2, val=0, test=0, frames=4, size=(80, 128), workers=2)
""",
    }
    (tmp_path / "script.py").write_text(lines[way])
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "script.py"],
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert 'put what it does behind if __name__ == "__main__":' in done.stderr
    if way == "command":
        assert done.stdout.split()[-1] == "0"
        assert len(list((tmp_path / "rallies").rglob("*.mp4"))) == 2
    else:
        assert "a process that paints rallies has ended before its time" in done.stderr
        assert done.returncode == 1
