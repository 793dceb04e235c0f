"""The court as it stands still: floor, lines, net, table and boards, drawn in perspective."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracknet.data.generate.camera import Camera
from tracknet.data.generate.lettering import SPONSORS, banner
from tracknet.data.generate.paint import Canvas, Layer, Pixels
from tracknet.data.generate.sports import Colour, Game
from tracknet.data.generate.venue import Venue

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """The pixels of a block of the picture, and the rays through them.

    Attributes:
        camera: Who looks.
        top: First row; negative above the picture.
        left: First column.
        height: Rows.
        width: Columns.
    """

    camera: Camera
    top: int
    left: int
    height: int
    width: int

    def cut(self, other: Grid) -> Grid | None:
        """The part that lies within another block, or None where too little does."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(self.top + self.height, other.top + other.height)
        right = min(self.left + self.width, other.left + other.width)
        if bottom - top < 2 or right - left < 2:
            return None
        return Grid(self.camera, top, left, bottom - top, right - left)

    def meet(self, origin: Array, along: Array, up: Array) -> tuple[Field, Field]:
        """Where the rays meet a plane.

        Args:
            origin: A point of the plane, metres.
            along: A unit vector in it.
            up: Another one, square to the first.

        Returns:
            Coordinates on the plane in these directions; far away where a ray leaves without meeting it.
        """
        rays = self.camera.rays(self.top, self.left, self.height, self.width)
        normal = np.cross(along, up)
        slope = rays @ normal
        slope = np.where(np.abs(slope) < 1e-9, 1e-9, slope)
        distance = float((origin - self.camera.position) @ normal) / slope
        offset = self.camera.position - origin
        u = float(offset @ along) + distance * (rays @ along)
        v = float(offset @ up) + distance * (rays @ up)
        return _field(np.where(distance > 0, u, 1e4)), _field(np.where(distance > 0, v, 1e4))


@dataclass(frozen=True)
class Panel:
    """A board whose picture moves.

    Attributes:
        top: Row of its first pixel.
        left: Column of its first pixel.
        opacity: Share of each pixel that it covers, ``[h, w]``.
        column: Column of its strip that each pixel shows, ``[h, w]``.
        row: Row of its strip that each pixel shows.
        strip: The picture that runs over it, ``[rows, columns, 3]``.
        speed: Columns a frame.
        period: Frames after which its brightness repeats; 0 for a steady one.
    """

    top: int
    left: int
    opacity: Pixels
    column: NDArray[np.int64]
    row: NDArray[np.int64]
    strip: Pixels
    speed: float
    period: float

    def at(self, frame: int) -> Layer:
        """What the board shows in a frame."""
        columns = (self.column + int(self.speed * frame)) % self.strip.shape[1]
        colour = self.strip[self.row, columns]
        if self.period:
            colour = colour * np.float32(0.85 + 0.25 * np.sin(2 * np.pi * frame / self.period))
        return Layer(self.top, self.left, self.opacity, colour)


@dataclass(frozen=True)
class Field:
    """A coordinate of a plane, seen through the pixels of a block.

    Attributes:
        value: The coordinate at the middle of each pixel, metres, ``[h, w]``.
        step: How much it changes across a pixel, metres.
    """

    value: Array
    step: Array

    def within(self, low: float, high: float) -> Array:
        """Share of each pixel that lies between two values: ``[h, w]``, 0 to 1."""
        near = np.minimum(high, self.value + self.step / 2) - np.maximum(low, self.value - self.step / 2)
        share: Array = np.maximum(near, 0) / self.step
        return share


def _field(value: Array) -> Field:
    rows, columns = np.gradient(value)
    return Field(value, np.hypot(rows, columns) + 1e-6)


def ground(grid: Grid) -> tuple[Field, Field]:
    """``x`` and ``y`` of the floor under each pixel."""
    return grid.meet(np.zeros(3), np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]))


def paint_floor(canvas: Canvas, grid: Grid, venue: Venue, rng: np.random.Generator) -> None:
    """Paint the floor, the court and its lines; a canvas that covers the grid.

    Args:
        canvas: What to paint on.
        grid: Its pixels.
        venue: Colours and sizes.
        rng: Where stains and lettering come from.
    """
    game = venue.game
    x, y = ground(grid)
    side, back = game.half_width + game.runoff[0], game.half_length + game.runoff[1]
    light = _mottled(x.value, y.value, rng) * venue.light
    floor = x.within(-side, side) * y.within(-1e3, back)
    _lay(canvas, floor, _lit(venue.floor, light))
    if not game.table:
        rim = 0.0 if game.name == "tennis" else 0.35
        inside = x.within(-game.half_width - rim, game.half_width + rim)
        inside *= y.within(-game.half_length - rim, game.half_length + rim)
        _lay(canvas, inside, _lit(venue.court, light))
        for line in game.lines:
            cover = x.within(line.left, line.right) * y.within(line.near, line.far)
            _lay(canvas, 0.92 * cover, _lit(venue.lines, 0.5 + 0.5 * light))
    tall = 0.04 * game.half_length + 0.2
    ends = 0.45 * game.runoff[1] + game.half_length
    spots = [(0.0, -ends, tall), (0.0, ends, tall)]
    if not game.table and rng.random() < 0.6:
        spots.append((float(rng.uniform(-0.4, 0.4)) * game.half_width, -0.25 * game.half_length, 0.7 * tall))
    for left, middle, height in spots:
        word = SPONSORS[int(rng.integers(len(SPONSORS)))]
        _letter(canvas, grid, word, (left, middle), height, np.array(venue.lines) * venue.light)


