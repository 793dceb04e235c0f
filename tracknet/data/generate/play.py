"""A point of a match: who hits the ball when, how it flies, and where the players run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracknet.data.generate.flight import STEP, Path, Vector, aim, fly
from tracknet.data.generate.sports import Game, Range, Shot

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Stroke:
    """The moment in which a player meets the ball.

    Attributes:
        time: Seconds since the point was first seen.
        player: Index of the player; the near team comes first.
        contact: Where the ball is met, metres.
        shot: What is played.
    """

    time: float
    player: int
    contact: Vector
    shot: Shot


@dataclass(frozen=True)
class Point:
    """A rally from the first stroke, shortly before it is seen, to the end of its time.

    Attributes:
        times: Seconds, ascending, ``[n]``.
        path: Position of the ball, metres, ``[n, 3]``.
        strokes: Every stroke, in order.
    """

    times: Array
    path: Path
    strokes: tuple[Stroke, ...]

    def ball(self, times: Array) -> Array:
        """Position of the ball at any times: ``[...] -> [..., 3]``."""
        return np.stack([np.interp(times, self.times, self.path[:, axis]) for axis in range(3)], axis=-1)


def play_point(game: Game, seconds: float, rng: np.random.Generator) -> Point:
    """Play a rally that lasts as long as it is watched.

    Args:
        game: What is played.
        seconds: How long it is watched.
        rng: Where all chances come from.

    Returns:
        The point. The serve lies a little before time 0, so that the ball is under way when it is first seen.
    """
    side = -1 if rng.random() < 0.5 else 1
    width, depth, height = game.serve_from
    place: Vector = (float(rng.uniform(-width, width)), side * depth, height * float(rng.uniform(0.95, 1.05)))
    player = _nearest(game, side, place, None)
    shot = game.shots[0]
    time = -float(rng.uniform(0.15, 0.5))
    times, paths, strokes = [np.array([time])], [np.array([place])], []
    while time < seconds + 0.5:
        strokes.append(Stroke(time, player, place, shot))
        path = _send(game, shot, place, side, rng)
        paths.append(path[1:])
        times.append(time + STEP * np.arange(1, len(path)))
        time += STEP * (len(path) - 1)
        place = (float(path[-1, 0]), float(path[-1, 1]), float(path[-1, 2]))
        if shot.over:
            side = -side
        player = _nearest(game, side, place, player)
        shot = game.shot(_draw(shot.answers, rng))
    strokes.append(Stroke(time, player, place, shot))
    return Point(np.concatenate(times), np.concatenate(paths), tuple(strokes))


def runs(game: Game, point: Point, times: Array, rng: np.random.Generator) -> Array:
    """Where the players stand at given times.

    Args:
        game: What is played.
        point: Its strokes.
        times: Seconds, ascending, ``[n]``.
        rng: Where small differences come from.

    Returns:
        Positions on the floor ``(x, y)``, metres, ``[n, players, 2]``; the near team comes first.
    """
    team = len(game.homes)
    placed = np.empty((len(times), 2 * team, 2))
    for player in range(2 * team):
        side = -1 if player < team else 1
        home = np.array(game.homes[player % team]) * (1, side) + rng.normal(0, 0.15, 2)
        keys, spots = [point.times[0] - 1.0], [home]
        for before, stroke in zip((None, *point.strokes), point.strokes, strict=False):
            if stroke.player == player:
                spot = _stance(game, stroke, side, rng)
            elif before is not None and before.player == player:
                spot = spots[-1] + rng.uniform(0.45, 0.75) * (home - spots[-1])
            else:
                towards = np.clip(np.array(stroke.contact[:2]) - home, -4, 4)
                spot = home + 0.12 * towards + rng.normal(0, 0.1, 2)
            if stroke.time > keys[-1]:
                keys.append(stroke.time)
                spots.append(spot)
        placed[:, player] = _glide(times, np.array(keys), np.array(spots))
    return placed


def _send(game: Game, shot: Shot, place: Vector, side: int, rng: np.random.Generator) -> Path:
    """The ball's path from one stroke to the next."""
    goal_side = -side if shot.over else side
    target: Vector = (
        _apart(place[0], shot, game, rng),
        goal_side * float(rng.uniform(*shot.depth)),
        game.surface.height if game.bounce else float(rng.uniform(*shot.height)),
    )
    seconds = float(rng.uniform(*shot.seconds))
    velocity: Vector = (0.0, 0.0, 0.0)
    spin: Vector = (0.0, 0.0, 0.0)
    topspin, sidespin = float(rng.uniform(*shot.spin)), float(rng.normal(0, 0.3) * abs(shot.spin[1]))
    for _ in range(8):
        along = np.array([target[0] - place[0], target[1] - place[1]])
        along /= np.linalg.norm(along) + 1e-9
        spin = (-topspin * float(along[1]), topspin * float(along[0]), sidespin)
        velocity, missed = aim(place, target, seconds, game.air, spin)
        path, _ = fly(place, velocity, seconds, game.air, spin)
        # Too flat for the net, or too fast for the air to let it arrive: play it higher and slower.
        if missed < 0.1 and (not shot.over or _height_over_net(path) > game.net[1] + 0.06):
            break
        seconds *= 1.1
    if game.bounce is None:
        return path
    met = _Meeting(game, goal_side, seconds, rng)
    path, _ = fly(place, velocity, seconds + 2.0, game.air, spin, game.surface, until=met)
    return path


