"""Label files: each style to pixels by hand, each kind of fault, and round trips."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracknet.data.faults import Fault
from tracknet.data.label_table import HEADERS, LabelStyle
from tracknet.data.labels import Labels, read_labels, write_labels
from tracknet.errors import TrackNetError

SIZE = (720, 1280)
STYLES = get_args(LabelStyle)


def kinds(faults: list[Fault]) -> list[tuple[str, int | None]]:
    return [(fault.kind, fault.line) for fault in faults]


@pytest.mark.parametrize(
    "text",
    [
        "Frame,Ball,x,y\n0,1,0.5,0.25\n1,0,-1.000,-1.000\n2,1,1.0,1.0\n",
        "frame_num,x,y,visible\n0,0.5,0.25,1\n1,0,0,0\n2,1,1,1\n",
        "Frame,Visibility,X,Y\n0,1,640,180\n1,0,0,0\n2,1,1280,720\n",
        "Frame,Visibility,X,Y,l,theta\n0,1,640,180,3,0\n1,0,0,0,0,0\n2,1,1280,720,1,1\n",
        "Frame,X,Y,Visibility\n0,640,180,1\n1,0,0,0\n2,1280,720,1\n",
        "Y,Visibility,Frame,X\n180,1,0,640\n,0,1,\n720,2,2,1280\n",
        "file name,visibility,x-coordinate,y-coordinate,status\n"
        "0000.jpg,1,640,180,0\n0001.jpg,0,,,\n0002.jpg,3,1280,720,1\n",
        "\ufeffFrame;Visibility;X;Y\r\n0;1;640,0;180,0\r\n\r\n1;0;0;0\r\n2;1;1280;720\r\n",
        '"Frame" , "Visibility" , "X" , "Y"\n"0" , "1" , "640" , "180"\n1, 0, ,\n 2 , 1.0 , 1280 , 720 ',
        "\r\nsep=;\r\nFrame;Visibility;X;Y\r\n0;1;640,0;180,0\r\n1;0;0;0\r\n2;1;1280;720\r\n",
        '"sep=,"\nFrame,Visibility,X,Y\n0,1,640,180\n1,0,0,0\n2,1,1280,720\n',
        "frame\tvisibility\tx\ty\n2\t1\t1280,0\t720\n0.0\t1\t640\t180\n1\t0\tnan\t?\n",
    ],
)
def test_every_style_gives_source_pixels(read, text):
    labels, faults = read(text)
    assert faults == []
    np.testing.assert_array_equal(labels.xy, np.array([[640, 180], [0, 0], [1280, 720]], np.float32))
    assert labels.xy.dtype == np.float32
    assert labels.visible.tolist() == [True, False, True]
    assert labels.labelled.tolist() == [True, True, True]


def test_sparse_labels_leave_frames_unlabelled_with_one_warning(read):
    labels, faults = read("Frame,Visibility,X,Y\n1,1,10,20\n3,0,0,0\n", frames=5)
    assert labels.labelled.tolist() == [False, True, False, True, False]
    assert labels.visible.tolist() == [False, True, False, False, False]
    assert kinds(faults) == [("missing-frames", None)]
    assert faults[0].severity == "warning"
    assert "3 of 5 frames have no row, the first of them is frame 0" in str(faults[0])


@pytest.mark.parametrize(
    ("row", "kind", "says"),
    [
        ("1,1,0,0", "at-origin", "visible ball at 0,0"),
        ("1,2,0,0", "at-origin", "visible ball at 0,0"),
        ("1,1,-1,-1", "outside-frame", "x -1"),
        ("1,1,5,-2", "outside-frame", "y -2"),
        ("1,1,1281,5", "outside-frame", "x 1281 is beyond the width of 1280 pixels"),
        ("1,1,5,720.5", "outside-frame", "y 720.5 is beyond the height of 720 pixels"),
        ("1,1,ten,5", "bad-number", "the x 'ten' is not a number"),
        ("1,1,,5", "bad-number", "the x is blank"),
        ("1,1,5", "bad-number", "the y is blank"),
        ("1,1,5,inf", "bad-number", "'inf'"),
        ("1.5,1,5,5", "bad-number", "'1.5' is not a whole number"),
        ("one,1,5,5", "bad-number", "the frame 'one' is not a number"),
        (f"{'9' * 60},1,5,5", "beyond-video", "1e+60"),
        (f"{'z' * 60},1,5,5", "bad-number", "zzz...'"),
        ("1,,5,5", "bad-visibility", "''; expected 0, 1, 2 or 3"),
        ("1,yes,5,5", "bad-visibility", "'yes'"),
        ("1,4,5,5", "bad-visibility", "'4'"),
        ("1,0_1,5,5", "bad-visibility", "'0_1'"),
        ("0_1,1,5,5", "bad-number", "the frame '0_1' is not a number"),
        ("1,1,1_0,5", "bad-number", "the x '1_0' is not a number"),
        ("-1,1,5,5", "negative-frame", "-1"),
        ("3,1,5,5", "beyond-video", "frame 3 is beyond the video, whose last is frame 2"),
    ],
)
def test_a_faulty_row_is_told_with_its_line_and_leaves_its_frame_unlabelled(read, row, kind, says):
    labels, faults = read(f"Frame,Visibility,X,Y\n0,1,10,10\n{row}\n2,1,12,12\n")
    rows = [fault for fault in faults if fault.kind != "missing-frames"]
    assert kinds(rows) == [(kind, 3)]
    assert rows[0].severity == "error"
    assert says in str(rows[0])
    assert "clip.csv:3: " in str(rows[0])
    assert labels.labelled.tolist() == [True, False, True]
    assert labels.visible.tolist() == [True, False, True]
    assert labels.xy[1].tolist() == [0, 0]


def test_two_rows_for_one_frame_leave_it_unlabelled(read):
    labels, faults = read("Frame,Visibility,X,Y\n0,1,1,1\n1,1,5,5\n1,1,6,6\n2,4,1,1\n2,1,7,7\n")
    assert kinds(faults) == [("duplicate-frame", 4), ("bad-visibility", 5), ("duplicate-frame", 6)]
    assert "in line 3" in str(faults[0])
    assert labels.labelled.tolist() == [True, False, False]


def test_pixels_in_a_column_of_shares(read):
    labels, faults = read("Frame,Ball,x,y\n0,1,640,0.5\n1,1,0.5,0.5\n2,0,0,0\n")
    assert kinds(faults) == [("outside-frame", 2)]
    assert faults[0].message == "x 640 is beyond 1 in a column that holds shares of the width"
    assert labels.labelled.tolist() == [False, True, True]


def test_shares_in_columns_of_pixels_are_one_fault_of_the_file(read):
    labels, faults = read("Frame,Visibility,X,Y\n0,1,0.5,0.25\n1,0,0,0\n2,1,1.0,1.0\n")
    assert kinds(faults) == [("outside-frame", None)]
    assert not labels.labelled.any()


def test_whole_pixels_at_the_corner_are_no_shares(read):
    labels, faults = read("Frame,Visibility,X,Y\n0,1,1,1\n1,1,0,1\n2,0,0,0\n")
    assert faults == []
    assert labels.xy[1].tolist() == [0, 1]


def test_a_column_of_zeros_beside_coordinates_is_never_visible(read):
    labels, faults = read("frame_num,x,y,visible\n0,0.4,0.6,0\n1,0.4,0.5,0\n")
    assert kinds(faults) == [("never-visible", None)]
    assert not labels.labelled.any()


@pytest.mark.parametrize("place", ["0,0", "-1,-1", ",", "-1.000,-1.000"])
def test_a_clip_without_a_ball_has_no_fault(read, place):
    labels, faults = read(f"Frame,Ball,x,y\n0,0,{place}\n1,0,{place}\n", frames=2)
    assert faults == []
    assert labels.labelled.all()
    assert not labels.visible.any()


@pytest.mark.parametrize(
    ("text", "kind", "line", "says"),
    [
        ("", "empty", None, "is empty"),
        ("\n \n,,\n", "empty", None, "is empty"),
        ("Frame,Visibility,X,Y\n", "empty", None, "has a header but no rows"),
        ("Frame,Vis,X,Y\n0,1,5,5\n", "missing-column", 1, "no column for visibility in 'Frame,Vis,X,Y'"),
        ("\nFrame,Visibilty,X,Y\n0,1,5,5\n", "missing-column", 2, "did you mean 'visibility'?"),
        ("a,b\n0,1\n", "missing-column", 1, "no columns for frame and visibility and x and y"),
        ("0,1,5,5\n1,1,6,6\n", "missing-column", 1, "does not name the columns; expected Frame,Ball,x,y or"),
        (b"\x00\x01\x02", "not-text", None, "not a text file"),
        ("Frame,Visibility,X,Y\n0,1,5," + "5" * 200_000 + "\n", "not-text", None, "field"),
    ],
)
def test_a_file_that_is_no_table_of_labels(read, text, kind, line, says):
    labels, faults = read(text)
    assert kinds(faults) == [(kind, line)]
    assert says in str(faults[0])
    assert len(labels.labelled) == 3
    assert not labels.labelled.any()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TrackNetError, match=r"gone\.csv: cannot read the labels: No such file"):
        read_labels(tmp_path / "gone.csv", 3, SIZE)


@st.composite
def some_labels(draw: st.DrawFn) -> tuple[Labels, tuple[int, int]]:
    size = draw(st.tuples(st.integers(2, 4000), st.integers(2, 4000)))
    frames = draw(st.integers(1, 12))
    states = draw(st.lists(st.sampled_from(["ball", "none", "unlabelled"]), min_size=frames, max_size=frames))
    share = st.floats(0, 1, width=32)
    labels = Labels.none(frames)
    for frame, state in enumerate(states):
        labels.labelled[frame] = state != "unlabelled"
        if state == "ball":
            labels.visible[frame] = True
            labels.xy[frame] = (draw(share) * size[1], draw(share) * size[0])
    return labels, size


@given(some_labels(), st.sampled_from(STYLES))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_reads_the_same(tmp_path, drawn, style):
    labels, size = drawn
    path = tmp_path / f"{style}.csv"
    write_labels(path, labels, style, size)
    assert path.read_text().splitlines()[0] == ",".join(HEADERS[style])
    read, faults = read_labels(path, len(labels.visible), size)
    seen = labels.xy[labels.visible]
    if len(seen) and seen.max() <= 1 and style not in ("ball", "visible"):
        return  # Nothing tells such pixels from shares.
    if not labels.labelled.any():
        assert [fault.kind for fault in faults] == ["empty"]
        return
    assert [fault.kind for fault in faults] == ([] if labels.labelled.all() else ["missing-frames"])
    np.testing.assert_array_equal(read.visible, labels.visible)
    np.testing.assert_array_equal(read.labelled, labels.labelled)
    np.testing.assert_allclose(read.xy, labels.xy, atol=2e-3)


def test_the_written_bytes(tmp_path):
    labels = Labels(
        np.array([[640.25, 180], [0, 0], [0, 0], [-0.5, 720.4]], np.float32),
        np.array([True, False, False, True]),
        np.array([True, True, False, True]),
    )
    written = {}
    for style in STYLES:
        write_labels(tmp_path / "a.csv", labels, style, SIZE)
        written[style] = (tmp_path / "a.csv").read_bytes().decode().split("\n")[1:]
    assert written == {
        "ball": ["0,1,0.50019531,0.25", "1,0,0,0", "3,1,0,1", ""],
        "visible": ["0,0.50019531,0.25,1", "1,0,0,0", "3,0,1,1", ""],
        "trajectory": ["0,1,640.25,180", "1,0,0,0", "3,1,0,720", ""],
        "racketvision": ["0,640.25,180,1", "1,0,0,0", "3,0,720,1", ""],
        "tennis": ["0000.jpg,1,640.25,180,", "0001.jpg,0,,,", "0003.jpg,1,0,720,", ""],
    }


@pytest.mark.parametrize("xy", [(-1, 5), (5, 721), (float("nan"), 5)])
def test_a_ball_outside_of_the_frame_is_not_written(tmp_path, xy):
    labels = Labels(np.array([xy], np.float32), np.array([True]), np.array([True]))
    with pytest.raises(ValueError, match="outside of the frame of 1280 x 720"):
        write_labels(tmp_path / "a.csv", labels, "ball", SIZE)
    assert list(tmp_path.iterdir()) == []


def test_writing_where_no_folder_can_be_leaves_nothing(tmp_path):
    labels = Labels.none(1)
    (tmp_path / "gone").write_text("a file")
    with pytest.raises(TrackNetError, match=r"a\.csv: cannot be written"):
        write_labels(tmp_path / "gone" / "a.csv", labels, "ball", SIZE)
    assert list(tmp_path.iterdir()) == [tmp_path / "gone"]


cells = st.one_of(
    st.integers(-3, 9).map(str),
    st.floats(width=32).map(str),
    st.sampled_from(["", " ", "0", "1", "0001.jpg", '"', "'", "1_0", "nan", "9" * 400]),
    st.text(max_size=6),
)
tables = st.builds(
    lambda header, rows, delimiter: "\n".join(delimiter.join(row) for row in [header, *rows]),
    st.sampled_from(list(HEADERS.values())) | st.lists(cells, max_size=5),
    st.lists(st.lists(cells, max_size=6), max_size=8),
    st.sampled_from(",;\t"),
)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200), tables), st.integers(0, 5), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_breaks_the_reader(tmp_path, content, frames, images):
    path = tmp_path / "any.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    names = [f"{frame:04d}.jpg" for frame in range(frames)] if images else None
    try:
        labels, faults = read_labels(path, frames, SIZE, names)
    except TrackNetError:
        return
    assert len(labels.xy) == len(labels.visible) == len(labels.labelled) == frames
    assert not (labels.visible & ~labels.labelled).any()
    assert ((labels.xy >= 0) & (labels.xy <= (1280, 720))).all()
    for fault in faults:
        assert "\n" not in fault.message
        assert len(fault.message) < 500


def test_the_known_faults_of_real_labels(real_data):
    tennis = [read_labels(path, 10_000, SIZE)[1] for path in (real_data / "tennis").glob("*.csv")]
    found = [fault.kind for faults in tennis for fault in faults if fault.severity == "error"]
    assert found == ["at-origin"] * 562
    volleyball, faults = read_labels(real_data / "volleyball" / "VolleyballShortClip.csv", 21, SIZE)
    assert kinds(faults) == [("never-visible", None)]
    assert not volleyball.labelled.any()
    badminton, faults = read_labels(real_data / "badminton" / "00001.csv", 10_000, SIZE)
    assert [fault.severity for fault in faults] == ["warning"]
    np.testing.assert_allclose(badminton.xy[0], [0.496 * 1280, 0.549 * 720], rtol=1e-6)


def test_degrees_of_visibility_are_kept(tmp_path):
    path = tmp_path / "Label.csv"
    rows = ["0000.jpg,1,10,20,0", "0001.jpg,0,,,", "0002.jpg,2,11,20,0", "0003.jpg,3,12,20,0"]
    path.write_text("file name,visibility,x-coordinate,y-coordinate,status\n" + "\n".join(rows) + "\n")
    images = [f"{number:04d}.jpg" for number in range(5)]
    labels, faults = read_labels(path, 5, SIZE, images)
    assert [fault.kind for fault in faults] == ["missing-frames"]
    assert labels.visible.tolist() == [True, False, True, True, False]
    assert labels.visibility.tolist() == [1, 0, 2, 3, 0]
    write_labels(tmp_path / "again.csv", labels, "tennis", SIZE)
    assert read_labels(tmp_path / "again.csv", 5, SIZE, images)[0].visibility.tolist() == [1, 0, 2, 3, 0]


def test_exchanged_columns_are_told_once(tmp_path):
    places = [(100, 300), (200, 900), (300, 1000), (400, 1100)]
    path = tmp_path / "a.csv"

    def read(rows):
        lines = "".join(f"{n},1,{x},{y}\n" for n, (x, y) in enumerate(rows))
        path.write_text("Frame,Visibility,X,Y\n" + lines)
        return read_labels(path, 4, SIZE)

    labels, faults = read(places)
    assert kinds(faults) == [("outside-frame", None)]
    assert faults[0].message == (
        "the positions fit a picture of 720x1280, and the video has 1280x720: are x and y exchanged, or was "
        "the video turned when it was labelled?"
    )
    assert not labels.labelled.any()
    # Two are slips, and so are those that do not fit either way.
    for rows, lines in (([*places[:3], (400, 110)], [3, 4]), ([*places[:3], (1100, 800)], [3, 4, 5])):
        labels, faults = read(rows)
        assert kinds(faults) == [("outside-frame", line) for line in lines]
        assert labels.labelled.tolist() == [n + 2 not in lines for n in range(4)]
