"""The people around the court: full stands, officials at the side, and those among them who move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tracknet.data.generate.camera import Camera
from tracknet.data.generate.court import Grid, board_height
from tracknet.data.generate.paint import Canvas, Layer, Point
from tracknet.data.generate.sports import Colour
from tracknet.data.generate.venue import HAIR, SKIN, Venue

Array = NDArray[np.float64]

_ROW_DEPTH, _ROW_RISE, _SEAT = 0.9, 0.55, 0.62
_RESTLESS_AT_MOST = 60
_SEATED = 0.62
_PHASES, _SCALE_STEP = 4, 1.06


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
    hem: float = _SEATED

    def paint(self, canvas: Canvas, frame: float = 0.0, offset: Point = (0.0, 0.0)) -> None:
        """Paint them as they are in a frame, moved by an offset in pixels."""
        turn = 2 * math.pi * frame / self.period + self.phase
        x = self.head[0] + offset[0] + self.reach[0] * math.sin(turn)
        y = self.head[1] + offset[1] + self.reach[1] * math.sin(1.7 * turn)
        if self.pace:
            x += self.pace * abs((frame + 10 * self.phase) % (4 * self.period) - 2 * self.period)
        column, row = round(_PHASES * x), round(_PHASES * y)
        step = round(math.log(self.scale) / math.log(_SCALE_STEP))
        stamp = _stamp(step, column % _PHASES, row % _PHASES, self.hem)
        colours = np.array([self.skin, self.cap, self.coat], dtype=np.float32)
        canvas.layer(
            Layer(
                row // _PHASES + stamp.top,
                column // _PHASES + stamp.left,
                stamp.opacity,
                np.asarray(stamp.colour @ colours, dtype=np.float32),
            )
        )


@dataclass(frozen=True)
class Glint:
    """A light about as large and bright as a ball: a telephone, a lamp, a white cap.

    Attributes:
        place: Its middle, pixels.
        radius: Pixels.
        colour: Its colour.
        reach: How far it is waved, pixels.
        period: Frames after which it is where it was, or shines again.
        phase: Where in this it begins, radians.
        blinks: Whether it goes on and off instead of being waved.
    """

    place: Point
    radius: float
    colour: Colour
    reach: Point
    period: float
    phase: float
    blinks: bool

    def paint(self, canvas: Canvas, frame: int, offset: Point) -> None:
        """Paint it as it is in a frame, moved by an offset in pixels."""
        turn = 2 * math.pi * frame / self.period + self.phase
        x, y = self.place[0] + offset[0], self.place[1] + offset[1]
        if not self.blinks:
            x, y = x + self.reach[0] * math.sin(turn), y + self.reach[1] * math.sin(1.3 * turn)
        elif math.sin(turn) < 0.2:
            return
        canvas.capsule((x, y), (x, y), self.radius, self.colour)


@lru_cache(maxsize=8192)
def _stamp(step: int, x: int, y: int, hem: float) -> Layer:
    """Someone painted once for all of the same size, around a head in pixel (0, 0).

    The three channels of its colour are the shares of skin, cap and coat.

    Args:
        step: Logarithm of the pixels per metre.
        x: Place of the head within its pixel, in parts of a pixel.
        y: The same downwards.
        hem: See `Spectator`.
    """
    unit = _SCALE_STEP**step
    wide, above, below = (
        math.ceil(0.25 * unit) + 2,
        math.ceil(0.2 * unit) + 2,
        math.ceil((hem + 0.25) * unit) + 2,
    )
    shape = (above + below + 1, 2 * wide + 1, 3)
    ink, cover = Canvas(np.zeros(shape, np.float32)), Canvas(np.zeros(shape, np.float32))
    head = (wide + x / _PHASES, above + y / _PHASES)

    def part(top: float, bottom: float, radius: float, colour: Colour) -> None:
        ends = ((head[0], head[1] + top * unit), (head[0], head[1] + bottom * unit))
        ink.capsule(*ends, radius * unit, colour)
        cover.capsule(*ends, radius * unit, (1.0, 1.0, 1.0))

    if hem > _SEATED:
        part(0.62, hem, 0.13, (0.05, 0.05, 0.2))
    part(0.36, _SEATED, 0.21, (0.0, 0.0, 1.0))
    part(0.0, 0.0, 0.12, (1.0, 0.0, 0.0))
    part(-0.05, -0.05, 0.1, (0.0, 1.0, 0.0))
    opacity = cover.pixels[..., 0]
    return Layer(-above, -wide, opacity, ink.pixels / np.maximum(opacity, np.float32(1e-3))[..., None])


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


def glints(heads: Array, size: tuple[int, int], rng: np.random.Generator) -> list[Glint]:
    """Lights in the stands that look like a ball in a single frame, but do not fly.

    Args:
        heads: Where people sit, pixels, ``[n, 2]``.
        size: Picture ``(height, width)``.
        rng: Who has a light.

    Returns:
        Up to 10 lights within the picture.
    """
    height, width = size
    unit = height / 360
    inside = heads[(heads > 0).all(axis=1) & (heads[:, 0] < width) & (heads[:, 1] < 0.8 * height)]
    chosen = inside[rng.permutation(len(inside))[: int(rng.integers(6, 11))]]
    return [
        Glint(
            (float(x) + 3 * unit, float(y)),
            float(rng.uniform(1.4, 2.3)) * unit,
            _colour(np.array([250.0, 250.0, rng.uniform(200, 250)]) * rng.uniform(0.85, 1.0)),
            reach=(float(rng.uniform(2, 7)) * unit, float(rng.uniform(0.5, 3)) * unit),
            period=float(rng.uniform(30, 90)),
            phase=float(rng.uniform(0, 2 * np.pi)),
            blinks=bool(rng.random() < 0.5),
        )
        for x, y in chosen
    ]


def courtside(grid: Grid, venue: Venue, rng: np.random.Generator) -> list[Spectator]:
    """Judges on their chairs, and two people who walk past in front of the boards; none is painted yet."""
    game = venue.game
    side, back = game.half_width + game.runoff[0], game.half_length + game.runoff[1]
    inside = game.half_width + 0.7 * game.runoff[0]
    spots = [(sign * inside, y, 1.15) for sign in (-1, 1) for y in (0.0, -0.35 * back, 0.45 * back)]
    spots += [(x, back - 0.5, 1.15) for x in (-0.6 * side, 0.62 * side)]
    if game.table:  # the rest of the hall is too near to the camera
        spots = [spot for spot in spots if spot[1] >= 0]
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
    if rng.random() < 0.1:
        hair = np.array([235.0, 235.0, 235.0]) * light
    grey = float(rng.uniform(25, 120))
    coat = np.clip(grey + rng.normal(0, 0.35 * grey, 3), 0, 220) * light
    if rng.random() < 0.12:
        coat = np.array([205.0, 205.0, 205.0]) * light
    return Spectator(head, scale, _colour(skin), _colour(hair), _colour(coat))


def _restless(
    person: Spectator, rng: np.random.Generator, pace: float = 0.0, hem: float = _SEATED
) -> Spectator:
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