def paint_boards(canvas: Canvas, grid: Grid, venue: Venue, rng: np.random.Generator) -> list[Panel]:
    """Paint the boards that do not move, and return those that do.

    Args:
        canvas: What to paint on; covers the grid.
        grid: Its pixels; the returned panels count theirs from its camera's picture.
        venue: Colours and sizes.
        rng: Where words and speeds come from.

    Returns:
        The boards with moving pictures, not painted yet.
    """
    game = venue.game
    side, back = game.half_width + game.runoff[0], game.half_length + game.runoff[1]
    tall = board_height(game)
    length = max(2.4, back / 3)
    runs = [
        (np.array([-side, back, 0.0]), np.array([1.0, 0.0, 0.0]), 2 * side),
        (np.array([-side, -back, 0.0]), np.array([0.0, 1.0, 0.0]), 2 * back),
        (np.array([side, back, 0.0]), np.array([0.0, -1.0, 0.0]), 2 * back),
    ]
    moving: list[Panel] = []
    for start, along, reach in runs:
        count = max(1, round(reach / length))
        piece = reach / count
        for index in range(count):
            panel = _board(grid, venue, start + index * piece * along, along, (piece, tall), rng)
            if panel is None:
                continue
            if panel.speed or panel.period:
                moving.append(panel)
            else:
                shown = panel.at(0)
                canvas.layer(Layer(shown.top - grid.top, shown.left - grid.left, shown.opacity, shown.colour))
    return moving


def board_height(game: Game) -> float:
    """Height of the boards: taller around a larger court, metres."""
    return 0.72 if game.table else 0.75 + 0.03 * game.half_length


def net_layer(camera: Camera, venue: Venue) -> Layer:
    """The net with its tape and posts, as a layer to lay over what is behind it."""
    game = venue.game
    low, high, half = game.net
    block = _block(
        camera, np.array([[x, 0.0, z] for x in (-half - 0.2, half + 0.2) for z in (0.0, high + 0.1)])
    )
    x, z = block.meet(np.zeros(3), np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0]))
    tape = 0.02 if game.table else 0.075
    inside = x.within(-half, half)
    mesh = inside * z.within(low, high) * (0.45 if game.table or game.name == "tennis" else 0.26)
    band = inside * z.within(high - tape, high)
    if game.name == "volleyball":
        band = np.maximum(band, inside * z.within(low, low + 0.05))
    foot = game.surface.height if game.table else 0.0
    posts = np.maximum(x.within(-half - 0.06, -half + 0.02), x.within(half - 0.02, half + 0.06))
    posts = posts * z.within(foot, high)
    opacity = 1 - (1 - mesh) * (1 - 0.9 * band) * (1 - posts)
    weight = np.maximum(opacity, 1e-6)[..., None]
    light = min(1.0, venue.light)
    colour = (
        (mesh * (1 - band) * (1 - posts))[..., None] * np.array([28.0, 30.0, 32.0])
        + (0.9 * band * (1 - posts))[..., None] * np.array([225.0, 225.0, 220.0]) * light
        + posts[..., None] * np.array([60.0, 62.0, 80.0])
    ) / weight
    return Layer(block.top, block.left, opacity.astype(np.float32), colour.astype(np.float32))


def table_layer(camera: Camera, venue: Venue) -> Layer:
    """A table with its legs, as a layer."""
    game = venue.game
    half, end, top = game.half_width, game.half_length, game.surface.height
    corners = [[x, y, z] for x in (-half, half) for y in (-end, end) for z in (0.0, top)]
    block = _block(camera, np.array(corners))
    canvas = Canvas(np.zeros((block.height, block.width, 3), dtype=np.float32))
    legs = Canvas(np.zeros_like(canvas.pixels))
    for leg_x in (-0.6 * half, 0.6 * half):
        for leg_y in (0.75 * end, -0.75 * end):
            ends, depth = camera.project(np.array([[leg_x, leg_y, 0.0], [leg_x, leg_y, top]]))
            ends = ends - (block.left, block.top)
            radius = 0.035 * float(camera.scale(depth[0]))
            legs.capsule(_pair(ends[0]), _pair(ends[1]), radius, (1.0, 1.0, 1.0))
    opacity = legs.pixels[..., 0].astype(np.float64)
    _lay(canvas, np.ones_like(opacity), np.array([35.0, 38.0, 45.0]))
    # The side of the top shows as a darker rim below it.
    for offset, shade in ((-0.05, 0.45), (0.0, 1.0)):
        x, y = block.meet(np.array([0.0, 0.0, top + offset]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))
        plate = x.within(-half, half) * y.within(-end, end)
        _lay(canvas, plate, np.array(venue.court) * shade * venue.light)
        opacity = np.maximum(opacity, plate)
    for line in game.lines:
        mark = x.within(line.left, line.right) * y.within(line.near, line.far)
        _lay(canvas, 0.92 * mark, np.array(venue.lines) * (0.5 + 0.5 * venue.light))
    return Layer(block.top, block.left, opacity.astype(np.float32), canvas.pixels)


