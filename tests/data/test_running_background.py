"""The background of what has been seen so far."""

from __future__ import annotations

import numpy as np

from tracknet.data.running_background import RunningBackground


def run(background, values):
    """Give the background after each frame, None where it has not changed."""
    found = []
    for value in values:
        median = background.add(np.full((1, 1, 3), value, np.uint8))
        found.append(None if median is None else int(median[0, 0, 0]))
    return found


def test_the_first_frames_by_hand():
    # The medians of 10; 10 20; 10 20 90; 10 20 90 40.
    assert run(RunningBackground(30), [10, 20, 90, 40]) == [10, 15, 20, 30]


def test_fewer_frames_are_kept_until_they_span_the_time():
    # Four samples over 8 s at 1 frame/s: kept are 0 1 2 3; then 0 2 4, 6; then 0 4 8, from here by 2 no more.
    background = RunningBackground(fps=1, seconds=8, samples=4)
    run(background, range(5))
    assert [int(frame[0, 0, 0]) for frame in background._kept] == [0, 2, 4]
    run(background, range(5, 9))
    assert [int(frame[0, 0, 0]) for frame in background._kept] == [2, 4, 6, 8]
    run(background, range(9, 15))
    assert [int(frame[0, 0, 0]) for frame in background._kept] == [8, 10, 12, 14]


def test_it_follows_the_light_and_holds_a_bounded_number_of_frames():
    background = RunningBackground(fps=10, seconds=16, samples=8)
    run(background, [50] * 400)
    last = [value for value in run(background, [90] * 200) if value is not None][-1]
    assert last == 90
    assert len(background._kept) == 8


def test_it_is_made_anew_when_a_quarter_is_new():
    changes = run(RunningBackground(fps=1, seconds=32, samples=32), [7] * 40)
    made = [n for n, value in enumerate(changes) if value is not None]
    # Of 5 frames one new one is less than a quarter, of 32 eight are a quarter.
    assert made == [0, 1, 2, 3, 5, 7, 10, 14, 19, 26, 34]
