"""The check of a data set: it finds everything, stops nowhere and reads well."""

from __future__ import annotations

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
        f"{flat}: layout flat ([train|val|test/]NAME.mp4 beside NAME.csv)\n"
        "  2 clips: 8 frames, 0:00 minutes, 64x48, 25 fps\n"
        "  8 frames labelled (6 with a ball, 2 without), 0 not labelled\n"
        "\n"
        "no faults"
    )
    assert capsys.readouterr() == ("", "")


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
        "Errors stop a training. With --data.faults mask it goes on without 3 faulty rows and "
        "3 clips (broken, empty, unlabelled) and 2 files (b.mp4, orphan.csv)."
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


def test_every_kind_of_fault_has_a_remedy():
    assert set(REMEDIES) == set(get_args(FaultKind))


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