def _block(camera: Camera, points: Array) -> Grid:
    """The smallest block of pixels that shows the points."""
    seen, _ = camera.project(points)
    left, top = np.floor(seen.min(axis=0)).astype(int) - 2
    right, bottom = np.ceil(seen.max(axis=0)).astype(int) + 3
    return Grid(camera, int(top), int(left), int(bottom - top), int(right - left))


def _board(
    grid: Grid,
    venue: Venue,
    start: Array,
    along: Array,
    extent: tuple[float, float],
    rng: np.random.Generator,
) -> Panel | None:
    """One board, or None where it is out of sight."""
    colour = np.array(venue.boards[int(rng.integers(len(venue.boards)))])
    word = SPONSORS[int(rng.integers(len(SPONSORS)))]
    moves, scrolls = rng.random() < venue.boards_move, rng.random() < 0.5
    speed, period = float(rng.uniform(0.3, 2.0)), float(rng.uniform(20, 70))
    camera = grid.camera
    up = np.array([0.0, 0.0, 1.0])
    corners = np.array([start + u * along + v * up for u in (0, extent[0]) for v in (0, extent[1])])
    if (((corners - camera.position) @ camera.axes[2]) < 1.0).any():
        return None
    block = _block(camera, corners).cut(grid)
    if block is None:
        return None
    u, v = block.meet(start, along, up)
    _, depth = camera.project(corners.mean(axis=0))
    density = float(camera.scale(depth))
    rows, columns = max(6, round(extent[1] * density)), max(8, round(extent[0] * density))
    ink = banner(word, columns, rows)[..., None]
    bright = np.array([235.0, 235.0, 230.0]) if colour.sum() < 420 else np.array([30.0, 30.0, 40.0])
    strip = (colour * (1 - ink) + bright * ink) * min(1.0, 0.4 + 0.6 * venue.light)
    return Panel(
        block.top,
        block.left,
        (u.within(0, extent[0]) * v.within(0, extent[1])).astype(np.float32),
        np.clip((u.value * columns / extent[0]).astype(np.int64), 0, columns - 1),
        np.clip(((1 - v.value / extent[1]) * rows).astype(np.int64), 0, rows - 1),
        strip.astype(np.float32),
        speed if moves and scrolls else 0.0,
        period if moves and not scrolls else 0.0,
    )


def _letter(
    canvas: Canvas, grid: Grid, word: str, middle: tuple[float, float], tall: float, colour: Array
) -> None:
    """Write on the floor, upright for the camera; letters are drawn out to look straight from there."""
    dots = banner(word, 4 * len(word) + 3, 7)
    dot, deep = tall / 5, 1.6 * tall / 5
    wide, long = dots.shape[1] * dot / 2, dots.shape[0] * deep / 2
    corners = [[middle[0] + a * wide, middle[1] + b * long, 0.0] for a in (-1, 1) for b in (-1, 1)]
    block = _block(grid.camera, np.array(corners)).cut(grid)
    if block is None:
        return
    x, y = ground(block)
    columns = (x.value - middle[0]) / dot + dots.shape[1] / 2
    rows = dots.shape[0] / 2 - (y.value - middle[1]) / deep
    ink = np.zeros_like(columns)
    # A few samples a pixel: the letters are small and would sparkle.
    for shift_x in (-0.25, 0.25):
        for shift_y in (-0.25, 0.25):
            column = np.floor(columns + shift_x * x.step / dot)
            row = np.floor(rows + shift_y * y.step / deep)
            inside = (column >= 0) & (column < dots.shape[1]) & (row >= 0) & (row < dots.shape[0])
            ink[inside] += dots[row[inside].astype(int), column[inside].astype(int)] / 4
    opacity = (0.8 * ink).astype(np.float32)
    canvas.lay(block.top - grid.top, block.left - grid.left, opacity, colour.astype(np.float32))


def _mottled(x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Uneven light on the floor, around 1."""
    light = np.ones_like(x)
    for _ in range(4):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        length = rng.uniform(4, 14)
        light += 0.025 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / length + phase)
    return light


def _lit(colour: Colour, light: Array) -> Array:
    return np.array(colour) * light[..., None]


def _lay(canvas: Canvas, opacity: Array, colour: Array) -> None:
    canvas.lay(0, 0, opacity.astype(np.float32), colour.astype(np.float32))


def _pair(point: Array) -> tuple[float, float]:
    return float(point[0]), float(point[1])
