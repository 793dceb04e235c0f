"""How a ball flies: gravity, drag, spin and bounces.

World coordinates are metres: ``x`` to the right and ``y`` away from the camera, both from the middle of the
net, ``z`` up from the floor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRAVITY = 9.81
STEP = 1 / 240
"""Seconds between two points of a path."""

Vector = tuple[float, float, float]
Path = NDArray[np.float64]


@dataclass(frozen=True)
class Aerodynamics:
    """What the air and the floor do to a ball.

    Attributes:
        drag: Quadratic drag per metre: the deceleration is ``drag * speed**2``. A shuttlecock, which falls at
            6.8 m/s at most, has ``9.81 / 6.8**2``.
        restitution: Share of the vertical speed that a bounce leaves; 0 for a ball that stays where it falls.
        grip: Share of the horizontal speed that a bounce leaves.
    """

    drag: float
    restitution: float
    grip: float


@dataclass(frozen=True)
class Surface:
    """A level rectangle that a ball bounces on: the floor or a table.

    Attributes:
        height: Metres above the floor.
        half_width: Half of its extent in x, metres.
        half_length: Half of its extent in y, metres.
    """

    height: float
    half_width: float
    half_length: float

    def carries(self, x: float, y: float) -> bool:
        """Tell whether the point lies above the surface."""
        return abs(x) <= self.half_width and abs(y) <= self.half_length


def fly(
    start: Vector,
    velocity: Vector,
    seconds: float,
    air: Aerodynamics,
    spin: Vector = (0.0, 0.0, 0.0),
    surface: Surface | None = None,
    until: Callable[[Vector, Vector], bool] | None = None,
) -> tuple[Path, Vector]:
    """Follow a ball by fourth-order Runge-Kutta steps of 1/240 s.

    Args:
        start: Position at the beginning, metres.
        velocity: Velocity at the beginning, m/s.
        seconds: How long to follow it, rounded to whole steps.
        air: What slows the ball.
        spin: Magnus acceleration per speed, 1/s: the ball is accelerated by ``spin x velocity``.
        surface: What the ball bounces on; without one it falls for ever.
        until: Asked with position and velocity after each step; the flight ends where it says yes.

    Returns:
        The path ``[steps + 1, 3]`` with the start as its first row, and the velocity at its end.

    Example:
        >>> vacuum = Aerodynamics(drag=0.0, restitution=0.0, grip=0.0)
        >>> path, _ = fly((0, 0, 0), (1, 0, 9.81), 2.0, vacuum)
        >>> [round(float(value), 6) + 0.0 for value in path[-1]]
        [2.0, 0.0, 0.0]
    """
    position = start
    points = [position]
    for _ in range(round(seconds / STEP)):
        moved, faster = _step(position, velocity, STEP, air.drag, spin)
        if surface is not None and moved[2] < surface.height <= position[2] and surface.carries(*moved[:2]):
            share = (position[2] - surface.height) / (position[2] - moved[2])
            moved, faster = _bounce(position, velocity, share, air, spin, surface)
        position, velocity = moved, faster
        points.append(position)
        if until is not None and until(position, velocity):
            break
    return np.array(points), velocity


def aim(
    start: Vector,
    target: Vector,
    seconds: float,
    air: Aerodynamics,
    spin: Vector = (0.0, 0.0, 0.0),
) -> tuple[Vector, float]:
    """Find the velocity that brings a ball to a point after a given time.

    The answer is found by Broyden's method, which needs some six flights.

    Args:
        start: Where the ball is hit, metres.
        target: Where it shall be, metres.
        seconds: When it shall be there.
        air: What slows the ball.
        spin: Magnus acceleration per speed, 1/s.

    Returns:
        The velocity at the start, m/s, and the distance by which the target is missed, metres.
    """
    time = max(1, round(seconds / STEP)) * STEP
    goal = np.array(target)
    guess = (goal - np.array(start)) / time
    guess[2] += GRAVITY * time / 2
    # Drag makes the speed at the start count for less than without: begin with a little more.
    guess *= 1 + 0.35 * air.drag * float(np.linalg.norm(guess)) * time
    inverse = np.eye(3) / time
    path, _ = fly(start, _vector(guess), time, air, spin)
    miss = path[-1] - goal
    best, least = guess, float(np.linalg.norm(miss))
    for _ in range(20):
        if least < 0.01:
            break
        change = -inverse @ miss
        change *= min(1.0, 25.0 / (float(np.linalg.norm(change)) + 1e-9))
        guess = guess + change
        path, _ = fly(start, _vector(guess), time, air, spin)
        moved = path[-1] - goal - miss
        miss = miss + moved
        projected = inverse @ moved
        scale = float(change @ projected)
        if abs(scale) > 1e-9:
            inverse += np.outer(change - projected, change @ inverse) / scale
        if float(np.linalg.norm(miss)) < least:
            best, least = guess, float(np.linalg.norm(miss))
    return _vector(best), least


def _vector(values: NDArray[np.float64]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])


def _pull(velocity: Vector, drag: float, spin: Vector) -> Vector:
    """Acceleration of a ball with this velocity, m/s^2."""
    x, y, z = velocity
    slow = drag * (x * x + y * y + z * z) ** 0.5
    return (
        spin[1] * z - spin[2] * y - slow * x,
        spin[2] * x - spin[0] * z - slow * y,
        spin[0] * y - spin[1] * x - slow * z - GRAVITY,
    )


def _along(start: Vector, rate: Vector, time: float) -> Vector:
    return start[0] + time * rate[0], start[1] + time * rate[1], start[2] + time * rate[2]


def _step(
    position: Vector, velocity: Vector, time: float, drag: float, spin: Vector
) -> tuple[Vector, Vector]:
    """One Runge-Kutta step; forces do not depend on the place, which leaves half of the usual terms."""
    a1 = _pull(velocity, drag, spin)
    v2 = _along(velocity, a1, time / 2)
    a2 = _pull(v2, drag, spin)
    v3 = _along(velocity, a2, time / 2)
    a3 = _pull(v3, drag, spin)
    v4 = _along(velocity, a3, time)
    a4 = _pull(v4, drag, spin)
    sixth = time / 6
    moved = (
        position[0] + sixth * (velocity[0] + 2 * v2[0] + 2 * v3[0] + v4[0]),
        position[1] + sixth * (velocity[1] + 2 * v2[1] + 2 * v3[1] + v4[1]),
        position[2] + sixth * (velocity[2] + 2 * v2[2] + 2 * v3[2] + v4[2]),
    )
    faster = (
        velocity[0] + sixth * (a1[0] + 2 * a2[0] + 2 * a3[0] + a4[0]),
        velocity[1] + sixth * (a1[1] + 2 * a2[1] + 2 * a3[1] + a4[1]),
        velocity[2] + sixth * (a1[2] + 2 * a2[2] + 2 * a3[2] + a4[2]),
    )
    return moved, faster


def _bounce(
    position: Vector, velocity: Vector, share: float, air: Aerodynamics, spin: Vector, surface: Surface
) -> tuple[Vector, Vector]:
    """The step in which the ball touches the surface after this share of the step."""
    touch, speed = _step(position, velocity, STEP * share, air.drag, spin)
    up = -air.restitution * speed[2]
    if up < 0.3:  # too slow to leave the floor within a frame: the ball rolls from here on
        up = 0.0
    leaving = (air.grip * speed[0], air.grip * speed[1], up)
    moved, faster = _step((touch[0], touch[1], surface.height), leaving, STEP * (1 - share), air.drag, spin)
    if moved[2] < surface.height:
        return (moved[0], moved[1], surface.height), (faster[0], faster[1], 0.0)
    return moved, faster
