"""Rows as the frames come; late ones dropped; live files that are whole however the stream ends."""

from __future__ import annotations

import errno
import io
import os
from contextlib import nullcontext

import numpy as np
import pytest

from tracknet.data.running_background import RunningBackground
from tracknet.errors import TrackNetError, UsageError
from tracknet.tracking import trajectory
from tracknet.tracking.live import check_reach, follow
from tracknet.tracking.trajectory import (
    TrajectoryRow,
    read_trajectory,
    write_live_trajectory,
    write_rows,
    write_trajectory,
)

HEADER = "Frame,Visibility,X,Y,Confidence\n"


class Windows:
    """Keeps the windows; what it sees in a frame is its value."""

    def __init__(self):
        self.windows, self.backgrounds, self.loaded, self.newest = [], [], [], []

    def load(self, frames):
        self.loaded += [int(frame[0, 0, 0]) for frame in frames]
        return [int(frame[0, 0, 0]) for frame in frames]

    def look(self, windows, background, newest):
        self.newest.append(newest)
        self.windows += windows
        self.backgrounds.append(background)
        return np.array(windows)

    def rows(self, numbers, sights):
        return [TrajectoryRow(n, True, float(x), 0.0, 1.0) for n, x in zip(numbers, sights, strict=True)]


def picture(value):
    return np.full((1, 1, 3), value, np.uint8)


def one_by_one(count, asked, reason=None):
    """Arrivals of one frame each, noted when they are asked for; then the reason why there are no more."""
    for number in range(count):
        asked.append(number)
        yield [(number, picture(number))]
    if reason is not None:
        raise reason


def test_a_row_comes_before_the_next_frame_is_asked_for():
    asked, finder = [], Windows()
    seen = [(row.frame, row.x, asked[-1]) for row in follow(one_by_one(4, asked), finder, 3)]
    assert seen == [(n, n, n) for n in range(4)]
    assert finder.windows == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]
    assert finder.loaded == [0, 1, 2, 3]


def test_of_several_that_came_the_newest_has_a_row_and_the_others_fill_its_window():
    came = [[0], [1, 2], [6, 7, 8], [9]]
    arrivals = [[(number, picture(number)) for number in numbers] for numbers in came]
    finder = Windows()
    assert [(row.frame, row.x) for row in follow(arrivals, finder, 3)] == [(0, 0), (2, 2), (8, 8), (9, 9)]
    assert finder.windows == [[0, 0, 0], [0, 1, 2], [6, 7, 8], [7, 8, 9]]


def test_with_a_step_so_many_rows_come_together():
    asked, finder = [], Windows()
    seen = [(row.frame, row.x, asked[-1]) for row in follow(one_by_one(5, asked), finder, 3, step=2)]
    assert seen == [(0, 0, 1), (1, 1, 1), (2, 2, 3), (3, 3, 3), (4, 4, 4)]
    assert finder.windows == [[0, 0, 1], [1, 2, 3], [2, 3, 4]]
    assert finder.newest == [2, 2, 1]


def test_with_a_lookahead_each_row_waits_for_so_many_frames_and_the_last_for_the_end():
    asked, finder = [], Windows()
    following = follow(one_by_one(7, asked), finder, 4, step=2, lookahead=1)
    seen = [(row.frame, row.x, asked[-1]) for row in following]
    assert seen == [(0, 0, 2), (1, 1, 2), (2, 2, 4), (3, 3, 4), (4, 4, 6), (5, 5, 6), (6, 6, 6)]
    assert finder.windows == [[0, 0, 1, 2], [1, 2, 3, 4], [3, 4, 5, 6], [3, 4, 5, 6]]
    assert finder.newest == [3, 3, 3, 1]


@pytest.mark.parametrize(
    ("came", "lookahead", "frames"),
    [
        ([[0], [1], [2, 3], [4, 5]], 2, [1, 3, 4, 5]),
        # With every arrival all that waited have left the window.
        ([[0, 1, 2, 3], [7, 8, 9, 10], [14, 15, 16, 17]], 1, [2, 9, 16, 17]),
    ],
)
def test_with_a_lookahead_the_frame_that_has_so_many_behind_it_in_the_window_has_a_row(
    came, lookahead, frames
):
    arrivals = [[(number, picture(number)) for number in numbers] for numbers in came]
    finder = Windows()
    rows = list(follow(arrivals, finder, 4, lookahead=lookahead))
    assert [row.frame for row in rows] == [row.x for row in rows] == frames
    assert 0 not in finder.newest


def test_a_stream_shorter_than_step_and_lookahead_is_judged_at_its_end():
    finder = Windows()
    rows = [(row.frame, row.x) for row in follow(one_by_one(2, []), finder, 8, step=4, lookahead=4)]
    assert rows == [(0, 0), (1, 1)]
    assert finder.windows == [[0] * 7 + [1]]


