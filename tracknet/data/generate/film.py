"""A rally as it is broadcast: frames, and where the ball is in each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracknet.data.generate.camera import sway
from tracknet.data.generate.closeup import CloseUp
from tracknet.data.generate.figure import Looks, dress, paint_player, paint_shadow
from tracknet.data.generate.paint import Canvas, Layer, Pixels
from tracknet.data.generate.people import Joint, animate
from tracknet.data.generate.play import Point, play_point, runs
from tracknet.data.generate.scenery import build_scenery
from tracknet.data.generate.venue import Venue

Array = NDArray[np.float64]

BALL_MOMENTS = 12
"""Moments of one exposure at which the ball is painted."""
BODY_MOMENTS = 8
"""Moments of one exposure at which rackets are painted."""
SHOWN_AT_LEAST = 0.5
"""Share of the blurred ball that must show for the frame to be labelled visible."""


@dataclass(frozen=True)
class Shown:
    """One frame of a rally.

    Attributes:
        pixels: RGB, uint8 ``[H, W, 3]``; a fresh array.
        xy: The middle of the blurred ball, pixels; (0, 0) where it is not visible.
        visible: Whether more than half of the ball shows.
    """

    pixels: NDArray[np.uint8]
    xy: tuple[float, float]
    visible: bool


class Film:
    """A rally in a venue, painted frame by frame.

    Args:
        venue: Where it is played.
        frames: How many frames it has.
        fps: Frames per second.
        seed: Decides everything that happens; the same seed gives the same frames.

    Attributes:
        points: What was played in the frames that have been painted: the frame at which it begins, and the
            point, whose time 0 is that frame.
    """

    def __init__(self, venue: Venue, frames: int, fps: float, seed: np.random.SeedSequence) -> None:
        self.venue = venue
        self.frames = frames
        self.fps = fps
        self._seed = seed
        self.points: list[tuple[int, Point]] = []

    def __iter__(self) -> Iterator[Shown]:
        """Paint the frames one after another."""
        venue, (height, width) = self.venue, self.venue.camera.size
        plan, chance = (np.random.default_rng(child) for child in _children(self._seed, 2))
        unit = height / 360
        offsets = sway(self.frames, plan, shake=venue.shake * unit, pan=venue.pan * unit)
        scenery = build_scenery(venue, math.ceil(np.abs(offsets).max()) + 2, plan)
        canvas = Canvas(np.empty((height, width, 3), dtype=np.float32))
        light = min(1.08, venue.light)
        team = len(venue.game.homes)
        fixed = np.random.default_rng(venue.seed + 1)
        looks = [dress(venue.kits[index // team], light, index < team, fixed) for index in range(2 * team)]
        self._noise = _noise_bank(venue.noise, height * width * 3, plan)
        cuts = plan_cuts(self.frames, self.fps, plan)
        start = 0
        self.points.clear()
        for first, last in (*cuts, (self.frames, self.frames)):
            scene = _Scene(venue, first - start, self.fps, looks, plan)
            self.points.append((start, scene.point))
            for frame in range(start, first):
                offset = (float(offsets[frame, 0]), float(offsets[frame, 1]))
                scenery.paint(canvas, frame, offset, chance)
                scene.paint(canvas, frame - start, offset, scenery.net, scenery.table)
                canvas.layer(scenery.score)
                yield self._exposed(canvas, frame, scene.middle(frame - start, offset), chance)
            if last > first:
                view = CloseUp(scenery.picture, (height, width), looks[int(plan.integers(2 * team))], plan)
                for frame in range(first, last):
                    canvas.forget_ball()
                    view.paint(canvas, frame - first)
                    yield self._exposed(canvas, frame, (0.0, 0.0), chance)
            start = last

    def _exposed(
        self, canvas: Canvas, frame: int, middle: tuple[float, float], chance: np.random.Generator
    ) -> Shown:
        """What the camera makes of a painted picture."""
        venue, pixels = self.venue, canvas.pixels
        lamp = 1 + venue.flicker * math.sin(2 * math.pi * frame * 0.37)
        lines = pixels.reshape(canvas.height, -1)
        lines *= np.tile(np.array(venue.gain, dtype=np.float32) * np.float32(lamp), canvas.width)
        begin = int(chance.integers(len(self._noise) - pixels.size + 1))
        flat = pixels.reshape(-1)
        flat += self._noise[begin : begin + pixels.size]
        np.maximum(pixels, 0, out=pixels)
        np.minimum(pixels, 255, out=pixels)
        inside = 0 <= middle[0] <= canvas.width - 1 and 0 <= middle[1] <= canvas.height - 1
        visible = inside and canvas.ball_shown > SHOWN_AT_LEAST
        return Shown(pixels.astype(np.uint8), middle if visible else (0.0, 0.0), visible)


class _Scene:
    """The players and the ball during one point, prepared for all of its frames."""

    def __init__(
        self, venue: Venue, frames: int, fps: float, looks: list[Looks], rng: np.random.Generator
    ) -> None:
        game, camera = venue.game, venue.camera
        self.point = point = play_point(game, frames / fps, rng)
        ball = point.ball(_exposures(frames, fps, venue.shutter, BALL_MOMENTS))
        times = _exposures(frames, fps, venue.shutter, BODY_MOMENTS)
        placed = runs(game, point, times.ravel(), rng)
        joints = animate(game, point, times.ravel(), placed, rng)
        count = len(looks)
        self._venue, self._looks = venue, looks
        self._ball, depth = camera.project(ball)  # [frames, moments, 2]
        self._ball_depth = depth.mean(axis=1)
        self._ball_world = ball.mean(axis=1)
        least = game.least_pixels * camera.size[0] / 360
        self._radii = np.maximum(camera.scale(depth) * game.diameter, least) / 2
        seen, far = camera.project(joints)
        self._joints = seen.reshape(frames, BODY_MOMENTS, count, len(Joint), 2)
        self._depths = far.reshape(frames, BODY_MOMENTS, count, len(Joint))[:, BODY_MOMENTS // 2]
        spot = placed.reshape(frames, BODY_MOMENTS, count, 2)[:, BODY_MOMENTS // 2]
        self._far_side = spot[..., 1] > 0
        feet, away = camera.project(np.concatenate([spot, np.zeros_like(spot[..., :1])], axis=-1))
        self._feet, self._feet_scale = feet, camera.scale(away)
        shade = self._ball_world.copy()
        self._above_table = np.array([game.table and game.surface.carries(x, y) for x, y in shade[:, :2]])
        shade[:, 2] = np.where(self._above_table, game.surface.height, 0.0)
        self._shade, _ = camera.project(shade)
        self._flat = camera.position[2] / float(np.linalg.norm(camera.position))

    def middle(self, frame: int, offset: tuple[float, float]) -> tuple[float, float]:
        """The middle of the blurred ball, pixels."""
        x, y = self._ball[frame].mean(axis=0)
        return float(x) + offset[0], float(y) + offset[1]

    def paint(
        self,
        canvas: Canvas,
        frame: int,
        offset: tuple[float, float],
        net: Layer,
        table: Layer | None,
    ) -> None:
        """Paint shadows, players, net and ball over the scenery, the farthest first."""
        canvas.forget_ball()
        y = float(self._ball_world[frame, 1])
        for player in range(len(self._looks)):
            foot = self._feet[frame, player]
            scale = float(self._feet_scale[frame, player])
            paint_shadow(canvas, (foot[0] + offset[0], foot[1] + offset[1]), scale, self._flat, 0.3)
        if not self._above_table[frame]:
            self._paint_shade(canvas, frame, offset)
        beyond_table = y > 0 and not self._above_table[frame] and abs(y) > self._venue.game.half_length
        self._paint_side(
            canvas, frame, offset, far=True, ball=bool(y > 0 and (table is None or beyond_table))
        )
        if table is not None:
            canvas.layer(table.shifted(*offset))
            if self._above_table[frame]:
                self._paint_shade(canvas, frame, offset)
            if y > 0 and not beyond_table:
                self._paint_ball(canvas, frame, offset)
        canvas.layer(net.shifted(*offset))
        self._paint_side(canvas, frame, offset, far=False, ball=bool(y <= 0))

    def _paint_side(
        self, canvas: Canvas, frame: int, offset: tuple[float, float], far: bool, ball: bool
    ) -> None:
        """Paint the players of one side of the net, and the ball among them, by distance."""
        pelvis = self._depths[frame, :, Joint.PELVIS]
        items = [(float(pelvis[p]), int(p)) for p in np.flatnonzero(self._far_side[frame] == far)]
        if ball:
            items.append((float(self._ball_depth[frame]), -1))
        for depth, player in sorted(items, reverse=True):
            if player < 0:
                self._paint_ball(canvas, frame, offset)
                continue
            paint_player(
                canvas,
                self._joints[frame, :, player] + offset,
                self._depths[frame, player],
                float(self._venue.camera.focal / depth),
                self._looks[player],
                self._venue.game.racket,
            )

    def _paint_ball(self, canvas: Canvas, frame: int, offset: tuple[float, float]) -> None:
        light = min(1.02, 0.3 + 0.7 * self._venue.light)
        red, green, blue = self._venue.ball
        canvas.ball(
            self._ball[frame] + offset, self._radii[frame], (light * red, light * green, light * blue)
        )

    def _paint_shade(self, canvas: Canvas, frame: int, offset: tuple[float, float]) -> None:
        place, radius = self._shade[frame], float(self._radii[frame].mean())
        high = self._ball_world[frame, 2] - (
            self._venue.game.surface.height if self._above_table[frame] else 0
        )
        strength = 0.35 * math.exp(-max(0.0, high) / 2.0)
        if strength > 0.03:
            centre = (float(place[0]) + offset[0], float(place[1]) + offset[1])
            canvas.ellipse(
                centre, (radius + 0.5, (radius + 0.5) * self._flat + 0.5), (10.0, 12.0, 14.0), strength
            )


def plan_cuts(frames: int, fps: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    """When the broadcast leaves the court.

    Args:
        frames: Frames of the rally.
        fps: Frames per second.
        rng: Whether and when.

    Returns:
        First frame, and the frame after the last, of each view without a ball: about one in five seconds,
        0.4 to 0.9 s long, with at least half a second of play before and after.
    """
    cuts: list[tuple[int, int]] = []
    apart = max(1, round(fps / 2))
    frame = apart
    while True:
        frame += int(rng.exponential(3.5 * fps))
        length = max(1, round(float(rng.uniform(0.4, 0.9)) * fps))
        if frame + length + apart > frames:
            return cuts
        cuts.append((frame, frame + length))
        frame += length + 5 * apart


def _exposures(frames: int, fps: float, shutter: float, moments: int) -> Array:
    """The moments of each exposure, seconds, ``[frames, moments]``; a frame's time is their middle."""
    within = (np.arange(moments) + 0.5) / moments - 0.5
    times: Array = (np.arange(frames)[:, None] + shutter * within) / fps
    return times


def _children(seed: np.random.SeedSequence, count: int) -> list[np.random.SeedSequence]:
    """Independent seeds, the same ones however often they are asked for."""
    key = seed.spawn_key
    return [np.random.SeedSequence(seed.entropy, spawn_key=(*key, index)) for index in range(count)]


def _noise_bank(sigma: float, size: int, rng: np.random.Generator) -> Pixels:
    """Noise for any frame, to be read from a random place on; half a grey level is added for rounding."""
    noise = rng.standard_normal(size + 65536, dtype=np.float32)
    bank: Pixels = noise * np.float32(sigma) + np.float32(0.5)
    return bank
