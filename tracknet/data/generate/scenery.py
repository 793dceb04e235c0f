"""All of a venue that does not take part in the rally, prepared once and then shown in every frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracknet.data.generate.court import (
    Grid,
    Panel,
    net_layer,
    paint_boards,
    paint_floor,
    table_layer,
)
from tracknet.data.generate.lettering import letters
from tracknet.data.generate.paint import Canvas, Layer, Pixels, Point, blend_shift
from tracknet.data.generate.stands import Glint, Spectator, courtside, glints, paint_stands
from tracknet.data.generate.venue import Venue


@dataclass(frozen=True)
class Scenery:
    """What a venue looks like behind the players.

    Attributes:
        picture: Everything that stands still, float32 ``[H + 2 * margin, W + 2 * margin, 3]``.
        margin: Pixels around the picture that the camera may turn to.
        stands: People in the stands who move.
        lights: Lights in the stands that could be taken for a ball.
        panels: Boards whose pictures move.
        courtside: People beside the court.
        heads: Places in the stands where a flash may go off, pixels, ``[n, 2]``.
        net: The net.
        table: The table, where there is one.
        score: The score that the broadcaster lays over the picture.
    """

    picture: Pixels
    margin: int
    stands: list[Spectator]
    lights: list[Glint]
    panels: list[Panel]
    courtside: list[Spectator]
    heads: NDArray[np.float64]
    net: Layer
    table: Layer | None
    score: Layer

    def paint(self, canvas: Canvas, frame: int, offset: Point, rng: np.random.Generator) -> None:
        """Paint the background of one frame.

        Args:
            canvas: What to paint on; nothing of its earlier content is left.
            frame: Number of the frame: moving boards and people go on from frame to frame.
            offset: How far the camera's unrest moves the picture, pixels ``(x, y)``.
            rng: Whether a flash goes off.
        """
        x, y = offset
        whole_x, whole_y = math.floor(x), math.floor(y)
        top, left = self.margin - whole_y, self.margin - whole_x
        if x == 0 and y == 0:
            canvas.pixels[:] = self.picture[top : top + canvas.height, left : left + canvas.width]
        else:
            block = self.picture[top - 1 : top + canvas.height, left - 1 : left + canvas.width]
            canvas.pixels[:] = blend_shift(block, x - whole_x, y - whole_y)
        for person in self.stands:
            person.paint(canvas, frame, offset)
        for light in self.lights:
            light.paint(canvas, frame, offset)
        for panel in self.panels:
            canvas.layer(panel.at(frame).shifted(x, y))
        for person in self.courtside:
            person.paint(canvas, frame, offset)
        if rng.random() < 0.1 and len(self.heads):
            head = self.heads[int(rng.integers(len(self.heads)))]
            place = (float(head[0]) + x, float(head[1]) + y)
            canvas.capsule(
                place, place, float(rng.uniform(1.2, 2.6)) * canvas.height / 360, (255.0, 255.0, 255.0)
            )


def build_scenery(venue: Venue, margin: int, rng: np.random.Generator) -> Scenery:
    """Paint a venue.

    Args:
        venue: The venue; what does not change between rallies comes from its seed.
        margin: Pixels around the picture that the camera may turn to.
        rng: Where the score and other things of one rally come from.

    Returns:
        The scenery.
    """
    height, width = venue.camera.size
    grid = Grid(venue.camera, -margin, -margin, height + 2 * margin, width + 2 * margin)
    canvas = Canvas(np.zeros((grid.height, grid.width, 3), dtype=np.float32))
    fixed = np.random.default_rng(venue.seed)
    stands, heads = paint_stands(canvas, grid, venue, fixed)
    paint_floor(canvas, grid, venue, fixed)
    panels = paint_boards(canvas, grid, venue, fixed)
    return Scenery(
        picture=canvas.pixels,
        margin=margin,
        stands=stands,
        lights=glints(heads, (height, width), fixed),
        panels=panels,
        courtside=courtside(grid, venue, fixed),
        heads=heads,
        net=net_layer(venue.camera, venue),
        table=table_layer(venue.camera, venue) if venue.game.table else None,
        score=_score(venue, fixed, rng),
    )


def _score(venue: Venue, fixed: np.random.Generator, rng: np.random.Generator) -> Layer:
    """A box with names and points in a corner."""
    height, width = venue.camera.size
    dot = max(1, round(height / 190))
    rows = []
    for _ in range(2):
        name = "".join(chr(65 + int(fixed.integers(26))) for _ in range(3))
        rows.append(letters(f"{name} {int(rng.integers(0, 3))} {int(rng.integers(0, 21)):2d}", dot))
    ink = np.zeros((15 * dot, rows[0].shape[1] + 6 * dot), dtype=np.float32)
    for index, row in enumerate(rows):
        top = (2 + 6 * index) * dot
        ink[top : top + 5 * dot, 3 * dot : 3 * dot + row.shape[1]] = row
    dark, light = np.array([22.0, 24.0, 30.0]), np.array([235.0, 235.0, 235.0])
    if fixed.random() < 0.4:
        dark, light = light, dark
    colour = dark + ink[..., None] * (light - dark)
    left = round(0.05 * width) if fixed.random() < 0.7 else width - round(0.05 * width) - ink.shape[1]
    top = round(0.05 * height) if fixed.random() < 0.6 else height - round(0.07 * height) - ink.shape[0]
    opacity = np.full(ink.shape, 0.92, dtype=np.float32)
    return Layer(top, left, opacity, colour.astype(np.float32))
