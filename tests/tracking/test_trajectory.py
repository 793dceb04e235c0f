"""Trajectory files: exact text, what is kept when writing ends early, errors that name the line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracknet.errors import TrackNetError
from tracknet.tracking.trajectory import (
    TrajectoryInterrupted,
    TrajectoryRow,
    TrajectorySummary,
    partial_path,
    read_trajectory,
    trajectory_rows,
    write_trajectory,
)

ROWS = [
    TrajectoryRow(0, True, 12.345, 678.0, 0.98765),
    TrajectoryRow(1, False, 5.0, 6.0, 0.25),
    TrajectoryRow(2, True, 0.0, 719.5, 1.0),
]
TEXT = (
    "Frame,Visibility,X,Y,Confidence\n0,1,12.35,678.00,0.9877\n1,0,0.00,0.00,0.2500\n2,1,0.00,719.50,1.0000\n"
)


def rows_then(error):
    yield from ROWS
    raise error


def test_text_of_the_file(tmp_path):
    path = tmp_path / "rally_ball.csv"
    assert write_trajectory(path, iter(ROWS)) == TrajectorySummary(frames=3, visible=2, best=1.0)
    assert path.read_bytes() == TEXT.replace("12.35", f"{12.345:.2f}").encode()
    assert [p.name for p in tmp_path.iterdir()] == ["rally_ball.csv"]


def test_a_trajectory_without_rows_has_its_header(tmp_path):
    assert write_trajectory(tmp_path / "a.csv", []) == TrajectorySummary()
    assert read_trajectory(tmp_path / "a.csv") == []


coordinates = st.floats(-50, 5000).map(lambda value: round(value, 2))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), coordinates, coordinates, st.integers(0, 10_000))))
def test_what_is_written_is_read(tmp_path_factory, fields):
    path = tmp_path_factory.mktemp("trajectory") / "a.csv"
    rows = [
        TrajectoryRow(k, seen, x if seen else 0.0, y if seen else 0.0, confidence / 10_000)
        for k, (seen, x, y, confidence) in enumerate(fields)
    ]
    write_trajectory(path, rows)
    assert read_trajectory(path) == rows


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")

    def rows():
        yield ROWS[0]
        assert path.read_text() == "old"

    write_trajectory(path, rows())
    assert len(read_trajectory(path)) == 1


def test_ctrl_c_keeps_the_rows_so_far_in_a_file_of_their_own(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(TrajectoryInterrupted) as stop:
        write_trajectory(path, rows_then(KeyboardInterrupt()))
    assert path.read_text() == "old"
    assert stop.value.path == tmp_path / "a.partial.csv"
    assert stop.value.summary.frames == 3
    assert len(read_trajectory(stop.value.path)) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.partial.csv"]


def test_ctrl_c_before_the_first_row_leaves_nothing(tmp_path):
    def rows():
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt) as stop:
        write_trajectory(tmp_path / "a.csv", rows())
    assert not isinstance(stop.value, TrajectoryInterrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_video_damaged_in_the_middle_keeps_the_rows_before(tmp_path):
    with pytest.raises(
        TrackNetError, match=r"damaged behind frame 3; the 3 frames before are in .*a.partial.csv"
    ):
        write_trajectory(tmp_path / "a.csv", rows_then(TrackNetError("damaged behind frame 3")))
    assert [p.name for p in tmp_path.iterdir()] == ["a.partial.csv"]


def test_any_other_error_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_trajectory(tmp_path / "a.csv", rows_then(ZeroDivisionError()))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(TrackNetError, match=r"none/a.csv: cannot be written: No such file"):
        write_trajectory(tmp_path / "none" / "a.csv", ROWS)


def test_partial_path_keeps_the_folder(tmp_path):
    assert partial_path(tmp_path / "x.y.csv") == tmp_path / "x.y.partial.csv"


def test_label_files_are_trajectories_too(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xef\xbb\xbfFrame,X,Y,Visibility,Note\r\n0,3,4.5,1,hit\r\n1,0,0,0,\r\n")
    assert read_trajectory(path) == [
        TrajectoryRow(0, True, 3.0, 4.5, 1.0),
        TrajectoryRow(1, False, 0.0, 0.0, 0.0),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a.csv:1: no column 'Frame'; found nothing, expected Frame,Visibility,X,Y,Confidence"),
        (
            "Frame,Visibilty,X,Y\n",
            r"a.csv:1: no column 'Visibility'; did you mean 'Visibilty'\?; found Frame,",
        ),
        ("Frame,Visibility,X,Y\n0,1,2,3\n2,1,2,3\n", r"a.csv:3: frame 2 where 1 was expected"),
        ("Frame,Visibility,X,Y\n0,1,2,3\n0,1,2,3\n", r"a.csv:3: frame 0 where 1 was expected"),
        ("Frame,Visibility,X,Y\n0,1,two,3\n", r"a.csv:2: X is 'two', expected a number"),
        ("Frame,Visibility,X,Y\n0,1,2,nan\n", r"a.csv:2: Y is 'nan', expected a number"),
        ("Frame,Visibility,X,Y\n0,1\n", r"a.csv:2: X is '', expected a number"),
        ("Frame,Visibility,X,Y\n0,2,1,1\n", r"a.csv:2: Visibility is 2, expected 0 or 1"),
        ("Frame,Visibility,X,Y,Confidence\n0,1,1,1,\n", r"a.csv:2: Confidence is '', expected a number"),
    ],
)
def test_errors_name_line_and_column(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(TrackNetError, match=message):
        read_trajectory(path)


def test_rows_are_given_before_the_file_is_read_to_its_end(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Frame,Visibility,X,Y\n0,1,2,3\n1,1,2,3\n3,1,2,3\n")
    rows = trajectory_rows(path)
    assert [next(rows).frame, next(rows).frame] == [0, 1]
    with pytest.raises(TrackNetError, match="frame 3 where 2 was expected"):
        next(rows)


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "rally1_ball.csv").touch()
    with pytest.raises(TrackNetError, match=r"no such trajectory; did you mean 'rally1_ball.csv'\?"):
        read_trajectory(tmp_path / "raly1_ball.csv")


def test_a_video_is_no_trajectory(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"\x00\x00\x00\xff\xfe" * 99)
    with pytest.raises(TrackNetError, match="not a CSV file"):
        read_trajectory(tmp_path / "a.mp4")


def test_a_folder_is_no_trajectory(tmp_path):
    with pytest.raises(TrackNetError, match="cannot be read: Is a directory"):
        read_trajectory(tmp_path)
