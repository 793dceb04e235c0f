"""The people around the court: full stands, officials at the side, and those among them who move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracknet.data.generate.camera import Camera
from tracknet.data.generate.court import Grid, board_height
from tracknet.data.generate.paint import Canvas, Point
from tracknet.data.generate.sports import Colour
from tracknet.data.generate.venue import HAIR, SKIN, Venue

Array = NDArray[np.float64]

_ROW_DEPTH, _ROW_RISE, _SEAT = 0.9, 0.55, 0.62
_RESTLESS_AT_MOST = 36


@dataclass(frozen=True)
class Spectator:
    """Head and shoulders of someone who sits or walks.

    Attributes:
        head: Middle of the head, pixels.
        scale: Pixels per metre there.
        skin: Colour of the face.
        cap: Colour of hair or cap.
        coat: Colour of the clothes.
        reach: How far they move to the sides and up, pixels.
        period: Frames after which the movement repeats.
        phase: Where in the movement they begin, radians.
        pace: Pixels a frame for someone who walks; they turn around after two periods.
        hem: From the head to the lower end of what is seen of them, metres.
    """

    head: Point
    scale: float
    skin: Colour
    cap: Colour
    coat: Colour
    reach: Point = (0.0, 0.0)
    period: float = 60.0
    phase: float = 0.0
    pace: float = 0.0
    hem: float = 0.62

    def paint(self, canvas: Canvas, frame: float = 0.0, offset: Point = (0.0, 0.0)) -> None:
        """Paint them as they are in a frame, moved by an offset in pixels."""
        turn = 2 * np.pi * frame / self.period + self.phase
        x = self.head[0] + offset[0] + self.reach[0] * float(np.sin(turn))
        y = self.head[1] + offset[1] + self.reach[1] * float(np.sin(1.7 * turn))
        if self.pace:
            x += self.pace * abs((frame + 10 * self.phase) % (4 * self.period) - 2 * self.period)
        unit = self.scale
        waist = self.head[1] + offset[1] + self.hem * unit
        canvas.capsule((x, y + 0.36 * unit), (x, waist), 0.21 * unit, self.coat)
        canvas.capsule((x, y), (x, y), 0.12 * unit, self.skin)
        canvas.capsule((x, y - 0.05 * unit), (x, y - 0.05 * unit), 0.1 * unit, self.cap)


def paint_stands(
    canvas: Canvas, grid: Grid, venue: Venue, rng: np.random.Generator
) -> tuple[list[Spectator], Array]:
    """Paint the stands and everyone who sits still in them.

    Args:
        canvas: What to paint on; covers the grid.
        grid: Its pixels.
        venue: How full, how bright and how restless they are.
        rng: Who sits where.

    Returns:
        Those who move, not painted yet, and the places of all heads, pixels ``[n, 2]``.
    """
    game = venue.game
    rows = np.linspace(1.0, 0.55, canvas.height, dtype=np.float32)[:, None, None]
    canvas.pixels[:] = (
        np.array(venue.seats, dtype=np.float32) * rows[::-1] * np.float32(venue.crowd_light + 0.2)
    )
    side, back = game.half_width + game.runoff[0], game.half_length + game.runoff[1]
    first = board_height(game) + 0.75
    places: list[Array] = []
    for row in range(14):
        deep, high = 1.2 + row * _ROW_DEPTH, first + row * _ROW_RISE
        across = np.arange(-side - 22, side + 22, _SEAT) + rng.uniform(0, _SEAT)
        along = np.arange(-game.half_length, back + 1, _SEAT)
        places.append(
            np.stack([across, np.full_like(across, back + deep), np.full_like(across, high)], axis=1)
        )
        for sign in (-1, 1):
            edge = sign * (side + deep)
            places.append(np.stack([np.full_like(along, edge), along, np.full_like(along, high)], axis=1))
    seats = np.concatenate(places)
    seats = seats[rng.random(len(seats)) < venue.crowd]
    seats = seats + rng.normal(0, 0.05, seats.shape)
    everyone = _seen(grid.camera, grid, seats)
    order = np.argsort(-everyone[:, 2])
    everyone = everyone[order]
    restless = rng.permutation(len(everyone))[: min(_RESTLESS_AT_MOST, round(venue.restless * len(everyone)))]
    chosen = set(restless.tolist())
    moving: list[Spectator] = []
    for index, (x, y, depth) in enumerate(everyone):
        scale = float(grid.camera.scale(depth))
        person = _person((float(x), float(y)), scale, venue, rng)
        if index in chosen:
            moving.append(_restless(person, rng))
        else:
            person.paint(canvas, offset=(-grid.left, -grid.top))
    return moving, everyone[:, :2]


def courtside(grid: Grid, venue: Venue, rng: np.random.Generator) -> list[Spectator]:
    """Judges on their chairs, and two people who walk past in front of the boards; none is painted yet."""
    game = venue.game
    side, back = game.half_width + game.runoff[0], game.half_length + game.runoff[1]
    inside = game.half_width + 0.7 * game.runoff[0]
    spots = [(sign * inside, y, 1.15) for sign in (-1, 1) for y in (-0.3 * back, 0.45 * back)]
    spots += [(x, back - 0.5, 1.1) for x in (-0.6 * side, 0.62 * side)]
    spots = [spot for spot in spots if rng.random() < 0.75]
    judges = _seen(grid.camera, grid, np.array(spots).reshape(-1, 3))
    people = [
        _restless(
            _person((float(x), float(y)), float(grid.camera.scale(depth)), venue, rng, bright=True), rng
        )
        for x, y, depth in judges
    ]
    strollers = np.stack(
        [rng.uniform(-side, side, 2), np.full(2, back - 0.4), rng.uniform(1.55, 1.75, 2)], axis=1
    )
    for x, y, depth in _seen(grid.camera, grid, strollers):
        scale = float(grid.camera.scale(depth))
        person = _person((float(x), float(y)), scale, venue, rng, bright=True)
        pace = float(rng.choice([-1, 1]) * rng.uniform(0.4, 1.3)) * scale / 30
        people.insert(0, _restless(person, rng, pace, hem=1.4))
    return people


def _seen(camera: Camera, grid: Grid, places: Array) -> Array:
    """Pixels and depth ``[n, 3]`` of those places that the grid shows."""
    pixels, depth = camera.project(places)
    ahead = (places - camera.position) @ camera.axes[2] > 2.0
    x, y = pixels[:, 0] - grid.left, pixels[:, 1] - grid.top
    inside = ahead & (x > -20) & (y > -20) & (x < grid.width + 20) & (y < grid.height + 20)
    seen: Array = np.column_stack([pixels, depth])[inside]
    return seen


def _person(
    head: Point, scale: float, venue: Venue, rng: np.random.Generator, bright: bool = False
) -> Spectator:
    light = min(1.0, venue.light) if bright else venue.crowd_light * float(rng.uniform(0.7, 1.1))
    skin = np.array(SKIN[int(rng.integers(len(SKIN)))]) * light
    hair = np.array(HAIR[int(rng.integers(len(HAIR)))]) * light
    if rng.random() < 0.12:
        hair = np.array([235.0, 235.0, 235.0]) * light
    coat = rng.uniform(20, 210, 3) * light
    if rng.random() < 0.1:
        coat = np.array([215.0, 215.0, 215.0]) * light
    return Spectator(head, scale, _colour(skin), _colour(hair), _colour(coat))


def _restless(person: Spectator, rng: np.random.Generator, pace: float = 0.0, hem: float = 0.62) -> Spectator:
    unit = person.scale
    return Spectator(
        person.head,
        unit,
        person.skin,
        person.cap,
        person.coat,
        reach=(float(rng.uniform(0.03, 0.22)) * unit, float(rng.uniform(0.0, 0.1)) * unit),
        period=float(rng.uniform(25, 110)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        pace=pace,
        hem=hem,
    )


def _colour(values: Array) -> Colour:
    return float(values[0]), float(values[1]), float(values[2])
