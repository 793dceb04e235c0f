"""The check of a data set: it finds everything, stops nowhere and reads well."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest

from tracknet.data.check import check_dataset
from tracknet.data.faults import REMEDIES, Fault, FaultKind, render_faults
from tracknet.data.layouts import FlatVideo, TrackNetTennis
from tracknet.data.video import open_source
from tracknet.errors import TrackNetError


def write_video(path: Path, frames: int = 4, size: tuple[int, int] = (48, 64), fps: int = 25) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width = size
        for number in range(frames):
            image = np.full((*size, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())


def write_table(path: Path, *rows: str) -> None:
    path.write_text("\n".join(["Frame,Visibility,X,Y", *rows]))


@pytest.fixture
def flat(tmp_path):
    """Two clips without a fault."""
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4")
        write_table(tmp_path / f"{name}.csv", "0,1,5,6", "1,0,0,0", "2,1,7,8", "3,2,9,9")
    return tmp_path


def summary(report):
    return [(fault.path.name, fault.kind, fault.line, fault.severity) for fault in report.faults]


def test_a_sound_data_set(flat, capsys):
    report = check_dataset(flat)
    assert report.faults == ()
    assert report.unusable == []
    assert [(one.clip.name, one.frames, one.size, one.fps) for one in report.checked] == [
        ("a", 4, (48, 64), 25.0),
        ("b", 4, (48, 64), 25.0),
    ]
    assert report.checked[0].labels.xy.tolist() == [[5, 6], [0, 0], [7, 8], [9, 9]]
    counts = report.counts
    assert (counts.frames, counts.labelled, counts.visible, counts.without_ball) == (8, 8, 6, 2)
    assert (counts.seconds, counts.sizes, counts.fps) == (0.32, {(48, 64): 2}, {25.0: 2})
    report.fail_if_errors(masked=False)
    assert report.render() == (
        f"{flat}: layout flat ([train|val|test/]NAME.mp4 beside NAME.csv or NAME.xml of CVAT)\n"
        "  2 clips: 8 frames, 0:00 minutes, 64x48, 25 fps\n"
        "  8 frames labelled (6 with a ball, 2 without), 0 not labelled\n"
        "\n"
        "no faults"
    )
    assert capsys.readouterr() == ("", "")


def test_labels_as_cvat_exports_them(flat):
    (flat / "b.csv").unlink()
    (flat / "b.xml").write_text(
        "<annotations><track label='ball'><points frame='1' outside='0' occluded='0' points='7,8'/>"
        "<points frame='2' outside='1' occluded='0' points='7,8'/></track></annotations>"
    )
    (flat / "a.xml").write_text("what a camera writes beside a video; there is a table")
    (flat / "CAMERA.XML").write_text("of no video")
    report = check_dataset(flat)
    assert report.faults == ()
    labels = report.checked[1].labels
    assert labels.labelled.all()
    assert labels.visible.tolist() == [False, True, False, False]
    assert labels.xy[1].tolist() == [7, 8]
    (flat / "b.xml").write_text("<annotations/>")
    assert summary(check_dataset(flat)) == [("b.xml", "bad-markup", None, "error")]


def test_the_first_fault_does_not_hide_the_others(flat):
    (flat / "broken.mp4").write_bytes(b"no video at all")
    write_table(flat / "broken.csv", "0,1,5,5")
    (flat / "empty.mp4").touch()
    write_table(flat / "empty.csv", "0,1,5,5")
    write_video(flat / "unlabelled.mp4")
    write_table(flat / "orphan.csv", "0,1,5,5")
    write_table(flat / "b.csv", "0,1,0,0", "1,1,64,48", "2,1,65,0", "7,0,0,0")
    write_video(flat / "b.avi")
    report = check_dataset(flat)
    assert summary(report) == [
        ("unlabelled.mp4", "no-labels", None, "error"),
        ("orphan.csv", "no-video", None, "error"),
        ("b.mp4", "duplicate-clip", None, "error"),
        ("b.csv", "at-origin", 2, "error"),
        ("b.csv", "outside-frame", 4, "error"),
        ("b.csv", "beyond-video", 5, "error"),
        ("b.csv", "missing-frames", None, "warning"),
        ("broken.mp4", "unreadable", None, "error"),
        ("empty.mp4", "unreadable", None, "error"),
    ]
    assert len(report.errors) == 8
    assert len(report.warnings) == 1
    assert [clip.name for clip in report.unusable] == ["broken", "empty", "unlabelled"]
    assert [one.clip.name for one in report.checked] == ["a", "b", "unlabelled"]
    assert report.checked[1].labels.labelled.tolist() == [False, True, False, False]
    assert report.checked[2].labels is None
    assert report.counts.labelled == 5
    texts = [str(fault) for fault in report.faults]
    assert texts[2] == f"{flat}/b.mp4: the clip b is also b.avi, which is used"
    assert texts[7].count("broken.mp4") == 1
    assert report.render().endswith(
        "Errors stop a training. With --data.faults mask (data pack: --faults mask) it goes on without "
        "3 faulty rows and 3 clips (broken, empty, unlabelled) and 2 files (b.mp4, orphan.csv)."
    )


def test_errors_stop_unless_they_are_masked(flat, capsys):
    write_table(flat / "b.csv", "0,1,0,0", "1,1,0,0")
    report = check_dataset(flat)
    with pytest.raises(TrackNetError) as caught:
        report.fail_if_errors(masked=False)
    assert str(caught.value) == report.render()
    assert caught.value.exit_code == 1
    assert capsys.readouterr().err == ""
    report.fail_if_errors(masked=True)
    assert capsys.readouterr().err == f"{flat}: training without 2 faulty rows and 1 clip (b)\n"


def test_masking_does_not_help_without_a_usable_clip(tmp_path):
    write_video(tmp_path / "a.mp4")
    (tmp_path / "a.csv").write_text("frame_num,x,y,visible\n0,0.5,0.5,0\n1,0.5,0.5,0\n")
    report = check_dataset(tmp_path)
    assert summary(report)[0] == ("a.csv", "never-visible", None, "error")
    with pytest.raises(TrackNetError, match=r"never-visible \(error\): 1 file(.|\n)*No clip can be used\.$"):
        report.fail_if_errors(masked=True)


def test_warnings_never_stop(flat, capsys):
    write_table(flat / "b.csv", "0,1,5,6")
    report = check_dataset(flat)
    assert summary(report) == [("b.csv", "missing-frames", None, "warning")]
    report.fail_if_errors(masked=False)
    assert capsys.readouterr().err == ""
    text = report.render()
    assert "\n1 warning\n" in text
    assert "2 clips: 8 frames" in text
    assert "Errors stop" not in text


def test_clips_of_another_size(flat):
    for name, size in (("large", (98, 130)), ("tall", (64, 64)), ("alike", (90, 120))):
        write_video(flat / f"{name}.mp4", size=size)
        write_table(flat / f"{name}.csv", *(f"{frame},1,5,5" for frame in range(4)))
    report = check_dataset(flat)
    assert summary(report) == [
        ("large.mp4", "odd-size", None, "warning"),
        ("tall.mp4", "odd-size", None, "warning"),
    ]
    assert "is 130x98, most clips are 64x48" in str(report.faults[0])


def test_a_claim_of_the_container_that_is_not_kept(flat, monkeypatch):
    monkeypatch.setattr("tracknet.data.check.count_frames", lambda source: 3)
    report = check_dataset(flat)
    assert summary(report)[:2] == [
        ("a.mp4", "frame-count", None, "warning"),
        ("a.csv", "beyond-video", 5, "error"),
    ]
    assert "holds 3 frames, though its container claims 4" in str(report.faults[0])


def test_what_is_damaged_inside_is_found_by_decoding(flat, capsys):
    for name, kept in {"a": 0, "b": 20}.items():
        with av.open(str(flat / f"{name}.mp4")) as container:
            at, size = [(packet.pos, packet.size) for packet in container.demux() if packet.size][2]
        content = bytearray((flat / f"{name}.mp4").read_bytes())
        content[at + kept : at + size] = bytes(size - kept)
        (flat / f"{name}.mp4").write_bytes(content)
    write_video(flat / "c.mp4")
    write_table(flat / "c.csv", "0,1,5,6", "1,0,0,0", "2,1,7,8", "3,2,9,9")
    assert check_dataset(flat).faults == ()
    report = check_dataset(flat, decode=True)
    assert summary(report) == [
        ("a.mp4", "undecodable", None, "error"),
        ("b.mp4", "damaged", None, "warning"),
    ]
    assert [clip.name for clip in report.unusable] == ["a"]
    told = report.render()
    assert "a.mp4: damaged behind frame 2 (" in told
    assert "b.mp4: 1 frame is damaged, the first is 2; " in told
    assert "Errors stop a training; a clip that cannot be decoded is not masked; to go on" in told
    assert capsys.readouterr().err.startswith("decoding: 10 frames in ")


@pytest.mark.parametrize(("damaged", "kinds"), [(5, ["undecodable"]), (16, [])])
def test_of_sparse_labels_what_a_training_needs_is_decoded(tmp_path, capsys, damaged, kinds):
    video = tmp_path / "training/videos/game_1.mp4"
    labels = tmp_path / "training/annotations/game_1/ball_markup.json"
    video.parent.mkdir(parents=True)
    labels.parent.mkdir(parents=True)
    write_video(video, frames=25)
    labels.write_text('{"2": {"x": 5, "y": 6}}')
    with av.open(str(video)) as container:
        at, size = [(packet.pos, packet.size) for packet in container.demux() if packet.size][damaged]
    content = video.read_bytes()
    video.write_bytes(content[:at] + bytes(size) + content[at + size :])
    assert [fault.kind for fault in check_dataset(tmp_path, decode=True).errors] == kinds
    assert capsys.readouterr().err.startswith(f"decoding: {5 if kinds else 11} ")


def test_a_count_that_decoding_does_not_keep(flat, monkeypatch):
    monkeypatch.setattr("tracknet.data.check.count_frames", lambda source: 5)
    found = [fault for fault in check_dataset(flat, decode=True).faults if fault.kind == "undecodable"]
    assert [fault.path.name for fault in found] == ["a.mp4", "b.mp4"]
    assert "5 frames were counted, but 4 can be decoded" in found[0].message


def test_a_video_that_goes_after_it_was_counted_ends_no_check(flat, monkeypatch):
    def count_and_lose(source):
        if source.path.name == "a.mp4":
            source.path.unlink()
        return 4

    monkeypatch.setattr("tracknet.data.check.count_frames", count_and_lose)
    report = check_dataset(flat, decode=True)
    assert summary(report) == [("a.mp4", "undecodable", None, "error")]
    assert [one.clip.name for one in report.checked] == ["b"]


def test_what_counting_shows_is_in_the_report(flat, capsys, monkeypatch):
    monkeypatch.setattr("tracknet.data.video.VideoFile._packets", lambda self: 0)
    monkeypatch.setattr("tracknet.data.video._several", lambda container, stream: "holds 2 video streams")
    report = check_dataset(flat, decode=True)
    assert summary(report) == [
        ("a.mp4", "several-streams", None, "warning"),
        ("b.mp4", "several-streams", None, "warning"),
    ]
    assert "note:" not in capsys.readouterr().err


def test_labels_that_cannot_be_read(flat):
    (flat / "b.csv").unlink()
    (flat / "b.csv").mkdir()
    report = check_dataset(flat)
    assert summary(report) == [("b.csv", "not-text", None, "error")]
    assert str(report.faults[0]).count("b.csv") == 1
    assert [clip.name for clip in report.unusable] == ["b"]


def test_images_of_a_clip_are_found_by_name(tmp_path):
    folder = tmp_path / "game1" / "Clip1"
    folder.mkdir(parents=True)
    write_video(tmp_path / "images.mp4", frames=3)
    with av.open(str(tmp_path / "images.mp4")) as container:
        for number, frame in enumerate(container.decode(video=0), start=1):
            with av.open(str(folder / f"{number:04d}.png"), "w", format="image2") as image:
                stream = image.add_stream("png")
                stream.height, stream.width, stream.pix_fmt = 48, 64, "rgb24"
                image.mux(stream.encode(frame.reformat(format="rgb24")))
    (folder / "Label.csv").write_text(
        "file name,visibility,x-coordinate,y-coordinate,status\n"
        "0001.jpg,1,5,6,0\n0002.jpg,0,,,\n0003.jpg,1,7,8,1\n"
    )
    report = check_dataset(tmp_path, TrackNetTennis())
    assert report.faults == ()
    assert report.checked[0].labels.xy.tolist() == [[5, 6], [0, 0], [7, 8]]


def test_a_folder_of_another_layout(flat, tmp_path):
    with pytest.raises(TrackNetError, match=r"no clips of the layout tennis .* looks like the layout flat"):
        check_dataset(flat, TrackNetTennis())
    with pytest.raises(TrackNetError, match="there is no such folder"):
        check_dataset(tmp_path / "gone", FlatVideo())


def test_a_folder_with_nothing_in_its_clips(tmp_path):
    (tmp_path / "game1" / "Clip1").mkdir(parents=True)
    report = check_dataset(tmp_path)
    assert [fault.kind for fault in report.faults] == ["no-clips"]
    assert "  0 clips\n" in report.render()


def test_long_lists_are_cut():
    faults = [
        Fault(Path(f"{name}.csv"), "at-origin", "a visible ball at 0,0", line)
        for name in "abc"
        for line in (2, 3, 4, 7, 9, 10)
    ]
    faults.append(Fault(Path("d.csv"), "empty", "is empty"))
    assert render_faults(faults, shown=2).splitlines() == [
        "empty (error): 1 file",
        "  d.csv: is empty",
        f"  remedy: {REMEDIES['empty']}",
        "",
        "at-origin (error): 18 rows in 3 files",
        "  a.csv:2: a visible ball at 0,0 (and 5 more: 3-4, 7, ...)",
        "  b.csv:2: a visible ball at 0,0 (and 5 more: 3-4, 7, ...)",
        "  and 1 more file with 6 rows",
        f"  remedy: {REMEDIES['at-origin']}",
    ]
    whole = render_faults(faults, shown=0)
    assert "  c.csv:2: a visible ball at 0,0 (and 5 more: 3-4, 7, 9-10)\n" in whole
    assert "..." not in whole


def test_all_that_is_wrong_with_a_whole_file_is_shown():
    guessed, lost = (Fault(Path("a.ts"), "damaged", f"what {n}", severity="warning") for n in (1, 2))
    sizes = [Fault(Path("b.ts"), "changing-size", f"size {n}", severity="warning") for n in range(9)]
    told = render_faults([guessed, lost, *sizes], shown=3).splitlines()
    assert told[:3] == ["damaged (warning): 1 file", "  a.ts: what 1", "  a.ts: what 2"]
    assert told[-3:-1] == ["  b.ts: size 3", "  b.ts: and 5 more"]
    assert "  b.ts: size 8" in render_faults(sizes, shown=0).splitlines()


def test_every_kind_of_fault_has_a_remedy():
    assert set(REMEDIES) == set(get_args(FaultKind))


@pytest.mark.parametrize("kind", ["unreadable", "not-text", "bad-markup", "bad-visibility", "outside-frame"])
def test_the_first_remedy_fits_files_of_every_format(kind):
    assert "DOCTYPE" not in REMEDIES[kind]
    first = REMEDIES[kind].split(";")[0]
    assert not {"ffmpeg", "CSV", "Visibility", "column", "row", "0"} & set(re.findall(r"\w+", first))


def test_the_check_starts_without_torch():
    code = "import sys, tracknet.data.check, tracknet.data.splits; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_real_tennis(real_data):
    report = check_dataset(real_data / "tennis")
    counts = report.counts
    assert (len(report.clips), counts.frames, counts.labelled, counts.visible) == (51, 6880, 6318, 6000)
    assert {fault.kind for fault in report.faults} == {"at-origin"}
    assert len(report.errors) == 562
    assert report.unusable == []


def test_real_volleyball(real_data):
    report = check_dataset(real_data / "volleyball")
    assert [fault.kind for fault in report.errors] == ["never-visible"]
    assert [clip.name for clip in report.unusable] == ["VolleyballShortClip"]


def test_a_video_that_players_turn(flat):
    write_video(flat / "straight.mp4")
    with av.open(str(flat / "straight.mp4")) as old, av.open(str(flat / "b.mp4"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        stream.set_display_rotation(90)
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    (flat / "straight.mp4").unlink()
    report = check_dataset(flat)
    assert summary(report) == [("b.mp4", "turned", None, "warning")]
    assert "turned by 90 degrees; frames and positions are those of the picture as it is stored" in (
        report.render()
    )


def test_a_video_that_lacks_its_beginning_is_counted_by_decoding(flat):
    rng = np.random.default_rng(0)
    with av.open(str(flat / "whole.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "6"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for _ in range(18):
            image = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    with av.open(str(flat / "whole.mkv")) as old, av.open(str(flat / "b.mp4"), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if number and packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    (flat / "whole.mkv").unlink()
    decodable = sum(1 for _ in open_source(flat / "b.mp4").frames())
    assert decodable < 16
    report = check_dataset(flat)
    assert report.checked[1].frames == decodable
    assert ("b.mp4", "frame-count", None, "warning") in summary(report)


def test_a_codec_that_is_not_known_is_one_fault(flat):
    with av.open(str(flat / "b.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode())
    film = (flat / "b.mp4").read_bytes()
    (flat / "b.mp4").write_bytes(film.replace(b"avc1", b"xyz1").replace(b"avcC", b"xyzC"))
    (fault,) = check_dataset(flat).faults
    assert (fault.path.name, fault.kind) == ("b.mp4", "unreadable")
    assert fault.message == "its frames are coded in a way that FFmpeg cannot decode"


@pytest.fixture
def images(tmp_path):
    """Six images, numbered from 0, labelled by number."""
    folder = tmp_path / "1" / "frames" / "a"
    folder.mkdir(parents=True)
    with av.open(str(folder / "0.png"), "w", format="image2") as image:
        stream = image.add_stream("png")
        stream.height, stream.width, stream.pix_fmt = 48, 64, "rgb24"
        image.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
    for number in range(1, 6):
        (folder / f"{number}.png").write_bytes((folder / "0.png").read_bytes())
    labels = tmp_path / "1" / "csv" / "a.csv"
    labels.parent.mkdir()
    write_table(labels, *(f"{n},1,{10 + n},{20 + n}" for n in range(6)))
    return folder


def test_labels_follow_the_numbers_of_images_of_which_some_are_missing(images, tmp_path):
    (images / "2.png").unlink()
    report = check_dataset(tmp_path)
    assert summary(report) == [
        ("a", "missing-images", None, "warning"),
        ("a.csv", "beyond-video", 4, "error"),
    ]
    assert "images are missing between 1.png and 3.png" in report.render()
    assert "frame 2 is not among the images of the clip" in report.render()
    assert report.checked[0].labels.xy.tolist() == [[10, 20], [11, 21], [13, 23], [14, 24], [15, 25]]
    (images / "4.png").unlink()
    assert "between 1.png and 3.png, and in 1 more place" in check_dataset(tmp_path).render()


def test_images_that_are_not_numbered_from_0_are_counted(images, tmp_path):
    for number in range(5, -1, -1):
        (images / f"{number}.png").rename(images / f"{number + 1}.png")
    report = check_dataset(tmp_path)
    assert summary(report) == [("a.csv", "other-numbers", None, "warning")]
    assert "the images are numbered 1 to 6, the rows 0 to 5: row 0 is taken for the first image" in (
        report.render()
    )
    assert report.checked[0].labels.xy.tolist() == [[10 + n, 20 + n] for n in range(6)]


def test_labels_are_not_shifted_where_the_first_image_is_missing(images, tmp_path):
    (images / "0.png").unlink()
    report = check_dataset(tmp_path)
    assert summary(report) == [("a.csv", "beyond-video", 2, "error")]
    assert report.checked[0].labels.xy.tolist() == [[10 + n, 20 + n] for n in range(1, 6)]


def test_frames_counted_from_1_are_not_masked(flat, capsys):
    write_table(flat / "b.csv", *(f"{frame},1,5,6" for frame in range(1, 5)))
    report = check_dataset(flat)
    assert summary(report) == [("b.csv", "counted-from-1", None, "error")]
    report.fail_if_errors(masked=True)
    assert capsys.readouterr().err == f"{flat}: training without 1 clip (b)\n"


def test_an_image_that_cannot_be_read_is_named_once(images, tmp_path):
    (images / "0.png").write_bytes(b"")
    report = check_dataset(tmp_path)
    assert summary(report) == [("a", "unreadable", None, "error")]
    assert f"  {images}: 0.png: not a readable image" in report.render()


def test_images_without_content_are_named_before_a_training(images, tmp_path):
    for number in (2, 4, 5):
        (images / f"{number}.png").write_bytes(b"")
    report = check_dataset(tmp_path)
    assert summary(report) == [("a", "unreadable", None, "error")]
    assert f"  {images}: 2.png and 2 more are empty (0 bytes)" in report.render()
    assert [clip.name for clip in report.unusable] == ["1/a"]
    (images / "1.png").unlink()
    (images / "1.png").symlink_to("gone.png")
    assert f"  {images}: 1.png cannot be read: No such file or directory" in check_dataset(tmp_path).render()


def test_two_images_of_one_frame(images, tmp_path):
    (images / "2.bmp").write_bytes((images / "2.png").read_bytes())
    report = check_dataset(tmp_path)
    assert summary(report) == [("a", "double-image", None, "error")]
    assert "2.bmp and 2.png are both frame 2" in report.render()
    assert [clip.name for clip in report.unusable] == ["1/a"]


def test_what_a_tracker_wrote_beside_the_labels_is_no_fault(flat):
    write_table(flat / "a_ball.csv", "0,1,5,6")
    assert check_dataset(flat).faults == ()
    (flat / "a.csv").unlink()
    assert [fault.kind for fault in check_dataset(flat).faults] == ["no-labels", "no-video"]
