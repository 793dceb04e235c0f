"""The online tracker goes on with the flight, whatever is brighter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracknet.tracking.online import OnlineTracker


def chosen(tracker, *frames, height=720, first=0):
    return [
        tracker.choose(first + k, np.array(points, float).reshape(-1, 2), height)
        for k, points in enumerate(frames)
    ]


def test_the_predicted_candidate_wins_over_the_first():
    # x = 10 t, y = t^2: frame 3 is at (30, 9) exactly; the decoder's own choice is near as well.
    flight = [[(0, 0)], [(10, 1)], [(20, 4)]]
    assert chosen(OnlineTracker(), *flight, [(31, 11), (30, 9), (29, 7)]) == [0, 0, 0, 1]


def test_the_prediction_is_of_constant_acceleration_not_of_constant_speed():
    # Steps of 8 and 16: constant speed would lead to 40, constant acceleration leads to 48.
    assert chosen(OnlineTracker(), [(0, 0)], [(8, 0)], [(24, 0)], [(40, 0), (45, 0)]) == [0, 0, 0, 1]


def test_before_three_positions_the_decoders_choice_counts():
    assert chosen(OnlineTracker(), [(0, 0), (1, 1)], [(50, 0), (0, 0)], [(90, 0), (100, 0)]) == [0, 0, 0]


def test_after_a_frame_without_a_ball_anything_goes_and_the_prediction_is_off():
    flight = [[(0, 0)], [(10, 0)], [(20, 0)], []]
    assert chosen(OnlineTracker(), *flight, [(900, 600), (40, 0)]) == [0, 0, 0, None, 0]


def test_jumps():
    # "Within": at 300 px exactly it is too far, as in WASB.
    assert chosen(OnlineTracker(), [(0, 0)], [(300, 0), (299.9, 0)]) == [0, 1]
    assert chosen(OnlineTracker(), [(0, 0)], [(180, 240)], [(0, 0)]) == [0, None, 0]
    assert chosen(OnlineTracker(max_jump=20), [(0, 0)], [(19, 0)], [(45, 0)]) == [0, 0, None]


@pytest.mark.parametrize(("height", "reach"), [(1080, 450), (360, 150)])
def test_jumps_grow_with_the_video(height, reach):
    tracker = OnlineTracker()
    assert chosen(tracker, [(0, 0)], [(0, reach), (0, reach - 0.1)], height=height) == [0, 1]


def test_frames_left_out_end_the_flight():
    tracker = OnlineTracker()
    assert chosen(tracker, [(0, 0)], [(10, 0)], [(20, 0)]) == [0, 0, 0]
    assert chosen(tracker, [(700, 500), (40, 0)], first=4) == [0]
    assert chosen(tracker, [(0, 0)]) == [0]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 1280), st.integers(0, 720)), max_size=4), min_size=1, max_size=12
    )
)
def test_a_choice_is_a_candidate_within_reach_of_the_one_before(frames):
    last = None
    for points, index in zip(frames, chosen(OnlineTracker(), *frames), strict=True):
        near = [p for p in points if last is None or np.hypot(p[0] - last[0], p[1] - last[1]) < 300]
        assert (index is None) == (not near)
        last = None if index is None else points[index]
        assert last is None or last in near