@pytest.mark.parametrize(
    ("step", "lookahead", "message"),
    [
        (9, 0, "step is 9, but a window speaks of 8 frames: expected 1 to 8"),
        (4, 5, "lookahead is 5, but of the 8 frames .* 4 are judged at a time: expected 0 to 4"),
        (8, 1, "lookahead is 1, but of the 8 frames .* 8 are judged at a time: expected 0$"),
        (1, 8, "lookahead is 8, but of the 8 frames .* 1 is judged at a time: expected 0 to 7$"),
    ],
)
def test_a_window_reaches_back_over_step_and_lookahead(step, lookahead, message):
    check_reach(4, 4, 8)
    with pytest.raises(UsageError, match=message):
        check_reach(step, lookahead, 8)
    with pytest.raises(UsageError, match=r"of the 1 frame .* 1 is judged at a time: expected 0$"):
        check_reach(1, 1, outputs=1)


def test_what_has_left_the_window_before_the_next_look_has_no_row():
    came = [[0], [1], [2, 3, 4, 5], [6], [7, 8], [9]]
    arrivals = [[(number, picture(number)) for number in numbers] for numbers in came]
    rows = [(row.frame, row.x) for row in follow(arrivals, Windows(), 4, step=3)]
    assert rows == [(5, 5), (6, 6), (8, 8), (9, 9)]


@pytest.mark.parametrize("waits", [{"step": 4}, {"lookahead": 3}, {"step": 2, "lookahead": 2}])
@pytest.mark.parametrize("reason", [KeyboardInterrupt, TrackNetError("cam: broke off")])
def test_what_waits_for_the_next_look_is_judged_before_the_end(reason, waits):
    following = follow(one_by_one(3, [], reason), Windows(), 4, **waits)
    assert [next(following).frame for _ in range(3)] == [0, 1, 2]
    with pytest.raises((KeyboardInterrupt, TrackNetError)):
        next(following)


def test_the_background_is_brought_over_when_it_has_changed():
    finder = Windows()
    arrivals = [[(number, picture(value))] for number, value in enumerate([10, 40, 20, 30, 200])]
    list(follow(arrivals, finder, 1, RunningBackground(30)))
    assert finder.backgrounds == [10, 25, 20, 25, 25]


ROWS = [TrajectoryRow(0, True, 1.0, 2.0, 0.5), TrajectoryRow(3, False, 0.0, 0.0, 0.25)]
LINES = "0,1,1.00,2.00,0.5000\n3,0,0.00,0.00,0.2500\n"


def ending(reason=None):
    yield from ROWS
    if reason is not None:
        raise reason


@pytest.mark.parametrize("reason", [None, KeyboardInterrupt()])
def test_a_live_trajectory_is_whole_however_it_ends(tmp_path, reason):
    summary = write_live_trajectory(tmp_path / "a.csv", ending(reason))
    assert (summary.frames, summary.visible, summary.best) == (2, 1, 0.5)
    assert (tmp_path / "a.csv").read_text() == HEADER + LINES
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_stream_that_breaks_off_leaves_its_rows(tmp_path):
    with pytest.raises(TrackNetError, match=r"cam: broke off; the 2 frames before are in .*a.csv"):
        write_live_trajectory(tmp_path / "a.csv", ending(TrackNetError("cam: broke off")))
    assert (tmp_path / "a.csv").read_text() == HEADER + LINES


@pytest.mark.parametrize("reason", [KeyboardInterrupt, TrackNetError("cam: broke off")])
def test_nothing_is_left_when_there_was_no_row(tmp_path, reason):
    def rows():
        raise reason
        yield

    with pytest.raises((KeyboardInterrupt, TrackNetError)):
        write_live_trajectory(tmp_path / "a.csv", rows())
    assert list(tmp_path.iterdir()) == []


def test_rows_can_be_read_while_they_come(tmp_path):
    def rows():
        for number in range(3):
            yield TrajectoryRow(number, True, 1.0, 1.0, 0.5)
            assert len(read_trajectory(tmp_path / "a.live.csv")) == number + 1

    write_live_trajectory(tmp_path / "a.csv", rows())
    assert len(read_trajectory(tmp_path / "a.csv")) == 3


def test_rows_of_a_stream_that_was_cut_off_are_kept(tmp_path, capsys):
    for number in (1, 2):
        (tmp_path / "a.live.csv").write_text(f"{number}\n")
        (tmp_path / "a.csv").unlink(missing_ok=True)
        write_live_trajectory(tmp_path / "a.csv", ROWS)
        assert (tmp_path / "a.csv").read_text() == HEADER + LINES
    kept = sorted(tmp_path.glob("a.live.*.csv"))
    assert [path.read_text() for path in kept] == ["1\n", "2\n"]
    assert f"note: rows of a stream that was cut off are kept: {kept[1]}" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("reason", [None, TrackNetError("cam: broke off")])
