"""Layouts: which clips are found, how they are called, what is missing."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracknet.data.clips import Clip, is_clip_name
from tracknet.data.layouts import FlatVideo, ShuttlecockTrajectory, TrackNetTennis, detect_layout
from tracknet.data.packed_index import INDEX, TABLE
from tracknet.data.splits import Split, choose_clips
from tracknet.errors import TrackNetError


@pytest.fixture
def tree(tmp_path):
    def _tree(*names: str):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return _tree


def summary(clips, root):
    return [
        (
            clip.name,
            clip.group,
            clip.video.relative_to(root).as_posix(),
            clip.labels.relative_to(root).as_posix() if clip.labels else None,
        )
        for clip in clips
    ]


def test_flat(tree):
    root = tree(
        "game10_Clip1.mp4", "game10_Clip1.csv", "game2_Clip1.MP4", "game2_Clip1.csv", "00001.avi", "00001.csv"
    )
    tree("notes.txt", ".hidden.mp4", "._00001.csv")
    layout = detect_layout(root)
    assert isinstance(layout, FlatVideo)
    clips, faults = layout.find(root)
    assert faults == []
    assert summary(clips, root) == [
        ("00001", "", "00001.avi", "00001.csv"),
        ("game2_Clip1", "game2", "game2_Clip1.MP4", "game2_Clip1.csv"),
        ("game10_Clip1", "game10", "game10_Clip1.mp4", "game10_Clip1.csv"),
    ]


def test_flat_with_gaps(tree):
    root = tree("a.mp4", "b.csv", "c.mp4", "c.csv")
    clips, faults = FlatVideo().find(root)
    assert [(clip.name, clip.labels is None) for clip in clips] == [("a", True), ("c", False)]
    assert [str(fault) for fault in faults] == [
        f"{root}/a.mp4: has no labels; expected a.csv beside it",
        f"{root}/b.csv: has no video; expected b.mp4 beside it",
    ]
    assert [fault.kind for fault in faults] == ["no-labels", "no-video"]


def test_labels_that_cvat_exported_are_to_be_renamed(tree):
    root = tree("a.mp4", "Annotations.xml")
    _, faults = FlatVideo().find(root)
    assert [str(fault) for fault in faults] == [
        f"{root}/a.mp4: has no labels; expected a.csv beside it, or a.xml of CVAT; "
        "rename Annotations.xml where it is that"
    ]


def test_tennis(tree):
    root = tree(
        "game10/Clip2/0000.jpg",
        "game10/Clip2/Label.csv",
        "game2/Clip10/0000.jpg",
        "game2/Clip10/Label.csv",
        "game2/Clip9/0000.jpg",
        "game3/Clip1/Label.csv",
        "game3/Clip2/readme.txt",
        "game3/notes/0000.jpg",
    )
    layout = detect_layout(root)
    assert isinstance(layout, TrackNetTennis)
    clips, faults = layout.find(root)
    assert summary(clips, root) == [
        ("game2/Clip9", "game2", "game2/Clip9", None),
        ("game2/Clip10", "game2", "game2/Clip10", "game2/Clip10/Label.csv"),
        ("game10/Clip2", "game10", "game10/Clip2", "game10/Clip2/Label.csv"),
    ]
    assert [(fault.kind, fault.path.relative_to(root).as_posix()) for fault in faults] == [
        ("no-labels", "game2/Clip9"),
        ("no-video", "game3/Clip1/Label.csv"),
    ]


def test_shuttlecock(tree):
    root = tree(
        "match1/csv/1_01_00_ball.csv",
        "match1/csv/1_02_00_ball.csv",
        "match1/corrected_csv/1_02_00_ball.csv",
        "match1/video/1_01_00.mp4",
        "match1/video/1_02_00.mp4",
        "match1/frame/1_02_00/0.png",
        "match2/csv/1_01_01_ball.csv",
        "match2/frame/1_01_01/0.png",
        "match2/frame/1_01_02/0.png",
        "match2/csv/1_09_09_ball.csv",
    )
    layout = detect_layout(root)
    assert isinstance(layout, ShuttlecockTrajectory)
    clips, faults = layout.find(root)
    assert summary(clips, root) == [
        ("match1/1_01_00", "match1", "match1/video/1_01_00.mp4", "match1/csv/1_01_00_ball.csv"),
        ("match1/1_02_00", "match1", "match1/video/1_02_00.mp4", "match1/corrected_csv/1_02_00_ball.csv"),
        ("match2/1_01_01", "match2", "match2/frame/1_01_01", "match2/csv/1_01_01_ball.csv"),
        ("match2/1_01_02", "match2", "match2/frame/1_01_02", None),
    ]
    assert [(fault.kind, fault.path.name) for fault in faults] == [
        ("no-labels", "1_01_02"),
        ("no-video", "1_09_09_ball.csv"),
    ]
    assert "../csv/1_01_02_ball.csv" in faults[0].message
    assert "../video/1_09_09.mp4" in faults[1].message


@pytest.mark.parametrize("parts", [("test", "train", "val"), ("Amateur", "Professional", "Test")])
def test_shuttlecock_in_parts(tree, parts):
    for part in parts:
        root = tree(f"{part}/match1/csv/1_01_00_ball.csv", f"{part}/match1/video/1_01_00.mp4")
    layout = detect_layout(root)
    assert isinstance(layout, ShuttlecockTrajectory)
    clips, faults = layout.find(root)
    assert faults == []
    assert [(clip.name, clip.group) for clip in clips] == [
        (f"{part}/match1/1_01_00", f"{part}/match1") for part in parts
    ]


@pytest.mark.parametrize(
    ("folders", "read"),
    [
        (["Test"], []),
        (["Val", "Test"], []),
        (["val", "Test"], ["val"]),
        (["test"], ["test"]),
        (["Train", "Test"], ["Train", "Test"]),
        (["train", "VAL"], ["train", "VAL"]),
    ],
)
def test_parts_of_any_case_are_read_beside_a_folder_for_training(tree, folders, read):
    for name in ("a", *(f"{folder}/b" for folder in folders)):
        root = tree(f"{name}.mp4", f"{name}.csv")
    clips, faults = FlatVideo().find(root)
    assert faults == []
    assert [clip.name for clip in clips] == ["a", *(f"{folder}/b" for folder in read)]


def test_shuttlecock_as_wasb_keeps_it(tree):
    for match in ("match1", "match2", "test_match1", "test_match10", "test_match2"):
        root = tree(f"{match}/csv/1_01_00_ball.csv", f"{match}/video/1_01_00.mp4")
    layout = detect_layout(root)
    assert isinstance(layout, ShuttlecockTrajectory)
    clips, faults = layout.find(root)
    assert faults == []
    groups = ["match1", "match2", "test_match1", "test_match2", "test_match10"]
    assert [clip.group for clip in clips] == groups
    # Without names, the test matches are not trained on.
    parts = choose_clips(clips, Split(), 0.5)
    assert [clip.group for clip in parts["test"]] == groups[2:]
    assert {clip.group for clip in parts["train"] + parts["val"]} == {"match1", "match2"}
    named = choose_clips(clips, Split(train=("match1",), test=("test_match2",)), 0.0)
    assert [clip.group for clip in named["test"]] == ["test_match2"]


def test_labels_alone_are_recognised(real_data):
    root = real_data / "shuttlecock_trajectories"
    clips, faults = detect_layout(root).find(root)
    assert clips == []
    assert [fault.kind for fault in faults] == ["no-video"] * 18


def test_an_unknown_layout_lists_what_is_expected(tree):
    root = tree("notes.txt", "inner/a.mp4")
    with pytest.raises(TrackNetError) as caught:
        detect_layout(root)
    message = str(caught.value)
    assert "the folder inner in it has one of them" in message
    for expected in ("flat: [train|val|test/]NAME.mp4", "tennis: [train|val|test/]game*/", "shuttlecock: "):
        assert f"\n  {expected}" in message


def test_a_folder_of_cvat_is_told_where_its_labels_belong(tree):
    root = tree("annotations.xml", "images/frame_000000.PNG")
    told = r"annotations\.xml of CVAT belongs beside its video, renamed to NAME\.xml as in the layout flat; "
    with pytest.raises(TrackNetError, match=told):
        detect_layout(root)


def test_packed_data_are_told_from_a_data_set(tree):
    root = tree(INDEX, TABLE, "train-00000.tar")
    with pytest.raises(TrackNetError, match=r"these are packed data, for \+data=packed; "):
        detect_layout(root)


def test_an_empty_folder_is_told(tree):
    root = tree(".hidden.mp4")
    with pytest.raises(TrackNetError, match="the folder is empty; expected that of a data set"):
        detect_layout(root)


def test_what_is_no_folder_is_told(tree):
    root = tree("file.txt")
    with pytest.raises(TrackNetError, match="gone: there is no such folder"):
        detect_layout(root / "gone")
    with pytest.raises(TrackNetError, match=r"file\.txt: is not a folder"):
        detect_layout(root / "file.txt")


def test_the_nearest_folder_is_told(tmp_path):
    (tmp_path / "badminton").mkdir()
    (tmp_path / "badminton.csv").touch()
    with pytest.raises(TrackNetError, match=r"of a data set; did you mean 'badminton'\?$"):
        detect_layout(tmp_path / "badmintn")


def test_flat_clips_may_lie_in_parts(tmp_path):
    for part in ("train", "val", "test"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "match1_a.mp4").touch()
        (tmp_path / part / "match1_a.csv").touch()
    clips, faults = FlatVideo().find(tmp_path)
    assert [(clip.name, clip.group) for clip in clips] == [
        (f"{part}/match1_a", f"{part}/match1") for part in ("train", "val", "test")
    ]
    assert faults == []
    assert FlatVideo().recognises(tmp_path)


def test_tennis_games_may_lie_in_parts(tmp_path):
    for part in ("train", "Test"):
        folder = tmp_path / part / "game1" / "Clip2"
        folder.mkdir(parents=True)
        (folder / "0000.jpg").touch()
        (folder / "Label.csv").touch()
    clips, faults = TrackNetTennis().find(tmp_path)
    assert [(clip.name, clip.group) for clip in clips] == [
        ("train/game1/Clip2", "train/game1"),
        ("Test/game1/Clip2", "Test/game1"),
    ]
    assert faults == []


@given(parts=st.lists(st.sampled_from(["..", ".", "", "a", "b c", "..a", "/", "\\", "\0", "~"]), min_size=1))
def test_files_named_after_a_clip_stay_in_their_folder(parts):
    for sign in "/\\":
        name = sign.join(parts)
        if not is_clip_name(name):
            continue
        for kind in (PurePosixPath, PureWindowsPath):
            below = kind("/results") / f"{name}.csv"
            assert below.is_relative_to("/results")
            assert ".." not in below.parts
            assert "\0" not in name


def test_ordinary_names_are_names_of_clips():
    names = ("match1/1_02_00", "train/game 3/Clip-1", "..a/b..", "ünï", "a" * 255)
    assert all(is_clip_name(name) for name in names)
    assert not any(is_clip_name(name) for name in ("", "a/", "/a", "a//b", "a/../b", ".", "a" * 256))


def test_a_name_that_is_no_text_is_escaped():
    video = Path(os.fsdecode(b"caf\xe9.mp4"))
    clip = Clip(video.stem, "", video, None)
    assert clip.name == r"caf\xe9"
    assert clip.video == video