class _Meeting:
    """Tells when a ball that has bounced is met."""

    def __init__(self, game: Game, side: int, seconds: float, rng: np.random.Generator) -> None:
        assert game.bounce is not None
        self._side = side
        self._steps = 0
        self._least = (seconds + float(rng.uniform(*game.bounce.least))) / STEP
        self._beyond = float(rng.uniform(*game.bounce.beyond))
        self._low = float(rng.uniform(*game.bounce.low))

    def __call__(self, position: Vector, velocity: Vector) -> bool:
        self._steps += 1
        falling = velocity[2] < 0 and position[2] < self._low
        return self._steps >= self._least and (falling or position[1] * self._side > self._beyond)


def _height_over_net(path: Path) -> float:
    """Height in which the path crosses the net, or far below it where it does not."""
    crossing = np.flatnonzero(np.diff(np.sign(path[:, 1])))
    return float(path[crossing[0], 2]) if len(crossing) else -1.0


def _apart(x: float, shot: Shot, game: Game, rng: np.random.Generator) -> float:
    """Where across the court a shot goes; a pass to a team-mate goes some way."""
    half = shot.spread * game.half_width
    goal = float(rng.uniform(-half, half))
    if not shot.over and abs(goal - x) < 1.0:
        goal = x + (2.0 if x < 0 else -2.0)
    return goal


def _nearest(game: Game, side: int, place: Vector, last: int | None) -> int:
    """The player of a side who is nearest to a place and did not touch the ball last."""
    team = len(game.homes)
    first = 0 if side < 0 else team
    ranked = sorted(
        range(team),
        key=lambda index: (
            (game.homes[index][0] - place[0]) ** 2 + (game.homes[index][1] - abs(place[1])) ** 2
        ),
    )
    chosen = [index for index in ranked if first + index != last or team == 1]
    return first + chosen[0]


def _stance(game: Game, stroke: Stroke, side: int, rng: np.random.Generator) -> Array:
    """Where a player stands to meet the ball: behind it and beside it."""
    reach = 0.25 if game.racket is None else 0.2 + game.racket.shaft + game.racket.length / 2
    overhead = stroke.contact[2] > 1.7
    aside = (0.15 if overhead else 0.75) * reach
    # Facing the net, a right-hander's forehand is at +x on the near side and at -x on the far side.
    forehand = -side if rng.random() < 0.65 or overhead else side
    spot = np.array([stroke.contact[0] - forehand * aside, stroke.contact[1] + side * 0.3])
    if game.table:
        spot[1] = side * max(abs(spot[1]), game.half_length + 0.4)
    elif game.racket is None:
        spot[1] = side * max(abs(spot[1]), 0.5)
    else:
        spot[1] = side * max(abs(spot[1]), 0.8)
    return spot


def _glide(times: Array, keys: Array, spots: Array) -> Array:
    """Run from spot to spot, starting and stopping gently: ``[n] -> [n, 2]``."""
    index = np.clip(np.searchsorted(keys, times) - 1, 0, len(keys) - 2)
    share = np.clip((times - keys[index]) / (keys[index + 1] - keys[index]), 0, 1)[:, None]
    share = share * share * (3 - 2 * share)
    return spots[index] + share * (spots[index + 1] - spots[index])


def _draw(choices: tuple[tuple[str, float], ...], rng: np.random.Generator) -> str:
    weights = np.array([weight for _, weight in choices])
    return choices[int(rng.choice(len(choices), p=weights / weights.sum()))][0]


def between(rng: np.random.Generator, limits: Range) -> float:
    """A number drawn evenly from a range."""
    return float(rng.uniform(*limits))
