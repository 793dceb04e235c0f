"""Painting with soft edges: discs, limbs and layers, and what they leave to see of the ball."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Colour = tuple[float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True)
class Layer:
    """A piece of picture with an opacity, to be laid over a canvas.

    Attributes:
        top: Row of its first pixel.
        left: Column of its first pixel.
        opacity: 0 to 1, ``[h, w]``.
        colour: Red, green and blue, 0 to 255, ``[h, w, 3]`` or ``[3]`` for one colour throughout.
    """

    top: int
    left: int
    opacity: Pixels
    colour: Pixels

    def shifted(self, x: float, y: float) -> Layer:
        """The same layer moved by a distance in pixels, by bilinear interpolation."""
        if x == 0 and y == 0:
            return self
        whole_x, whole_y = int(np.floor(x)), int(np.floor(y))
        part_x, part_y = x - whole_x, y - whole_y
        opacity = blend_shift(np.pad(self.opacity, 1), part_x, part_y)
        colour = self.colour
        if colour.ndim == 3:
            colour = blend_shift(np.pad(colour, ((1, 1), (1, 1), (0, 0)), mode="edge"), part_x, part_y)
        return Layer(self.top + whole_y, self.left + whole_x, opacity, colour)


def blend_shift(pixels: Pixels, x: float, y: float) -> Pixels:
    """Move pixels right and down by shares of a pixel: ``[h, w, ...] -> [h - 1, w - 1, ...]``."""
    rows = pixels[1:]
    if y:
        rows = rows * np.float32(1 - y)
        rows += pixels[:-1] * np.float32(y)
    if not x:
        still: Pixels = rows[:, 1:]
        return still
    columns: Pixels = rows[:, 1:] * np.float32(1 - x)
    columns += rows[:, :-1] * np.float32(x)
    return columns


class Canvas:
    """A picture being painted from back to front.

    Once the ball is painted, the canvas keeps account of how much of it later strokes cover.

    Args:
        pixels: Picture to paint on, in place: float32 ``[H, W, 3]``, 0 to 255.
    """

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]
        self._columns = np.arange(self.width, dtype=np.float32)
        self._rows = np.arange(self.height, dtype=np.float32)[:, None]
        self._ball: tuple[int, int, Pixels] | None = None
        self._ball_total = 0.0

    def capsule(
        self,
        start: Point,
        end: Point,
        radius: float,
        colour: Colour,
        opacity: float = 1.0,
        soft: float = 1.0,
    ) -> None:
        """Paint a line with round ends: a limb, or a disc where both ends are one.

        Args:
            start: One end ``(x, y)``, pixels.
            end: The other end.
            radius: Half of its width, pixels.
            colour: What to paint it with.
            opacity: 0 to 1.
            soft: Width of its edge in pixels: 1 is sharp, more looks blurred.
        """
        reach = radius + soft / 2 + 1
        left = max(0, int(min(start[0], end[0]) - reach))
        top = max(0, int(min(start[1], end[1]) - reach))
        right = min(self.width, int(max(start[0], end[0]) + reach) + 2)
        bottom = min(self.height, int(max(start[1], end[1]) + reach) + 2)
        if left >= right or top >= bottom:
            return
        x = self._columns[left:right] - np.float32(start[0])
        y = self._rows[top:bottom] - np.float32(start[1])
        dx, dy = end[0] - start[0], end[1] - start[1]
        square = dx * dx + dy * dy
        if square > 0.01:
            along = x * np.float32(dx / square) + y * np.float32(dy / square)
            np.maximum(along, 0, out=along)
            np.minimum(along, 1, out=along)
            away_x, away_y = x - along * np.float32(dx), y - along * np.float32(dy)
            away = np.sqrt(away_x * away_x + away_y * away_y)
        else:
            away = np.sqrt(x * x + y * y)
        # A line thinner than a pixel is as faint as the share of the pixel that it covers.
        strength = opacity * min(1.0, 2 * radius)
        cover = (max(radius, 0.5) - away) * np.float32(1 / soft) + np.float32(0.5)
        np.maximum(cover, 0, out=cover)
        np.minimum(cover, 1, out=cover)
        if strength < 1:
            cover *= np.float32(strength)
        self.lay(top, left, cover, np.array(colour, dtype=np.float32))

    def sweep(
        self,
        starts: NDArray[np.float64],
        ends: NDArray[np.float64],
        radius: float,
        colour: Colour,
        rim: float | None = None,
    ) -> None:
        """Paint a line with round ends that moves while the shutter is open.

        Args:
            starts: One end at each moment, pixels, ``[moments, 2]``.
            ends: The other end, ``[moments, 2]``.
            radius: Half of its width, pixels.
            colour: What to paint it with.
            rim: Width of its outline; with it the inside is left nearly clear.
        """
        reach = radius + 2
        both = np.concatenate([starts, ends])
        left, top = np.maximum(0, np.floor(both.min(axis=0) - reach)).astype(int)
        right, bottom = np.ceil(both.max(axis=0) + reach).astype(int) + 1
        right, bottom = min(right, self.width), min(bottom, self.height)
        if left >= right or top >= bottom:
            return
        first, axis = starts.astype(np.float32), (ends - starts).astype(np.float32)
        square = np.maximum((axis * axis).sum(axis=1), np.float32(1e-3))
        x = self._columns[left:right] - first[:, 0, None, None]
        y = self._rows[top:bottom] - first[:, 1, None, None]
        dx, dy = axis[:, 0, None, None], axis[:, 1, None, None]
        along = np.clip((x * dx + y * dy) / square[:, None, None], 0, 1)
        away = np.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2)
        strength = min(1.0, 2 * radius)
        radius = max(radius, 0.5)
        cover = np.clip(radius - away + np.float32(0.5), 0, 1)
        if rim is not None:
            cover *= np.float32(0.15) + np.float32(0.85) * np.clip(
                away - radius + rim + np.float32(0.5), 0, 1
            )
        mean: Pixels = cover.mean(axis=0) * np.float32(strength)
        self.lay(int(top), int(left), mean, np.array(colour, dtype=np.float32))

    def ellipse(self, centre: Point, radii: Point, colour: Colour, opacity: float, soft: float = 0.5) -> None:
        """Paint an upright ellipse whose rim fades over the share ``soft`` of its radius: a shadow."""
        left, right = max(0, int(centre[0] - radii[0] * 1.5) - 1), int(centre[0] + radii[0] * 1.5) + 2
        top, bottom = max(0, int(centre[1] - radii[1] * 1.5) - 1), int(centre[1] + radii[1] * 1.5) + 2
        right, bottom = min(right, self.width), min(bottom, self.height)
        if left >= right or top >= bottom:
            return
        x = (self._columns[left:right] - np.float32(centre[0])) * np.float32(1 / radii[0])
        y = (self._rows[top:bottom] - np.float32(centre[1])) * np.float32(1 / radii[1])
        cover = (1 - np.sqrt(x * x + y * y)) * np.float32(1 / soft) + np.float32(0.5)
        np.maximum(cover, 0, out=cover)
        np.minimum(cover, 1, out=cover)
        self.lay(top, left, cover * np.float32(opacity), np.array(colour, dtype=np.float32))

    def layer(self, layer: Layer) -> None:
        """Lay a layer over the picture; what lies outside is cut off."""
        height, width = layer.opacity.shape
        top, left = max(0, layer.top), max(0, layer.left)
        bottom, right = min(self.height, layer.top + height), min(self.width, layer.left + width)
        if left >= right or top >= bottom:
            return
        part = np.s_[top - layer.top : bottom - layer.top, left - layer.left : right - layer.left]
        self.lay(
            top, left, layer.opacity[part], layer.colour if layer.colour.ndim == 1 else layer.colour[part]
        )

    def lay(self, top: int, left: int, opacity: Pixels, colour: Pixels) -> None:
        """Blend a colour into a block that lies within the picture."""
        height, width = opacity.shape
        block = self.pixels[top : top + height, left : left + width]
        block += opacity[:, :, None] * (colour - block)
        if self._ball is not None:
            self._hide(top, left, opacity)

    def ball(self, centres: NDArray[np.float64], radii: NDArray[np.float64], colour: Colour) -> None:
        """Paint the ball as it moves while the shutter is open.

        Args:
            centres: Where it is at each moment, pixels, ``[moments, 2]``.
            radii: Its radius at each moment, ``[moments]``.
            colour: What to paint it with.
        """
        self.forget_ball()
        reach = float(radii.max()) + 1
        left, top = np.floor(centres.min(axis=0) - reach).astype(int)
        right, bottom = np.ceil(centres.max(axis=0) + reach).astype(int) + 1
        if right - left > 4 * self.width or bottom - top > 4 * self.height:
            return
        x = np.arange(left, right, dtype=np.float32)[None, None, :] - centres[:, 0, None, None].astype(
            np.float32
        )
        y = np.arange(top, bottom, dtype=np.float32)[None, :, None] - centres[:, 1, None, None].astype(
            np.float32
        )
        cover = radii[:, None, None].astype(np.float32) + np.float32(0.5) - np.sqrt(x * x + y * y)
        np.maximum(cover, 0, out=cover)
        np.minimum(cover, 1, out=cover)
        weight: Pixels = cover.mean(axis=0)
        self._ball_total = float(weight.sum())
        cut = np.s_[max(0, -top) : max(0, self.height - top), max(0, -left) : max(0, self.width - left)]
        weight = weight[cut].copy()
        if weight.size == 0:
            return
        self.lay(max(0, top), max(0, left), weight, np.array(colour, dtype=np.float32))
        self._ball = (max(0, top), max(0, left), weight)

    def forget_ball(self) -> None:
        """Begin a picture without a ball."""
        self._ball, self._ball_total = None, 0.0

    @property
    def ball_shown(self) -> float:
        """Share of the blurred ball that lies in the picture and is not painted over, 0 to 1."""
        if self._ball is None or not self._ball_total:
            return 0.0
        return float(self._ball[2].sum()) / self._ball_total

    def _hide(self, top: int, left: int, opacity: Pixels) -> None:
        """Take what a stroke covers away from the ball."""
        assert self._ball is not None
        ball_top, ball_left, weight = self._ball
        first_row, first_column = max(top, ball_top), max(left, ball_left)
        last_row = min(top + opacity.shape[0], ball_top + weight.shape[0])
        last_column = min(left + opacity.shape[1], ball_left + weight.shape[1])
        if first_row >= last_row or first_column >= last_column:
            return
        weight[
            first_row - ball_top : last_row - ball_top, first_column - ball_left : last_column - ball_left
        ] *= 1 - opacity[first_row - top : last_row - top, first_column - left : last_column - left]
