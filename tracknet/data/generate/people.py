"""How players move: a skeleton for each of them, run and swing included."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tracknet.data.generate.play import Point, Stroke
from tracknet.data.generate.sports import Game, Racket

Array = NDArray[np.float64]


class Joint(IntEnum):
    """Points of a skeleton; the last two belong to the racket: where its head begins and ends."""

    HIP_L = 0
    HIP_R = 1
    KNEE_L = 2
    KNEE_R = 3
    ANKLE_L = 4
    ANKLE_R = 5
    TOE_L = 6
    TOE_R = 7
    PELVIS = 8
    CHEST = 9
    SHOULDER_L = 10
    SHOULDER_R = 11
    ELBOW_L = 12
    ELBOW_R = 13
    HAND_L = 14
    HAND_R = 15
    HEAD = 16
    CROWN = 17
    RACKET_NECK = 18
    RACKET_TIP = 19


# A swing: seconds before and after the ball is met, and where the hand is at each.
_SWING = np.array([-0.60, -0.20, 0.0, 0.13, 0.55])


@dataclass(frozen=True)
class _Frame:
    """Directions of a body: right, forward, up; each ``[T, 3]``."""

    right: Array
    forward: Array
    up: Array

    def world(self, local: Array) -> Array:
        """Turn ``(right, forward, up)`` amounts ``[T, 3]`` or ``[3]`` into world vectors ``[T, 3]``."""
        local = np.broadcast_to(local, self.right.shape)
        return local[:, :1] * self.right + local[:, 1:2] * self.forward + local[:, 2:] * self.up


def animate(game: Game, point: Point, times: Array, placed: Array, rng: np.random.Generator) -> Array:
    """Give every player a body that runs along and swings at the ball.

    Args:
        game: What is played.
        point: When each player meets the ball, and where.
        times: Seconds, ascending, ``[T]``.
        placed: Where the players stand, metres, ``[T, P, 2]``.
        rng: Where differences between players come from.

    Returns:
        Joints in world coordinates, metres, ``[T, P, len(Joint), 3]``. Without a racket its two joints lie
        in the hand.
    """
    count = placed.shape[1]
    joints = np.empty((len(times), count, len(Joint), 3))
    for player in range(count):
        side = -1 if player < count // 2 else 1
        own = [stroke for stroke in point.strokes if stroke.player == player]
        joints[:, player] = _body(game, own, times, placed[:, player], side, rng)
    return joints


def _body(
    game: Game, strokes: list[Stroke], times: Array, spot: Array, side: int, rng: np.random.Generator
) -> Array:
    tall = float(rng.uniform(1.68, 1.9)) + (0.12 if game.name == "volleyball" else 0.0)
    velocity = np.gradient(spot, times, axis=0)
    speed = np.linalg.norm(velocity, axis=1)
    effort = np.clip(speed / 3.5, 0, 1)[:, None]
    stride = np.concatenate([[0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(times))])
    phase = 2 * np.pi * stride / 1.7 + rng.uniform(0, 2 * np.pi)
    bob = 2 * np.pi * times * rng.uniform(0.9, 1.5) + rng.uniform(0, 2 * np.pi)
    heading = velocity / np.maximum(speed, 1e-6)[:, None]
    forward = np.zeros((len(times), 3))
    forward[:, :2] = np.array([0.0, -side]) + 0.45 * effort * heading
    forward[:, 0] += 0.2 * np.sin(0.37 * bob)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.stack([forward[:, 1], -forward[:, 0], np.zeros(len(times))], axis=1)
    frame = _Frame(right, forward, np.broadcast_to(np.array([0.0, 0.0, 1.0]), right.shape))

    since, contact, shot_high, shot_jump, both = _nearest_stroke(strokes, times, spot, tall)
    close = np.exp(-((since / 0.22) ** 2))[:, None]
    arm = 0.34 * tall
    racket = game.racket or Racket(0.0, 0.05, 0.0)
    reach = 0.82 * tall + arm + (racket.shaft + 0.5 * racket.length if game.racket else 0.05)
    air = np.clip(1 - (since / 0.3) ** 2, 0, 1)[:, None]
    lift = air * np.maximum(contact[:, 2:] - reach, np.where(shot_jump, 0.25, 0.0)[:, None])
    lift = np.clip(lift, 0, 0.9)
    low = np.clip((1.1 - contact[:, 2:]) / 0.8, 0, 1) * close
    crouch = (
        tall
        * (0.035 + 0.02 * np.sin(bob)[:, None] * (1 - effort) + 0.03 * effort + 0.14 * low)
        * (lift < 0.05)
    )

    def at(base: Array, local: Array) -> Array:
        return base + frame.world(local)

    zero = np.zeros(len(times))
    floor = np.concatenate([spot, lift], axis=1)
    pelvis = floor + np.stack([zero, zero, 0.5 * tall - crouch[:, 0]], axis=1)
    lean = 0.05 + 0.1 * effort[:, 0] + 0.28 * low[:, 0]
    chest = at(pelvis, np.stack([zero, tall * 0.3 * np.sin(lean * 1.4), tall * 0.3 * np.cos(lean)], axis=1))
    out = np.empty((len(times), len(Joint), 3))
    out[:, Joint.PELVIS], out[:, Joint.CHEST] = pelvis, chest
    out[:, Joint.HEAD] = at(chest, np.array([0.0, 0.03, 0.095 * tall]))
    out[:, Joint.CROWN] = at(chest, np.array([0.0, -0.01, 0.125 * tall]))
    along = np.concatenate([heading, np.zeros((len(times), 1))], axis=1)
    for sign, hip, knee, ankle, toe in (
        (-1, Joint.HIP_L, Joint.KNEE_L, Joint.ANKLE_L, Joint.TOE_L),
        (1, Joint.HIP_R, Joint.KNEE_R, Joint.ANKLE_R, Joint.TOE_R),
    ):
        turn = phase + (np.pi if sign > 0 else 0.0)
        stance = 0.17 + 0.05 * np.sin(0.5 * bob) + 0.2 * low[:, 0]
        out[:, hip] = at(pelvis, np.array([0.09 * sign, 0.0, 0.0]))
        foot = at(floor, np.stack([sign * stance, 0.08 * sign + zero, zero], axis=1))
        foot += along * (0.38 * effort[:, 0] * np.sin(turn))[:, None]
        foot[:, 2] += 0.07 + 0.22 * effort[:, 0] * np.maximum(0, np.cos(turn)) + 0.1 * (lift[:, 0] > 0.05)
        foot = _within(out[:, hip], foot, 0.49 * tall)
        out[:, knee] = _bend(out[:, hip], foot, 0.25 * tall, forward)
        out[:, ankle] = foot
        out[:, toe] = foot + 0.17 * forward + np.array([0.0, 0.0, -0.03])

    shoulders = {sign: at(chest, np.array([0.19 * sign, 0.0, -0.01])) for sign in (-1, 1)}
    out[:, Joint.SHOULDER_L], out[:, Joint.SHOULDER_R] = shoulders[-1], shoulders[1]
    swing_hand, swing_tip = _swing(frame, since, contact, shoulders[1], shot_high, racket, arm)
    pump = (effort[:, 0] * np.sin(phase))[:, None] * 0.25 * forward
    left = at(shoulders[-1], np.array([-0.08, 0.28, -0.28])) - pump
    left = (
        left
        + close * both * (swing_hand - left)
        + close * (1 - both) * shot_high[:, None] * np.array([0, 0, 0.35])
    )
    for shoulder, elbow, hand, spot_hand in (
        (Joint.SHOULDER_L, Joint.ELBOW_L, Joint.HAND_L, left),
        (Joint.SHOULDER_R, Joint.ELBOW_R, Joint.HAND_R, swing_hand),
    ):
        sign = -1 if hand == Joint.HAND_L else 1
        out[:, hand] = _within(out[:, shoulder], spot_hand, arm)
        outward = frame.world(np.array([0.5 * sign, -0.2, -0.7]))
        out[:, elbow] = _bend(out[:, shoulder], out[:, hand], 0.51 * arm, outward)
    grip = out[:, Joint.HAND_R]
    out[:, Joint.RACKET_NECK] = grip + racket.shaft * swing_tip
    out[:, Joint.RACKET_TIP] = grip + (racket.shaft + racket.length) * swing_tip
    return out


def _nearest_stroke(
    strokes: list[Stroke], times: Array, spot: Array, tall: float
) -> tuple[Array, Array, Array, Array, Array]:
    """The player's stroke nearest in time.

    Returns:
        Seconds since it ``[T]``, its contact ``[T, 3]``, whether it is above the shoulder (1 or 0) ``[T]``,
        whether the player jumps, and whether both hands are used ``[T, 1]``.
    """
    if not strokes:
        idle = np.concatenate([spot, np.full((len(times), 1), 1.2)], axis=1)
        nothing = np.zeros(len(times))
        return np.full(len(times), 9.0), idle, nothing, nothing.astype(bool), nothing[:, None]
    when = np.array([stroke.time for stroke in strokes])
    index = np.abs(times[:, None] - when).argmin(axis=1)
    contact = np.array([stroke.contact for stroke in strokes])
    jump = np.array([stroke.shot.jump for stroke in strokes])
    both = np.array([float(stroke.shot.two_handed) for stroke in strokes])
    high = (contact[:, 2] > 0.9 * tall).astype(float)
    return times - when[index], contact[index], high[index], jump[index], both[index][:, None]


def _swing(
    frame: _Frame, since: Array, contact: Array, shoulder: Array, high: Array, racket: Racket, arm: float
) -> tuple[Array, Array]:
    """Where the hand is and where the racket points during a swing: each ``[T, 3]``."""
    to_ball = contact - shoulder
    distance = np.linalg.norm(to_ball, axis=1, keepdims=True)
    to_ball = to_ball / np.maximum(distance, 1e-6)
    held = racket.shaft + 0.5 * racket.length
    sign = np.where((to_ball * frame.right).sum(axis=1) > -0.1, 1.0, -1.0)
    over, none = high, np.zeros_like(high)

    def choose(above: tuple[float, float, float], beside: tuple[float, float, float]) -> Array:
        """A place for strokes over the head, another for those at the side of the ball."""
        return np.stack(
            [
                over * above[0] + (1 - over) * beside[0] * sign,
                over * above[1] + (1 - over) * beside[1],
                over * above[2] + (1 - over) * beside[2],
            ],
            axis=1,
        )

    ready = frame.world(np.stack([none + 0.02, none + 0.36, none - 0.22], axis=1))
    back = frame.world(choose((0.18, -0.25, 0.2), (0.5, -0.1, -0.2)))
    meet = to_ball * np.clip(distance - held, 0.15, arm)
    past = frame.world(choose((-0.3, 0.38, -0.35), (-0.35, 0.38, 0.15)))
    points = frame.world(np.stack([none - 0.15, none + 0.6, none + 0.75], axis=1))
    drawn = frame.world(choose((0.1, -0.5, -0.7), (0.7, -0.6, 0.3)))
    beyond = frame.world(choose((-0.3, 0.6, -0.7), (-0.7, 0.3, 0.5)))
    hand = shoulder + _through(since, (ready, back, meet, past, ready))
    tip = _through(since, (points, drawn, to_ball, beyond, points))
    return hand, tip / np.maximum(np.linalg.norm(tip, axis=1, keepdims=True), 1e-6)


def _through(since: Array, places: tuple[Array, ...]) -> Array:
    """Pass through places ``[T, 3]`` at the moments of a swing."""
    index = np.clip(np.searchsorted(_SWING, since) - 1, 0, len(_SWING) - 2)
    share = np.clip((since - _SWING[index]) / (_SWING[index + 1] - _SWING[index]), 0, 1)[:, None]
    stack, row = np.stack(places), np.arange(len(since))
    passed: Array = stack[index, row] * (1 - share) + stack[index + 1, row] * share
    return passed


def _within(root: Array, end: Array, length: float) -> Array:
    """Pull an end to within a limb's length of its root."""
    offset = end - root
    distance = np.linalg.norm(offset, axis=1, keepdims=True)
    pulled: Array = root + offset * np.minimum(1, length / np.maximum(distance, 1e-6))
    return pulled


def _bend(root: Array, end: Array, half: float, outward: Array) -> Array:
    """Where a knee or elbow is, between two bones of equal length."""
    square = ((end - root) ** 2).sum(axis=1, keepdims=True)
    bend: Array = (root + end) / 2 + outward * np.sqrt(np.maximum(half**2 - square / 4, 0))
    return bend
