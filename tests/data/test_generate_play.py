"""Generated points: strokes, flights over the net, and players who reach the ball."""

from __future__ import annotations

import numpy as np
import pytest

from tracknet.data.generate.people import Joint, animate
from tracknet.data.generate.play import play_point, runs
from tracknet.data.generate.sports import GAMES, game_of

TIMES = np.arange(0, 6, 1 / 60)
SEEDS = range(5)


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_point_lasts_as_long_as_it_is_watched(game, seed):
    point = play_point(game, 6.0, np.random.default_rng(seed))
    assert -0.5 <= point.times[0] <= -0.15
    assert point.times[-1] >= 6.0
    assert (np.diff(point.times) > 0).all()
    assert len(point.times) == len(point.path)
    speed = np.linalg.norm(np.diff(point.path, axis=0), axis=1) / np.diff(point.times)
    assert speed.max() < 120
    assert point.path[:, 2].min() >= 0


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_ball_crosses_the_net_above_it_and_comes_down_within_the_court(game, seed):
    point = play_point(game, 6.0, np.random.default_rng(seed))
    team = len(game.homes)
    for before, after in zip(point.strokes, point.strokes[1:], strict=False):
        part = (point.times >= before.time - 1e-6) & (point.times <= after.time + 1e-6)
        path = point.path[part]
        crossings = np.flatnonzero(np.diff(np.sign(path[:, 1])))
        assert len(crossings) == int(before.shot.over)
        assert (path[crossings, 2] > game.net[1]).all()
        assert (before.player < team) == ((after.player < team) != before.shot.over)
        assert after.shot.name in dict(before.shot.answers)
        if team > 1:
            assert before.player != after.player
        if game.bounce:
            rising = np.diff(path[:, 2])
            touch = np.flatnonzero((rising[:-1] < 0) & (rising[1:] > 0)) + 1
            low = touch[np.abs(path[touch, 2] - game.surface.height) < 0.1]
            assert len(low) == 1, f"{before.shot.name} bounced {len(low)} times"
            assert abs(path[low[0], 0]) < game.half_width
            assert abs(path[low[0], 1]) < game.half_length
        else:
            assert abs(after.contact[0]) <= game.half_width + 0.01
            assert abs(after.contact[1]) <= game.half_length


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
def test_players_run_to_the_ball_and_stay_on_their_side(game):
    rng = np.random.default_rng(7)
    point = play_point(game, 6.0, rng)
    placed = runs(game, point, TIMES, rng)
    team = len(game.homes)
    assert placed.shape == (len(TIMES), 2 * team, 2)
    assert (placed[:, :team, 1] < 0).all()
    assert (placed[:, team:, 1] > 0).all()
    assert np.linalg.norm(np.diff(placed, axis=0), axis=-1).max() * 60 < 12
    for stroke in point.strokes:
        if 0 <= stroke.time < 6:
            spot = placed[np.abs(TIMES - stroke.time).argmin(), stroke.player]
            assert np.hypot(*(spot - stroke.contact[:2])) < 1.3


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
def test_bodies_keep_their_proportions_and_rackets_meet_the_ball(game):
    rng = np.random.default_rng(3)
    point = play_point(game, 6.0, rng)
    placed = runs(game, point, TIMES, rng)
    joints = animate(game, point, TIMES, placed, rng)
    assert joints.shape == (len(TIMES), 2 * len(game.homes), len(Joint), 3)
    assert np.isfinite(joints).all()
    head = joints[..., Joint.HEAD, 2]
    assert head.min() > 0.9
    assert head.max() < 3.0
    for joint, end, longest in (
        (Joint.HIP_L, Joint.ANKLE_L, 1.0),
        (Joint.HIP_R, Joint.ANKLE_R, 1.0),
        (Joint.SHOULDER_R, Joint.HAND_R, 0.7),
        (Joint.SHOULDER_L, Joint.HAND_L, 0.7),
    ):
        assert np.linalg.norm(joints[..., joint, :] - joints[..., end, :], axis=-1).max() < longest
    for stroke in point.strokes:
        if 0 <= stroke.time < 5.9:
            body = joints[np.abs(TIMES - stroke.time).argmin(), stroke.player]
            middle = (body[Joint.RACKET_NECK] + body[Joint.RACKET_TIP]) / 2
            assert np.linalg.norm(middle - stroke.contact) < 0.8, stroke


def test_games_are_found_by_name():
    assert [game_of(game.name) for game in GAMES] == list(GAMES)
