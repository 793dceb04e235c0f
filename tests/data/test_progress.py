"""Progress is a bar on a terminal and a few plain lines in a log."""

from __future__ import annotations

import re

import pytest

from tracknet.data import progress as progress_module
from tracknet.data.progress import track_progress


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return clock


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end(clock, capsys):
    with track_progress(1000, "frames", "tracking") as progress:
        for _ in range(25):
            clock.now += 1
            progress.advance(20)
    assert capsys.readouterr().err.splitlines() == [
        "tracking: 200 of 1,000 frames, 20 frames/s, 0:40 left",
        "tracking: 400 of 1,000 frames, 20 frames/s, 0:30 left",
        "tracking: 500 frames in 0:25 (20 frames/s)",
    ]


def test_one_frame_is_told_in_the_singular(clock, capsys):
    with track_progress(1, "frames", "tracking") as progress:
        clock.now += 1
        progress.advance()
    assert capsys.readouterr().err == "tracking: 1 frame in 0:01 (1 frames/s)\n"


def test_a_log_without_a_total(clock, capsys):
    with track_progress(None, "windows", "generating") as progress:
        clock.now += 4000
        progress.advance()
        progress.note("one was hard")
        progress.advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "generating: 1 window",
        "generating: one was hard",
        "generating: 2 windows in 1:06:40 (0 windows/s)",
    ]


def test_the_time_left_is_told_by_the_work_and_not_by_getting_ready(clock, capsys):
    with track_progress(1001, "frames", "tracking 2 videos") as progress:
        clock.now += 15  # a checkpoint is loaded
        progress.advance()
        for _ in range(20):
            clock.now += 1
            progress.advance(50)
    assert capsys.readouterr().err.splitlines() == [
        "tracking 2 videos: 1 of 1,001 frames",
        "tracking 2 videos: 501 of 1,001 frames, 50 frames/s, 0:10 left",
        "tracking 2 videos: 1,001 of 1,001 frames, 50 frames/s, 0:00 left",
        "tracking 2 videos: 1,001 frames in 0:35 (29 frames/s)",
    ]


def test_a_failed_job_claims_no_end(clock, capsys):
    def fail():
        with track_progress(10, "frames", "tracking") as progress:
            progress.advance()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert capsys.readouterr().err == ""


def test_silence(clock, capsys):
    with track_progress(10, "frames", "tracking", shown=False) as progress:
        clock.now += 100
        progress.advance()
        progress.note("not shown")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("total", [40, None])
def test_a_terminal_gets_a_bar(monkeypatch, capsys, total):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with track_progress(total, "frames", "tracking") as progress:
        for _ in range(40):
            progress.advance()
        progress.note("a line [beside] it")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "tracking" in shown
    assert ("40/40" in shown) == (total == 40)
    assert re.search(r"\d+ frames/s", shown)
    assert "a line [beside] it" in shown
