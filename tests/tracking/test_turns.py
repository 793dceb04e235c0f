"""Hits and bounces: found when and where they happen, told apart, and measured."""

from __future__ import annotations

import numpy as np
import pytest

from tracknet.data.generate.play import play_point
from tracknet.data.generate.sports import game_of
from tracknet.data.generate.venue import draw_venue
from tracknet.tracking.court import CourtView, corners
from tracknet.tracking.trajectory import TrajectoryRow
from tracknet.tracking.turns import find_turns, legs

SIZE = (720, 1280)
FPS = 30.0
TENNIS = corners(10.97, 23.77)


@pytest.fixture(scope="module")
def camera():
    return draw_venue(game_of("tennis"), SIZE, np.random.SeedSequence(4)).camera


@pytest.fixture(scope="module")
def view(camera):
    pixels, _ = camera.project(np.array([(*corner, 0.0) for corner in TENNIS]))
    return CourtView(TENNIS, pixels, SIZE)


def rows_of(pixels, hidden=()):
    return [
        TrajectoryRow(frame, frame not in hidden, float(x), float(y), 1.0)
        for frame, (x, y) in enumerate(pixels)
    ]


def stroke(camera, bounce, hit=31.0):
    """A ball that is hit near, bounces in `bounce` (frames) far away, and is hit back in `hit`."""
    frame = np.arange(55.0)
    knots = [-20.0, 0.0, bounce, hit, 60.0]
    y = np.interp(frame, knots, [-1.0, -12.0, 8.0, 13.0, -11.0])
    x = np.interp(frame, knots, [0.0, 2.0, -1.0, -2.0, 3.0])
    # Between two moments at heights a and b it falls freely.
    heights = np.zeros_like(frame)
    for start, end, a, b in zip(knots, knots[1:], (1.0, 1.0, 0.0, 1.1), (1.0, 0.0, 1.1, 1.0), strict=False):
        within = (frame >= start) & (frame <= end)
        share = (frame[within] - start) / (end - start)
        flight = (end - start) / FPS
        heights[within] = a + (b - a) * share + 9.81 / 2 * flight**2 * share * (1 - share)
    return camera.project(np.stack([x, y, heights], axis=1))[0]


def test_a_bounce_and_a_hit_with_where_and_how_fast(camera, view):
    turns = find_turns(rows_of(stroke(camera, 22.4)), FPS, view, noise=0.3)
    assert [turn.kind for turn in turns] == ["bounce", "hit"]
    assert [turn.frame for turn in turns] == pytest.approx([22.4, 31.0], abs=0.15)
    assert turns[0].before[1] > turns[0].after[1]
    [leg] = legs(turns, FPS, view, contact=1.1)
    assert leg.target == pytest.approx((-2.0, 13.0), abs=0.3)
    assert leg.origin == pytest.approx((-1.0, 8.0), abs=0.2)
    assert leg.seconds == pytest.approx(8.6 / FPS, abs=0.01)
    assert leg.speed == pytest.approx(np.hypot(1.0, 5.0) / (8.6 / FPS), rel=0.06)
    assert [
        turn.kind for turn in find_turns(rows_of(stroke(camera, 22.4)), FPS, view, noise=0.3, bounces=False)
    ] == ["hit"] * 2


def test_a_straight_flight_and_a_ball_out_of_sight_have_no_turns(camera, view):
    pixels = stroke(camera, 22.4)
    assert find_turns(rows_of(pixels[:20]), FPS, view, noise=0.3) == []
    assert find_turns(rows_of(pixels, hidden=range(20, 55)), FPS, view, noise=0.3) == []
    assert find_turns([], FPS, view, noise=0.3) == []
    assert legs([], FPS, view) == []


def test_generated_points_against_what_was_played(camera, view):
    """Positions as a good tracker gives them; the figures of the docstring come from twelve such points."""
    game, found, off, wrong = game_of("tennis"), 0, [], 0
    bounces = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        point = play_point(game, 8.0, rng)
        pixels, _ = camera.project(point.ball(np.arange(240) / FPS))
        turns = find_turns(rows_of(pixels + rng.normal(0, 0.5, pixels.shape)), FPS, view, noise=0.5)
        height = point.path[:, 2]
        low = np.flatnonzero((height[1:-1] < 0.06) & (np.diff(height)[:-1] <= 0) & (np.diff(height)[1:] > 0))
        for place in low + 1:
            frame = point.times[place] * FPS
            if 6 < frame < 233:
                bounces += 1
                [turn] = [turn for turn in turns if abs(turn.frame - frame) < 2] or [None]
                found += turn is not None
                if turn is not None:
                    wrong += turn.kind != "bounce"
                    off.append(np.linalg.norm(view.to_court(turn.xy) - point.path[place, :2]))
    assert bounces >= 15
    assert found >= bounces - 1
    assert wrong == 0
    assert np.median(off) < 0.15
