"""Layouts of public data sets: generated miniatures of each, from the files to the batches."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tracknet.data import splits
from tracknet.data.check import check_dataset
from tracknet.data.clips import Clip
from tracknet.data.generate import generate_rallies
from tracknet.data.label_formats import write_ball_markup
from tracknet.data.labels import Labels
from tracknet.data.layouts import (
    LAYOUTS,
    BlurBall,
    OpenTTGames,
    RacketVision,
    WasbBasketball,
    WasbSoccer,
    WasbVolleyball,
    detect_layout,
)
from tracknet.data.public_datamodules import (
    BasketballDataModule,
    BlurBallDataModule,
    OpenTTGamesDataModule,
    RacketVisionDataModule,
    SoccerDataModule,
    VolleyballDataModule,
)
from tracknet.data.splits import Split, choose_clips
from tracknet.errors import TrackNetError, UsageError

MODULES = {
    "racketvision": RacketVisionDataModule,
    "blurball": BlurBallDataModule,
    "soccer": SoccerDataModule,
    "volleyball": VolleyballDataModule,
    "basketball": BasketballDataModule,
}
LABELLED = (3, 4, 5, 40, 41)
"""Labelled frames of each miniature of OpenTTGames; the ball is hidden in the last."""


@pytest.fixture
def tree(tmp_path):
    def _tree(*names: str):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return _tree


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory):
    """A generated data set of each layout but OpenTTGames; a rally in each part, 12 frames of 72x128."""
    root = tmp_path_factory.mktemp("miniatures")
    for layout in MODULES:
        generate_rallies(
            root / layout,
            layout=layout,
            train=1,
            val=1,
            test=1,
            frames=12,
            size=(72, 128),
            workers=1,
            progress=False,
        )
    return root


@pytest.fixture(scope="module")
def opentt(tmp_path_factory, write_rally):
    """OpenTTGames: two training games and a test, 60 frames of 64x96 with five labels each."""
    root = tmp_path_factory.mktemp("opentt")
    for n, (part, game) in enumerate((("training", "game_1"), ("training", "game_2"), ("test", "test_1"))):
        folder = root / part / "videos"
        folder.mkdir(parents=True, exist_ok=True)
        truth = write_rally(folder, game, 60, hidden=(41,), phase=n)
        (folder / f"{game}.csv").unlink()
        marked = np.zeros(60, bool)
        marked[list(LABELLED)] = True
        markup = root / part / "annotations" / game / "ball_markup.json"
        markup.parent.mkdir(parents=True)
        write_ball_markup(markup, Labels(truth.xy, truth.visible & marked, marked))
        (markup.parent / "events_markup.json").write_text('{"4": "bounce", "40": "net"}')
    return root


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


def told(faults, root):
    return [(fault.kind, fault.path.relative_to(root).as_posix()) for fault in faults]


# Which files -----------------------------------------------------------------------------------------


def test_openttgames(tree):
    root = tree(
        "training/annotations/game_10/ball_markup.json",
        "training/annotations/game_2/ball_markup.json",
        "training/annotations/game_2/events_markup.json",
        "training/annotations/game_3/events_markup.json",
        "training/annotations/game_4/ball_markup.json",
        "training/videos/game_10.mp4",
        "training/videos/game_3.mp4",
        "training/game_2.mp4",
        "test/annotations/test_1/ball_markup.json",
        "test/videos/test_1.mp4",
    )
    layout = detect_layout(root)
    assert isinstance(layout, OpenTTGames)
    clips, faults = layout.find(root)
    assert summary(clips, root) == [
        (
            "training/game_2",
            "training/game_2",
            "training/game_2.mp4",
            "training/annotations/game_2/ball_markup.json",
        ),
        ("training/game_3", "training/game_3", "training/videos/game_3.mp4", None),
        (
            "training/game_10",
            "training/game_10",
            "training/videos/game_10.mp4",
            "training/annotations/game_10/ball_markup.json",
        ),
        ("test/test_1", "test/test_1", "test/videos/test_1.mp4", "test/annotations/test_1/ball_markup.json"),
    ]
    assert [clip.parts for clip in clips] == [("train",)] * 3 + [("test",)]
    assert told(faults, root) == [
        ("no-labels", "training/videos/game_3.mp4"),
        ("no-video", "training/annotations/game_4/ball_markup.json"),
    ]


@pytest.mark.parametrize("name", ["/a", "..", "../a", "a/../../b", "a//b", "a/", "./a", ""])
def test_no_clip_has_a_name_that_leads_out_of_a_folder(name):
    with pytest.raises(TrackNetError, match=f"^v.mp4: its clip would be named {re.escape(repr(name))}, "):
        Clip(name, "", Path("v.mp4"), None)
    assert Clip("a/..b", "", Path("v.mp4"), None).name == "a/..b"


def test_racketvision(tree):
    root = tree(
        "tennis/videos/match2_001.mp4",
        "tennis/videos/match10_000.mp4",
        "tennis/all/match2/csv/001_ball.csv",
        "tennis/all/match2/csv/007_ball.csv",
        "tennis/all/match10/csv/000_ball.csv",
        "tennis/all/match3/frame/000/0000.jpg",
        "badminton/videos/match1_000.mp4",
        "badminton/all/match1/csv/000_ball.csv",
        "annotations/dataset_info.json",
        "info/train_det_coco.json",
    )
    info = root / "tennis" / "info"
    info.mkdir()
    (info / "train.json").write_text('[["match2", "001"], ["../../../etc", "passwd"], ["match9", "4"]]')
    (info / "val.json").write_text('[["match10", "000"]]')
    (info / "test.json").write_text('[["match10", "000"]]')
    (root / "badminton" / "info").mkdir()
    (root / "badminton" / "info" / "train.json").write_text('{"match1": 5}')
    layout = detect_layout(root)
    assert isinstance(layout, RacketVision)
    clips, faults = layout.find(root)
    assert summary(clips, root) == [
        (
            "badminton/match1/000",
            "badminton/match1",
            "badminton/videos/match1_000.mp4",
            "badminton/all/match1/csv/000_ball.csv",
        ),
        (
            "tennis/match2/001",
            "tennis/match2",
            "tennis/videos/match2_001.mp4",
            "tennis/all/match2/csv/001_ball.csv",
        ),
        ("tennis/match3/000", "tennis/match3", "tennis/all/match3/frame/000", None),
        (
            "tennis/match10/000",
            "tennis/match10",
            "tennis/videos/match10_000.mp4",
            "tennis/all/match10/csv/000_ball.csv",
        ),
    ]
    assert [clip.parts for clip in clips] == [(), ("train",), (), ("val", "test")]
    assert told(faults, root) == [
        ("bad-markup", "badminton/info/train.json"),
        ("no-labels", "tennis/all/match3/frame/000"),
        ("no-video", "tennis/all/match2/csv/007_ball.csv"),
        ("no-clip", "tennis/info/train.json"),
    ]
    assert "lists 2 clips without a video, such as ../../../etc/passwd" in faults[-1].message
    assert faults[-1].severity == "warning"
    odd = ("_000.mp4", "000.mp4", "match2_.mp4", "match2_...mp4")
    for name in odd:
        (root / "tennis" / "videos" / name).touch()
    one, faults = RacketVision().find(root / "tennis")
    assert {("no-labels", f"tennis/videos/{name}") for name in odd} < set(told(faults, root))
    assert [clip.name for clip in one] == ["match2/001", "match3/000", "match10/000"]
    assert isinstance(detect_layout(root / "tennis"), RacketVision)


@pytest.fixture
def sport(tree):
    """RacketVision of one sport, with three clips and no lists of them yet."""
    for match in ("match1", "match2", "match3"):
        root = tree(f"videos/{match}_000.mp4", f"all/{match}/csv/000_ball.csv")
    (root / "info").mkdir()
    return root


def test_racketvision_without_lists_of_its_split(sport):
    clips, faults = RacketVision().find(sport)
    assert told(faults, sport) == [("no-split", "info")]
    assert faults[0].severity == "warning"
    with pytest.raises(
        UsageError, match=r"'val' matches none of the 3 clips; .* no list such as info/val\.json holds"
    ):
        choose_clips(clips, splits.RACKETVISION_SPLITS["racketvision"], 0.5)
    # Other data sets have no such lists.
    with pytest.raises(UsageError, match=r"'val' matches none of the 3 clips") as caught:
        choose_clips(clips, splits.SHUTTLECOCK_SPLITS["tracknetv3"], 0.5)
    assert "info/" not in str(caught.value)


def test_racketvision_with_empty_lists(sport):
    for part in ("train", "val"):
        (sport / "info" / f"{part}.json").write_text("[]")
    (fault,) = RacketVision().find(sport)[1]
    assert (fault.kind, fault.severity) == ("no-split", "warning")
    assert fault.message == "lists no clip in train.json and val.json, which are the split of the data set"


@pytest.mark.parametrize("text", ['[["match1", 0]]', '["ab"]', '{"match1": ["000"]}', "5", "[[", "[[[]]]"])
def test_what_is_no_list_of_clips_is_told(sport, text):
    (sport / "info" / "train.json").write_text(text)
    assert told(RacketVision().find(sport)[1], sport) == [("bad-markup", "info/train.json")]


def test_a_clip_listed_for_training_and_for_evaluation_is_told(sport):
    for part, matches in {"train": (1, 2), "val": (2, 3), "test": (3,)}.items():
        listed = [[f"match{match}", "000"] for match in matches]
        (sport / "info" / f"{part}.json").write_text(json.dumps(listed))
    clips, (fault,) = RacketVision().find(sport)
    assert (fault.kind, fault.severity) == ("shared-clip", "error")
    assert fault.message == "lists 1 clip of val.json or test.json, such as match2/000"
    # Masked, it is validated on.
    assert [clip.parts for clip in clips] == [("train",), ("val",), ("val", "test")]


def test_blurball(tree):
    root = tree(
        "00/frames/010/00000.png",
        "00/frames/011/00000.png",
        "00/csv/010.csv",
        "00/csv/012.csv",
        "match1/frames/2/00000.png",
        "match1/csv/2.csv",
        "match2/csv/3.csv",  # whose images are all missing
        "rallies_videos/010.mp4",
    )
    layout = detect_layout(root)
    assert isinstance(layout, BlurBall)
    clips, faults = layout.find(root)
    assert summary(clips, root) == [
        ("00/010", "00", "00/frames/010", "00/csv/010.csv"),
        ("00/011", "00", "00/frames/011", None),
        ("match1/2", "match1", "match1/frames/2", "match1/csv/2.csv"),
    ]
    assert told(faults, root) == [
        ("no-labels", "00/frames/011"),
        ("no-video", "00/csv/012.csv"),
        ("no-video", "match2/csv/3.csv"),
    ]


def test_soccer(tree):
    root = tree(
        "annos/ID-1.xml",
        "annos/ID-2.xml",
        "annos/ID-9.xml",
        "videos/ID-1.avi",
        "videos/ID-3.avi",
        "frames/ID-1/00000.png",
        "frames/ID-2/00000.png",
    )
    layout = detect_layout(root)
    assert isinstance(layout, WasbSoccer)
    clips, faults = layout.find(root)
    assert summary(clips, root) == [
        ("ID-1", "ID-1", "videos/ID-1.avi", "annos/ID-1.xml"),
        ("ID-2", "ID-2", "frames/ID-2", "annos/ID-2.xml"),
        ("ID-3", "ID-3", "videos/ID-3.avi", None),
    ]
    assert told(faults, root) == [("no-labels", "videos/ID-3.avi"), ("no-video", "annos/ID-9.xml")]


def test_volleyball(tree):
    root = tree(
        "videos/10/3596/3591.jpg",
        "videos/2/99/5.jpg",
        "videos/2/annotations.txt",
        "videos/2/100/5.jpg",
        "volleyball_ball_annotation/10/3596.txt",
        "volleyball_ball_annotation/2/99.txt",
        "volleyball_ball_annotation/2/7.txt",
    )
    layout = detect_layout(root)
    assert isinstance(layout, WasbVolleyball)
    clips, faults = layout.find(root)
    assert summary(clips, root) == [
        ("2/99", "2", "videos/2/99", "volleyball_ball_annotation/2/99.txt"),
        ("2/100", "2", "videos/2/100", None),
        ("10/3596", "10", "videos/10/3596", "volleyball_ball_annotation/10/3596.txt"),
    ]
    assert told(faults, root) == [
        ("no-labels", "videos/2/100"),
        ("no-video", "volleyball_ball_annotation/2/7.txt"),
    ]


def test_basketball(tree):
    root = tree(
        "videos/21800909/001/000000.jpg",
        "videos/21800909/002/000000.jpg",
        "videos/21800974/001/000000.jpg",
        "videos/21800999/001/000000.jpg",
        "ball-annos/21800909/task_21800909_001.xml",
        "ball-annos/21800974/001.xml",
        "ball-annos/21800974/x_003.xml",
    )
    layout = detect_layout(root)
    assert isinstance(layout, WasbBasketball)
    clips, faults = layout.find(root)
    assert summary(clips, root) == [
        (
            "21800909/001",
            "21800909",
            "videos/21800909/001",
            "ball-annos/21800909/task_21800909_001.xml",
        ),
        ("21800909/002", "21800909", "videos/21800909/002", None),
        ("21800974/001", "21800974", "videos/21800974/001", "ball-annos/21800974/001.xml"),
    ]
    assert [(fault.kind, fault.severity) for fault in faults] == [
        ("no-labels", "error"),
        ("no-video", "error"),
        ("left-out", "warning"),
    ]
    assert faults[-1].path == root / "videos/21800999"


def test_two_annotations_of_a_basketball_clip(tree):
    labels = ["ball-annos/7/a_001.xml", "ball-annos/7/b_x_001.xml", "ball-annos/8/a_001.xml"]
    root = tree("videos/7/001/000000.jpg", "videos/8/001/000000.jpg", *labels)
    clips, faults = WasbBasketball().find(root)
    assert [clip.labels for clip in clips] == [root / labels[0], root / labels[2]]
    assert told(faults, root) == [("duplicate-clip", labels[1])]
    assert "a_001.xml, which is used" in faults[0].message


# Named splits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "names", "test"),
    [
        (splits.SOCCER_SPLITS["wasb"], [f"ID-{n}" for n in range(1, 7)], 2),
        (splits.VOLLEYBALL_SPLITS["wasb"], [f"{n}/1" for n in range(55)], 16),
        (
            splits.BASKETBALL_SPLITS["wasb"],
            ["21800909/001", *(f"{video}/001" for video in splits.BASKETBALL_SPLITS["wasb"].test)],
            30,
        ),
        (splits.BLURBALL_SPLITS["blurball"], [f"{n:02d}/000" for n in range(26)], 4),
        (
            splits.OPENTTGAMES_SPLITS["openttgames"],
            ["training/game_1", "training/game_2", "test/test_1"],
            1,
        ),
    ],
)
def test_named_splits_take_every_clip_once(split, names, test):
    clips = [Clip(name, name.rpartition("/")[0] or name, Path(name), None) for name in names]
    parts = choose_clips(clips, split, 0.0)
    assert len(parts["test"]) == test
    assert sorted(clip.name for clip in parts["train"] + parts["test"]) == sorted(names)


def test_a_split_of_the_data_set_is_taken_unless_clips_are_named():
    clips = [
        Clip("tennis/match1/0", "tennis/match1", Path("a"), None, ("train",)),
        Clip("tennis/match2/0", "tennis/match2", Path("b"), None, ("val", "test")),
        Clip("tennis/match3/0", "tennis/match3", Path("c"), None),
    ]

    def chosen(split):
        parts = choose_clips(clips, split, 0.0)
        return {part: [clip.name[7:13] for clip in found] for part, found in parts.items()}

    own = {"train": ["match1"], "val": ["match2"], "test": ["match2"]}
    assert chosen(Split()) == own
    assert chosen(splits.RACKETVISION_SPLITS["racketvision"]) == own
    assert chosen(Split(val=("tennis/match3",)))["train"] == ["match1", "match2"]


# From the files to the batches -----------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_a_miniature_is_recognised_checked_and_read(miniatures, name):
    root = miniatures / name
    layout = detect_layout(root)
    assert layout.name == name
    report = check_dataset(root)
    assert report.faults == ()
    assert [clip.clip.name for clip in report.checked if clip.labels is not None] == [
        clip.name for clip in report.clips
    ]
    counts = report.counts
    assert (len(report.clips), counts.frames, counts.sizes) == (3, 36, {(72, 128): 3})
    assert counts.labelled == (9 if name == "racketvision" else 36)
    assert counts.visible > 0.7 * counts.labelled
    data = MODULES[name](root, size=(36, 64), batch_size=2)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    assert [len(data.clip_names(part)) for part in ("train", "val", "test")] == [1, 1, 1]
    assert len({data.clip_names(part)[0] for part in ("train", "val", "test")}) == 3
    batch = next(iter(data.train_dataloader()))
    assert batch["frames"].shape == (2, 3, 3, 36, 64)
    assert batch["labelled"].any(dim=1).all()
    counted = [batch["counted"] & batch["labelled"] for batch in data.test_dataloader()]
    assert sum(int(one.sum()) for one in counted) == (3 if name == "racketvision" else 12)


@pytest.mark.parametrize("name", MODULES)
def test_the_ball_is_the_same_in_every_layout(miniatures, name):
    """The same settings give the same rallies, so the labels of each format must agree."""
    first, other = (check_dataset(miniatures / layout).checked for layout in ("blurball", name))
    for one, two in zip(first, other, strict=True):
        kept = two.labels.labelled
        assert kept.nonzero()[0].tolist() == ([0, 5, 10] if name == "racketvision" else list(range(12)))
        np.testing.assert_allclose(two.labels.xy[kept], one.labels.xy[kept], atol=0.006)
        np.testing.assert_array_equal(two.labels.visible[kept], one.labels.visible[kept])


def test_a_long_video_is_cached_and_read_around_its_labels(opentt, tmp_path, capsys):
    report = check_dataset(opentt)
    assert report.faults == ()
    assert (report.counts.frames, report.counts.labelled, report.counts.visible) == (180, 15, 12)
    assert (
        "windows of 8 frames with a label take 96 frames in 6 stretches: 0.0425 GB in the frame cache at "
        "288x512 (the whole videos: 0.0796 GB)"
    ) in report.render()
    data = OpenTTGamesDataModule(opentt, size=(64, 96), batch_size=3, cache_dir=tmp_path, holdout=0.5)
    data.prepare_data()
    frame = 3 * 64 * 96
    # Of each game, frames 1 to 7 and 38 to 43.
    assert f"3 clips, {(3 * 14 * frame + 3 * 256) / 1e6:.1f} MB to write" in capsys.readouterr().err
    assert sum(path.stat().st_size for path in tmp_path.rglob("frames.npy")) == 3 * (13 * frame + 128)
    data.setup("fit")
    data.setup("test")
    assert data.clip_names("test") == ["test/test_1"]
    assert sorted(data.clip_names("train") + data.clip_names("val")) == ["training/game_1", "training/game_2"]
    starts = sorted(int(row[0]) for batch in data.train_dataloader() for row in batch["frame"])
    assert starts == [1, 2, 3, 4, 5, 38, 39, 40, 41]
    seen = {}
    for batch in data.test_dataloader():
        for row, place in (batch["counted"] & batch["labelled"]).nonzero().tolist():
            number = int(batch["frame"][row, place])
            visible = bool(batch["visible"][row, place])
            seen[number] = visible
            picture = batch["frames"][row, place, 0].numpy()
            brightest = np.unravel_index(picture.argmax(), picture.shape)[::-1]
            if visible:
                assert np.abs(batch["xy"][row, place].numpy() - brightest).max() <= 1.5
            else:
                assert picture.max() < 60
    assert seen == {number: number != 41 for number in LABELLED}


def test_faults_of_the_labels_are_told_with_their_place(miniatures, tmp_path):
    shutil.copytree(miniatures / "volleyball", tmp_path / "v")
    (lines,) = (tmp_path / "v/train").rglob("*.txt")
    lines.write_text(lines.read_text() + "3 3\n")
    report = check_dataset(tmp_path / "v")
    assert [(fault.kind, fault.line) for fault in report.faults] == [("beyond-video", None)]
    (tmp_path / "v/train/videos" / lines.parent.name / lines.stem / "5.jpg").unlink()
    lines.write_text("\n".join(lines.read_text().splitlines()[:12]))
    report = check_dataset(tmp_path / "v")
    assert [(fault.kind, fault.line) for fault in report.faults] == [
        ("missing-images", None),
        ("beyond-video", 6),
    ]


def test_info_lists_are_the_named_split(miniatures):
    listed = json.loads((miniatures / "racketvision/generated/info/val.json").read_text())
    data = RacketVisionDataModule(miniatures / "racketvision", split="racketvision", size=(36, 64))
    data.prepare_data()
    data.setup("validate")
    assert data.clip_names("val") == [f"generated/{'/'.join(pair)}" for pair in listed]
    with pytest.raises(UsageError, match="'wasb' is not a named split"):
        RacketVisionDataModule(miniatures, split="wasb")


def test_names_of_layouts_are_those_of_the_command():
    from typing import get_args

    from tracknet.cli.data import LayoutName
    from tracknet.data.generate import RallyLayout

    names = [layout.name for layout in LAYOUTS]
    assert sorted(get_args(LayoutName)) == sorted(["auto", *names])
    assert sorted(get_args(RallyLayout)) == sorted(names)
