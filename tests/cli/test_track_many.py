"""``tracknet track`` over many videos: what is found, skipped, told and left when something goes wrong."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tracknet.cli import track_workers, video_tracker
from tracknet.cli.main import main as tracknet
from tracknet.cli.processes import Worker
from tracknet.cli.track_many import how_made
from tracknet.cli.video_tracker import TrackSettings
from tracknet.data.file_lock import locked
from tracknet.errors import UsageError
from tracknet.evaluation.decoding import ComponentDecoder
from tracknet.models import CompactTrackNet
from tracknet.tracking.batch import find_jobs, holds_videos
from tracknet.tracking.trajectory import read_trajectory
from tracknet.training.checkpoint_contents import PublicCheckpoint
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.public_checkpoints import save_tracker

SIZE = (64, 96)


@pytest.fixture(scope="module")
def ckpt(bright_network, tmp_path_factory):
    """Checkpoint of a tracker that finds the dot."""
    path = tmp_path_factory.mktemp("bright") / "bright.ckpt"
    tracker = HeatmapTracker(bright_network(3), decoder=ComponentDecoder(), input_size=SIZE)
    save_tracker(tracker, path, PublicCheckpoint("WASB", {}), "x")
    return path


@pytest.fixture(scope="module")
def compact(tmp_path_factory):
    """Checkpoint of a network that other processes can build; it has learnt nothing."""
    path = tmp_path_factory.mktemp("compact") / "compact.ckpt"
    torch.manual_seed(0)
    tracker = HeatmapTracker(CompactTrackNet(3), decoder=ComponentDecoder(), input_size=SIZE)
    save_tracker(tracker, path, PublicCheckpoint("WASB", {}), "x")
    return path


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_rallies):
    """An empty current folder beside `films`: two rallies, one in a folder of its own, and a broken file."""
    films = tmp_path / "films"
    (films / "court 2").mkdir(parents=True)
    shutil.copy(tiny_rallies / "a.mp4", films / "a.mp4")
    shutil.copy(tiny_rallies / "d.mp4", films / "court 2" / "d.mp4")
    (films / "broken.mp4").write_bytes(b"no video at all" * 50)
    (films / "notes.txt").write_text("of the day")
    (films / ".trash").mkdir()
    shutil.copy(tiny_rallies / "b.mp4", films / ".trash" / "b.mp4")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def ready():
    return Path("tracked/summary.csv").exists()


def summary(folder):
    with (Path(folder) / "summary.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def states(folder):
    return {name: row["status"] for name, row in summary(folder).items()}


def test_a_broken_video_does_not_stop_the_others(here, ckpt, tiny_rallies, capsys):
    assert tracknet(["track", "../films", "--ckpt", str(ckpt)]) == 1
    out, err = capsys.readouterr()
    rows = summary("tracked")
    assert list(rows) == ["a.mp4", "broken.mp4", "court 2/d.mp4"]
    assert states("tracked") == {"a.mp4": "tracked", "broken.mp4": "failed", "court 2/d.mp4": "tracked"}
    assert (rows["a.mp4"]["frames"], rows["court 2/d.mp4"]["frames"]) == ("21", "17")
    # The ball is hidden in two frames of a and in one of d.
    assert (rows["a.mp4"]["frames_with_ball"], rows["court 2/d.mp4"]["frames_with_ball"]) == ("19", "16")
    assert float(rows["a.mp4"]["fps"]) > 0
    assert rows["broken.mp4"]["reason"].startswith("../films/broken.mp4: not a readable video")
    assert "2 tracked, 1 failed" in out
    assert "court 2/d.mp4" in out
    message = "tracknet track: 1 of 3 videos failed\n  ../films/broken.mp4: not a readable video"
    assert message in err
    assert "[3/3] court 2/d.mp4: 17 frames, ball in 16" in err
    assert "38 frames in" in err
    # The same file as that of one video by itself.
    assert tracknet(["track", str(tiny_rallies / "a.mp4"), "--ckpt", str(ckpt), "--output", "one.csv"]) == 0
    assert (here / "tracked/a_ball.csv").read_bytes() == (here / "one.csv").read_bytes()
    assert len(read_trajectory(here / "tracked/court 2/d_ball.csv")) == 17


def test_flights_are_those_of_each_video_by_itself(here, ckpt, tiny_rallies):
    flight = ["--ckpt", str(ckpt), "--tracker", "flight"]
    assert tracknet(["track", "../films", *flight]) == 1
    assert tracknet(["track", str(tiny_rallies / "a.mp4"), *flight, "--output", "one.csv"]) == 0
    assert (here / "tracked/a_ball.csv").read_bytes() == (here / "one.csv").read_bytes()
    assert sum(row.visible for row in read_trajectory(here / "one.csv")) == 19
    # It is what there is without a name.
    assert tracknet(["track", "../films", "--ckpt", str(ckpt)]) == 1
    assert states("tracked")["a.mp4"] == "skipped"
    assert tracknet(["track", "../films", *flight[:2], "--tracker", "none"]) == 1
    assert states("tracked")["a.mp4"] == "tracked"


def test_what_is_said_of_a_video_is_said_once(tmp_path, monkeypatch, ckpt, capsys):
    monkeypatch.chdir(tmp_path)
    Path("films").mkdir()
    with av.open("films/two.mp4", "w") as container:
        streams = [container.add_stream("libx264", rate=30) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for stream in streams:
            for _ in range(4):
                container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
            container.mux(stream.encode())
    assert tracknet(["track", "films", "--ckpt", str(ckpt), "--overlay"]) == 0
    assert capsys.readouterr().err.count("note: films/two.mp4: holds 2 video streams") == 1


def test_what_is_done_is_skipped_and_said_so(here, ckpt, tiny_rallies, tmp_path, capsys):
    def run(*words, by=ckpt):
        return tracknet(["track", "../films", "--ckpt", str(by), "--output", "out", *words])

    assert run() == 1
    first = (here / "out/a_ball.csv").stat().st_mtime_ns
    figures = summary("out")["a.mp4"]
    capsys.readouterr()
    shutil.copy(tiny_rallies / "c.mp4", "../films/broken.mp4")
    renamed = shutil.copy(ckpt, tmp_path / "other_name.ckpt")
    assert run("--batch_size", "1", by=renamed) == 0
    out = capsys.readouterr().out
    assert "2 of 3 videos are done and skipped" in out
    assert states("out") == {"a.mp4": "skipped", "broken.mp4": "tracked", "court 2/d.mp4": "skipped"}
    assert (here / "out/a_ball.csv").stat().st_mtime_ns == first
    assert summary("out")["a.mp4"]["frames_with_ball"] == figures["frames_with_ball"]
    # Other settings, a trajectory that was cut, a video that changed, and being told so.
    assert run("--threshold", "0.9") == 0
    assert set(states("out").values()) == {"tracked"}
    lines = (here / "out/a_ball.csv").read_text().splitlines(keepends=True)
    (here / "out/a_ball.csv").write_text("".join(lines[:-1]))
    os.utime("../films/court 2/d.mp4", (1, 1))
    assert run("--threshold", "0.9") == 0
    assert states("out") == {"a.mp4": "tracked", "broken.mp4": "skipped", "court 2/d.mp4": "tracked"}
    assert run("--threshold", "0.9", "--overwrite") == 0
    assert set(states("out").values()) == {"tracked"}


def test_a_video_that_grows_while_it_is_tracked_is_tracked_again(here, ckpt, monkeypatch, tiny_rallies):
    (here / "films").mkdir()
    video = here / "films" / "a.ts"
    parts = []
    for name in ("a", "d"):
        with av.open(str(tiny_rallies / f"{name}.mp4")) as old, av.open("part.ts", "w") as new:
            stream = new.add_stream_from_template(old.streams.video[0])
            for packet in old.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    new.mux(packet)
        parts.append(Path("part.ts").read_bytes())
    video.write_bytes(parts[0])
    written = track_workers.write_trajectory

    def late(path, rows, filled):
        summary = written(path, rows, filled)
        with video.open("ab") as file:
            file.write(parts[1])
        return summary

    words = ["track", "films", "--ckpt", str(ckpt), "--output", "out"]
    with monkeypatch.context() as recording:
        recording.setattr(track_workers, "write_trajectory", late)
        assert tracknet(words) == 0
    assert summary("out")["a.ts"]["frames"] == "21"
    assert tracknet(words) == 0
    assert states("out") == {"a.ts": "tracked"}
    assert summary("out")["a.ts"]["frames"] == "38"
    assert tracknet(words) == 0
    assert states("out") == {"a.ts": "skipped"}


def test_videos_of_one_name_in_two_folders_do_not_share_a_trajectory(
    here, ckpt, tiny_rallies, monkeypatch, capsys
):
    for match, name in (("match1", "a"), ("match2", "d")):
        (here / match / "video").mkdir(parents=True)
        shutil.copy(tiny_rallies / f"{name}.mp4", here / match / "video" / "1_01.mp4")

    def run(match, *words):
        monkeypatch.chdir(here / match)
        return tracknet(["track", "video", "--ckpt", str(ckpt), "--output", "../out", *words])

    assert run("match1") == 0
    first = (here / "out/1_01_ball.csv").read_bytes()
    capsys.readouterr()
    assert run("match2") == 2
    assert "is the trajectory of" in (said := capsys.readouterr().err)
    assert "match1/video/1_01.mp4, and that of video/1_01.mp4 would be written over it" in said
    assert (here / "out/1_01_ball.csv").read_bytes() == first
    assert run("match2", "--overwrite") == 0
    assert len(read_trajectory(here / "out/1_01_ball.csv")) == 17
    # A video that has moved takes its trajectory along.
    shutil.move(here / "match2", here / "match3")
    assert run("match3") == 0
    assert states(here / "out") == {"1_01.mp4": "skipped"}


def test_ctrl_c_loses_nothing(here, ckpt, monkeypatch, tiny_rallies, capsys):
    shutil.copy(tiny_rallies / "c.mp4", "../films/broken.mp4")
    plain = video_tracker.track

    def stopped_in_the_second(source, *args, **kwargs):
        for row in plain(source, *args, **kwargs):
            yield row
            if source.path.name == "broken.mp4" and row.frame == 5:
                signal.raise_signal(signal.SIGINT)

    words = ["track", "../films", "--ckpt", str(ckpt)]
    with monkeypatch.context() as patch:
        patch.setattr(video_tracker, "track", stopped_in_the_second)
        assert tracknet(words) == 130
    assert "stopped; 2 videos left: the same command goes on" in capsys.readouterr().err
    assert states("tracked") == {"a.mp4": "tracked", "broken.mp4": "open", "court 2/d.mp4": "open"}
    assert len(read_trajectory(here / "tracked/broken_ball.partial.csv")) == 6
    assert tracknet(words) == 0
    assert states("tracked") == {"a.mp4": "skipped", "broken.mp4": "tracked", "court 2/d.mp4": "tracked"}
    found = sorted(path.name for path in (here / "tracked").iterdir())
    trajectories = ["a_ball.csv", "a_ball.json", "broken_ball.csv", "broken_ball.json"]
    assert found == [*trajectories, "court 2", "summary.csv"]


def test_one_command_at_a_time(here, ckpt, capsys):
    with locked(Path("tracked/.lock")):
        assert tracknet(["track", "../films", "--ckpt", str(ckpt)]) == 1
    told = "tracked: another command is tracking into this folder; wait, or choose another --output"
    assert told in capsys.readouterr().err
    assert list(Path("tracked").iterdir()) == []


def test_a_name_that_is_no_text(here, ckpt, tiny_rallies, capsys):
    """Old archives and sticks have such names; other systems refuse them."""
    name = os.fsdecode(b"../films/caf\xe9.mp4")
    try:
        shutil.copy(tiny_rallies / "d.mp4", name)
    except OSError:
        pytest.skip("this file system takes no such names")
    assert tracknet(["track", "../films", "--ckpt", str(ckpt), "--overlay"]) == 1
    told = {"a.mp4": "tracked", "broken.mp4": "failed", r"caf\xe9.mp4": "tracked", "court 2/d.mp4": "tracked"}
    assert states("tracked") == told
    assert "tracking and drawing 4 videos: 110 steps in" in capsys.readouterr().err


def test_what_is_wrong_for_all_ends_at_once(here, ckpt, capsys, monkeypatch):
    assert tracknet(["track", "../films", "--ckpt", str(ckpt), "--step", "2"]) == 2
    assert "a step of 2 goes with the modes average, triangular and causal" in capsys.readouterr().err
    assert tracknet(["track", "../films", "--ckpt", "none.ckpt"]) == 1
    assert "none.ckpt: cannot be read: No such file" in capsys.readouterr().err
    # A mistake of ours in one video is told, and the others are tracked.
    plain = track_workers.open_source

    def strange(path):
        if path.name == "a.mp4":
            raise ZeroDivisionError("by nought")
        return plain(path)

    monkeypatch.setattr(track_workers, "open_source", strange)
    assert tracknet(["track", "../films", "--ckpt", str(ckpt)]) == 1
    assert "\n  ../films/a.mp4: ZeroDivisionError: by nought\n" in capsys.readouterr().err
    assert states("tracked")["court 2/d.mp4"] == "tracked"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["../films", "--overlay", "a.csv"],
            "--overlay a.csv: expected a folder for many videos, found a file",
        ),
        (["../films", "--overlay", "new.mp4"], "--overlay new.mp4: expected a folder for many videos"),
        (["../films", "--output=../films", "--overlay"], "a_overlay.mp4: the overlay would lie among"),
        (
            ["b.mp4", "b_overlay.mp4", "--overlay", "."],
            "is one of the videos, and the overlay of b.mp4 would be",
        ),
        (["../films", "--output", "-"], "--output - is for one video"),
        (["../films", "--output", "a.csv"], "--output a.csv: expected a folder for many videos"),
        (["../films", "--drop_late"], "--drop_late is for live streams"),
        (["../films", "rtsp://me:S3cret@court?x=1"], "rtsp://court?...: live streams are tracked one"),
        ([".", ".."], "frames"),
    ],
)
def test_wrong_words(here, words, message, capsys):
    (here / "a.csv").touch()
    (here / "b.mp4").touch()
    (here / "b_overlay.mp4").touch()
    (here / "frames").mkdir()
    code = tracknet(["track", *words, "--ckpt", "b.ckpt"])
    err = capsys.readouterr().err
    if words[0] == ".":
        assert code == 1
        assert "b.ckpt: cannot be read" in err
    else:
        assert code == 2
        assert message in err


def pictures(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_an_overlay_of_each_video(here, ckpt, tiny_rallies, capsys):
    def run(*words):
        return tracknet(["track", "../films", "--ckpt", str(ckpt), *words])

    assert run("--overlay", "drawn") == 1
    assert states("tracked") == {"a.mp4": "tracked", "broken.mp4": "failed", "court 2/d.mp4": "tracked"}
    assert "76 steps in" in capsys.readouterr().err  # each is tracked, and drawn into
    drawn = sorted(path.relative_to("drawn").as_posix() for path in Path("drawn").rglob("*.*"))
    assert drawn == ["a_overlay.mp4", "court 2/d_overlay.mp4"]
    # The same pictures as those of one video by itself.
    alone = [
        "track",
        str(tiny_rallies / "a.mp4"),
        "--ckpt",
        str(ckpt),
        "--output=one.csv",
        "--overlay=one.mp4",
    ]
    assert tracknet(alone) == 0
    assert np.array_equal(pictures("drawn/a_overlay.mp4"), pictures("one.mp4"))
    assert len(pictures("drawn/court 2/d_overlay.mp4")) == 17
    # Nothing is tracked or drawn twice, whether or not overlays are asked for, and a later broken video is.
    shutil.copy(tiny_rallies / "c.mp4", "../films/broken.mp4")
    before = {
        path: path.stat().st_mtime_ns for path in [*Path("drawn").rglob("*"), *Path("tracked").rglob("*_*")]
    }
    assert run("--overlay", "drawn") == 0
    assert states("tracked") == {"a.mp4": "skipped", "broken.mp4": "tracked", "court 2/d.mp4": "skipped"}
    assert run() == 0
    assert run("--overlay", "drawn") == 0
    assert set(states("tracked").values()) == {"skipped"}
    assert (
        before.items()
        <= {
            path: path.stat().st_mtime_ns
            for path in [*Path("drawn").rglob("*"), *Path("tracked").rglob("*_*")]
        }.items()
    )


def test_what_is_missing_or_older_is_drawn(here, ckpt, tiny_rallies, capsys):
    def run(*words):
        return tracknet(["track", "../films", "--ckpt", str(ckpt), *words])

    shutil.copy(tiny_rallies / "c.mp4", "../films/broken.mp4")
    assert run() == 0
    rows = Path("tracked/a_ball.csv").read_bytes(), Path("tracked/a_ball.csv").stat().st_mtime_ns
    assert run("--overlay") == 0
    out, err = capsys.readouterr()
    assert "3 drawn" in out
    assert "drawing 3 videos: [1/3] a.mp4: overlay of 21 frames drawn" in err
    assert summary("tracked")["a.mp4"]["frames_with_ball"] == "19"
    overlays = [Path(f"tracked/{name}_overlay.mp4") for name in ("a", "broken", "court 2/d")]
    assert [len(pictures(path)) for path in overlays] == [21, 20, 17]
    # Missing, cut short, older than a trajectory that somebody corrected; with another trail.
    overlays[0].unlink()
    assert run("--overlay") == 0
    assert states("tracked") == {"a.mp4": "drawn", "broken.mp4": "skipped", "court 2/d.mp4": "skipped"}
    overlays[1].write_bytes(overlays[1].read_bytes()[:-100])
    corrected = Path("tracked/court 2/d_ball.csv")
    corrected.write_text(corrected.read_text().replace("16,0,0.00,0.00", "16,1,40.00,30.00"))
    plain = pictures(overlays[2])[-1]
    assert run("--overlay") == 0
    assert states("tracked") == {"a.mp4": "skipped", "broken.mp4": "drawn", "court 2/d.mp4": "drawn"}
    assert (pictures(overlays[2])[-1] != plain).any()
    assert "16,1,40.00,30.00" in corrected.read_text()
    assert run("--overlay", "--trail", "0") == 0
    assert set(states("tracked").values()) == {"drawn"}
    assert (Path("tracked/a_ball.csv").read_bytes(), Path("tracked/a_ball.csv").stat().st_mtime_ns) == rows
    assert run("--overlay", "--trail", "0", "--overwrite") == 0
    assert set(states("tracked").values()) == {"tracked"}


def test_an_overlay_that_fails_does_not_stop_the_others(here, ckpt, tiny_rallies, monkeypatch, capsys):
    shutil.copy(tiny_rallies / "c.mp4", "../films/broken.mp4")
    Path("drawn").mkdir()
    Path("drawn/court 2").write_text("a file where a folder is needed")
    plain = track_workers.render_overlay

    def stopped_at_broken(source, rows, path, *args, **kwargs):
        def stopping():
            yield from rows
            raise ZeroDivisionError("by nought")

        wrong = source.path.name == "broken.mp4"
        plain(source, stopping() if wrong else rows, path, *args, **kwargs)

    words = ["track", "../films", "--ckpt", str(ckpt), "--overlay", "drawn"]
    with monkeypatch.context() as patch:
        patch.setattr(track_workers, "render_overlay", stopped_at_broken)
        assert tracknet(words) == 1
    assert states("tracked") == {"a.mp4": "tracked", "broken.mp4": "failed", "court 2/d.mp4": "failed"}
    assert [path.name for path in Path("drawn").iterdir() if path.is_file() and path.suffix] == [
        "a_overlay.mp4"
    ]
    err = capsys.readouterr().err
    kept = "; the trajectory is whole: tracked/"
    assert f"../films/broken.mp4: ZeroDivisionError: by nought{kept}broken_ball.csv\n" in err
    assert "drawn/court 2/d_overlay.mp4: cannot be written: " in err
    assert f"{kept}court 2/d_ball.csv\n" in err
    Path("drawn/court 2").unlink()
    assert tracknet(words) == 0
    assert states("tracked") == {"a.mp4": "skipped", "broken.mp4": "drawn", "court 2/d.mp4": "drawn"}


def test_ctrl_c_in_an_overlay(here, ckpt, tiny_rallies, monkeypatch, capsys):
    shutil.copy(tiny_rallies / "c.mp4", "../films/broken.mp4")
    words = ["track", "../films", "--ckpt", str(ckpt), "--overlay"]
    with monkeypatch.context() as patch:
        patch.setattr("tracknet.tracking.overlay.BallPen.draw", lambda *_: signal.raise_signal(signal.SIGINT))
        assert tracknet(words) == 130
    assert "stopped; 3 videos left: the same command goes on" in capsys.readouterr().err
    assert sorted(path.name for path in Path("tracked").iterdir()) == [
        "a_ball.csv",
        "a_ball.json",
        "summary.csv",
    ]
    assert tracknet(words) == 0
    assert states("tracked") == {"a.mp4": "drawn", "broken.mp4": "tracked", "court 2/d.mp4": "tracked"}


def test_a_summary_of_something_else_is_left_alone(here, ckpt, capsys):
    (here / "tracked").mkdir()
    (here / "tracked/summary.csv").write_text("match,score\n")
    assert tracknet(["track", "../films", "--ckpt", str(ckpt)]) == 1
    assert "tracked/summary.csv: exists and is no summary of videos" in capsys.readouterr().err
    assert (here / "tracked/summary.csv").read_text() == "match,score\n"


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_one_video_or_many(tmp_path):
    out = tmp_path / "out"
    touch(tmp_path / "rallies/10.mp4", tmp_path / "rallies/9.MKV", tmp_path / "rallies/thumbs/9.png")
    touch(tmp_path / "game/Clip1/0000.jpg", tmp_path / "game/Clip1/0001.jpg", tmp_path / "game/Clip2/0.jpg")
    touch(tmp_path / "both/1.png", tmp_path / "both/deep/a.avi")
    assert holds_videos(tmp_path / "rallies")
    assert holds_videos(tmp_path / "game")
    assert not holds_videos(tmp_path / "game/Clip1")
    assert not holds_videos(tmp_path / "rallies/10.mp4")
    assert not holds_videos(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"images \(1, such as 1.png\) and videos \(1, such as deep/a.avi\)"):
        holds_videos(tmp_path / "both")

    def found(*paths):
        jobs = find_jobs([tmp_path / path for path in paths], out)
        return {job.name: job.csv.relative_to(out).as_posix() for job in jobs}

    assert found("rallies") == {"9.MKV": "9_ball.csv", "10.mp4": "10_ball.csv"}
    assert found("game") == {"Clip1": "Clip1_ball.csv", "Clip2": "Clip2_ball.csv"}
    assert found("game", "rallies/9.MKV", "rallies", "game/Clip1") == {
        "game/Clip1": "game/Clip1_ball.csv",
        "game/Clip2": "game/Clip2_ball.csv",
        "9.MKV": "9_ball.csv",
        "rallies/10.mp4": "rallies/10_ball.csv",
    }
    overlays = [job.overlay for job in find_jobs([tmp_path / "rallies"], out, tmp_path / "drawn")]
    assert overlays == [tmp_path / "drawn/9_overlay.mp4", tmp_path / "drawn/10_overlay.mp4"]
    # What has been written is not read as a video, nor are two written to one file.
    touch(out / "9_overlay.mp4", tmp_path / "rallies/10.avi", tmp_path / "more/10.mp4")
    assert [name for name in found(".") if name.startswith("out")] == []
    assert found("rallies") == {
        "9.MKV": "9_ball.csv",
        "10.avi": "10.avi_ball.csv",
        "10.mp4": "10.mp4_ball.csv",
    }
    with pytest.raises(UsageError, match=r"rallies/10.mp4 and .*more/10.mp4: the trajectories of both"):
        found("rallies/10.mp4", "more/10.mp4")
    touch(tmp_path / "only/out/9_overlay.mp4")
    with pytest.raises(UsageError, match=r"only: no video found; expected files in \.avi, \.m4v"):
        find_jobs([tmp_path / "only"], tmp_path / "only/out")


@pytest.mark.slow
def test_a_process_that_dies_takes_only_its_video_with_it(here, compact, tiny_rallies, monkeypatch, capsys):
    shutil.copy(tiny_rallies / "c.mp4", "../films/c.mp4")
    send = Worker.send

    def killed_at_c(worker, so_far):
        if so_far.job.name == "c.mp4":
            worker.process.kill()
            worker.process.join()
        send(worker, so_far)

    monkeypatch.setattr(Worker, "send", killed_at_c)
    assert tracknet(["track", "../films", "--ckpt", str(compact), "--processes", "2"]) == 1
    rows = summary("tracked")
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.mp4": "tracked",
        "broken.mp4": "failed",
        "c.mp4": "failed",
        "court 2/d.mp4": "tracked",
    }
    assert "its process ended with signal 9 (SIGKILL); was there too little memory" in rows["c.mp4"]["reason"]
    assert "2 of 4 videos failed" in capsys.readouterr().err
    assert tracknet(["track", "../films", "--ckpt", str(compact), "--workers", "2", "--step", "2"]) == 2
    assert "a step of 2 goes with" in capsys.readouterr().err


@pytest.mark.slow
def test_overlays_by_several_processes(here, compact, capsys):
    words = ["track", "../films", "--ckpt", str(compact), "--workers", "2", "--overlay", "drawn"]
    assert tracknet(words) == 1
    assert states("tracked") == {"a.mp4": "tracked", "broken.mp4": "failed", "court 2/d.mp4": "tracked"}
    assert "76 steps in" in capsys.readouterr().err
    assert len(pictures("drawn/a_overlay.mp4")) == 21
    Path("drawn/a_overlay.mp4").unlink()
    Path("drawn/court 2/d_overlay.mp4").unlink()
    assert tracknet(words) == 1
    assert states("tracked") == {"a.mp4": "drawn", "broken.mp4": "failed", "court 2/d.mp4": "drawn"}
    assert len(pictures("drawn/court 2/d_overlay.mp4")) == 17


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_given_again(here, compact, write_rally, sign):
    many = here.parent / "many"
    many.mkdir()
    write_rally(many, "0", 200)
    for number in range(1, 5):
        shutil.copy(many / "0.mp4", many / f"{number}.mp4")
    words = ["track", "../many", "--ckpt", str(compact), "--workers", "2", "--mode=average", "--device=cpu"]
    command = subprocess.Popen(
        [sys.executable, "-m", "tracknet", *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while command.poll() is None and "tracked" not in (states("tracked") if ready() else {}).values():
        time.sleep(0.01)
    os.killpg(command.pid, sign) if sign == signal.SIGINT else command.kill()
    _, err = command.communicate(timeout=60)
    assert command.returncode == (130 if sign == signal.SIGINT else -9), err
    assert set(states("tracked").values()) == {"tracked", "open"}
    again = subprocess.run(
        [sys.executable, "-m", "tracknet", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    after = states("tracked")
    assert set(after.values()) == {"tracked", "skipped"}
    assert len({Path(f"tracked/{n}_ball.csv").read_bytes() for n in range(5)}) == 1
    assert not list(Path("tracked").glob("*partial*"))


def test_settings_that_came_later_are_told_where_they_are_used(ckpt):
    options = {
        **dict.fromkeys(TrackSettings._fields),
        "ckpt": ckpt,
        "mode": "causal",
        "tracker": "none",
        "precision": "32",
        "lookahead": 0,
    }
    usual = how_made(TrackSettings.chosen(options))
    # As it was before there were precision and lookahead, so that what was made then is left as it is.
    before = {"mode", "step", "flip", "max_jump", "background_seconds", "threshold", "max_gap"}
    assert usual.keys() == before | {"ckpt", "rectifier"}
    later = {"precision": "bf16", "lookahead": 2}
    assert how_made(TrackSettings.chosen(options | later)) == usual | later
    for tracker, told in {
        "flight": {"flight": True},
        "online": {"max_jump": 300.0},
        None: {"mode": "single", "flight": True},
    }.items():
        mode = told.get("mode", "causal")
        chosen = options | {"tracker": tracker, "mode": mode, "max_jump": 300.0}
        assert how_made(TrackSettings.chosen(chosen)) == usual | told
    assert how_made(TrackSettings.chosen(options | {"tracker": None})) == usual