def test_the_trajectory_of_an_earlier_stream_is_kept(tmp_path, capsys, reason):
    (tmp_path / "a.csv").write_text("earlier\n")
    with nullcontext() if reason is None else pytest.raises(TrackNetError):
        write_live_trajectory(tmp_path / "a.csv", ending(reason))
    (kept,) = tmp_path.glob("a.*.csv")
    assert kept.read_text() == "earlier\n"
    assert (tmp_path / "a.csv").read_text() == HEADER + LINES
    assert f"note: the trajectory of an earlier stream is kept: {kept}" in capsys.readouterr().err


def test_each_earlier_trajectory_is_kept_whatever_its_time(tmp_path):
    for number in range(3):
        write_live_trajectory(tmp_path / "a.csv", ROWS[:1] * (number + 1))
        os.utime(tmp_path / "a.csv", (10**9, 10**9))
    assert sorted(path.read_text().count("\n") for path in tmp_path.glob("a*.csv")) == [2, 3, 4]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "court.csv").write_text("earlier\n")
    (tmp_path / "a.csv").symlink_to(tmp_path / "disk" / "court.csv")
    write_live_trajectory(tmp_path / "a.csv", ROWS)
    assert (tmp_path / "a.csv").is_symlink()
    assert (tmp_path / "disk" / "court.csv").read_text() == HEADER + LINES
    assert len(list((tmp_path / "disk").iterdir())) == 2


def test_a_file_that_is_tracked_meanwhile_leaves_the_rows_of_the_stream(tmp_path):
    def rows():
        yield ROWS[0]
        write_trajectory(tmp_path / "a.csv", ROWS[:1])
        with pytest.raises(KeyboardInterrupt):
            write_trajectory(tmp_path / "a.csv", ending(KeyboardInterrupt()))
        yield from ROWS[1:]

    write_live_trajectory(tmp_path / "a.csv", rows())
    assert (tmp_path / "a.csv").read_text() == HEADER + LINES


def test_a_disk_that_fills_up_leaves_the_rows_before(tmp_path, monkeypatch):
    """The rows of a stream cannot be had again."""

    def rows():
        yield ROWS[0]
        monkeypatch.setattr(trajectory, "_line", full)
        yield ROWS[1]

    def full(row, filled):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(TrackNetError, match=r"No space left.*; the 1 frame before is in .*a\.live\.csv"):
        write_live_trajectory(tmp_path / "a.csv", rows())
    assert len(read_trajectory(tmp_path / "a.live.csv")) == 1
    monkeypatch.setattr(trajectory, "_heading", lambda filled: full(None, filled))
    with pytest.raises(TrackNetError, match=r"cannot be written: No space left"):
        write_live_trajectory(tmp_path / "b.csv", ROWS)
    assert not (tmp_path / "b.live.csv").exists()


def test_two_commands_do_not_write_one_file(tmp_path):
    def rows():
        yield ROWS[0]
        with pytest.raises(TrackNetError, match=r"a\.live\.csv: another command is writing it"):
            write_live_trajectory(tmp_path / "a.csv", ROWS)
        yield from ROWS[1:]

    write_live_trajectory(tmp_path / "a.csv", rows())
    assert (tmp_path / "a.csv").read_text() == HEADER + LINES
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_the_background_looks_back_on_time_and_not_on_frames_taken():
    def looks(step):
        """Follow the same film, of which only every so many frames are taken; light changes at 3000."""
        background = RunningBackground(fps=10, seconds=100, samples=8)
        for number in range(0, 6000, step):
            median = background.add(picture(50 if number < 3000 else 90), number)
            if median is not None and number >= 3000 and median[0, 0, 0] == 90:
                return number
        return None

    whole, some = looks(1), looks(20)
    assert 3000 < whole < 4000
    assert abs(some - whole) <= 250


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(TrackNetError, match=r"a.csv: cannot be written: No such file"):
        write_live_trajectory(tmp_path / "gone" / "a.csv", ROWS)


def test_rows_to_an_open_file():
    file = io.StringIO()
    assert write_rows(file, ROWS).frames == 2
    assert file.getvalue() == HEADER + LINES
    assert write_rows(io.StringIO(), ending(KeyboardInterrupt()), endless=True).frames == 2
    with pytest.raises(KeyboardInterrupt):
        write_rows(io.StringIO(), ending(KeyboardInterrupt()))
    file = io.StringIO()
    write_rows(file, [ROWS[0]._replace(filled=True)], filled=True)
    assert file.getvalue() == "Frame,Visibility,X,Y,Confidence,Filled\n0,1,1.00,2.00,0.5000,1\n"
