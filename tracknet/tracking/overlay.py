"""A video of what was found: a ring at the ball (dashed where it was filled in), its trail, and a caption."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import matplotlib
import numpy as np
from jsonargparse.typing import NonNegativeInt
from PIL import Image, ImageDraw, ImageFont

from tracknet.data.faults import plural
from tracknet.data.progress import track_progress
from tracknet.data.video import FrameSource, VideoWriter
from tracknet.errors import TrackNetError
from tracknet.tracking.trajectory import TrajectoryRow

COLOUR = (255, 60, 220)
"""RGB of ring and trail: magenta is rare on courts, shirts and balls."""

OUTLINE = (20, 0, 20)
"""RGB around them, so that they stand out from bright backgrounds too."""

COMMENT = "overlay of tracknet track"
"""What an overlay says of itself, so that nothing else is written over."""

Point = tuple[float, float]


def render_overlay(
    source: FrameSource,
    rows: Iterable[TrajectoryRow],
    path: Path,
    trail: NonNegativeInt = 12,
    progress: bool = True,
) -> None:
    """Write the video with its trajectory drawn in, in one pass and constant memory.

    Args:
        source: The video.
        rows: Its trajectory, one row a frame.
        path: The video to write: H.264, size, shape of the pixels and times of the source.
        trail: Frames before the current one whose positions are drawn; 0 for the ring alone.
        progress: Show frames per second and the time left.

    Raises:
        TrackNetError: The trajectory has more or fewer rows than the video has frames, or the video cannot be
            read or written; there is no new file then.
    """
    size = (source.info.height, source.info.width)
    pen = BallPen(size)
    past: deque[Point | None] = deque(maxlen=trail + 1)
    with (
        track_progress(source.info.frames, "frames", "overlay", shown=progress) as bar,
        VideoWriter(path, size, source.info.fps, comment=COMMENT, pixel=source.info.pixel) as video,
    ):
        for number, (timed, row) in enumerate(zip_longest(source.timed_frames(), rows)):
            if timed is None or row is None:
                longer, shorter = ("trajectory", "video") if timed is None else ("video", "trajectory")
                raise TrackNetError(
                    f"{source.path}: the {longer} goes on where the {shorter} ends, after "
                    f"{plural(number, 'frame')}; was the trajectory made from this video?"
                )
            past.append((row.x, row.y) if row.visible else None)
            second, frame = timed
            drawn = frame.copy()
            pen.draw(drawn, list(past), row)
            video.write(drawn, second)
            bar.advance()


class BallPen:
    """Draws anti-aliased marks into frames.

    Args:
        size: Height and width of the frames; the marks grow with the height.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        unit = max(1.0, size[0] / 720)
        self._radius, self._width, self._outline = 11 * unit, 2.5 * unit, 1.5 * unit
        # The font that matplotlib carries is there whatever the system and the version of Pillow.
        font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf"
        self._font = ImageFont.truetype(str(font), round(15 * unit))
        self._margin = round(8 * unit)

    def draw(self, frame: np.ndarray, past: Sequence[Point | None], row: TrajectoryRow) -> None:
        """Draw ring, trail and caption.

        Args:
            frame: RGB, uint8 ``[height, width, 3]``; changed in place, at the marks only.
            past: Positions ``(x, y)`` in the frames up to this one, oldest first; None without a ball.
            row: This frame.
        """
        ball = past[-1]
        trail = self._trail(past)
        ring = _Stroke(ball, ball, self._width, self._radius) if ball else None
        strokes = [*trail, ring] if ring else trail
        ink = _Ink(strokes, self._outline, (frame.shape[0], frame.shape[1]))
        for stroke in trail:
            ink.add(stroke)
        if ring:
            # The trail stops at the ring, so that the ball itself stays in sight.
            ink.clear_inside(ring)
            for stroke in _dashes(ring) if row.filled else [ring]:
                ink.add(stroke)
        ink.blend(frame)
        self._caption(frame, row)

    def _trail(self, past: Sequence[Point | None]) -> list[_Stroke]:
        """Give the strokes of the trail: thinner and fainter with age, broken where there was no ball."""
        strokes = []
        for k, end in enumerate(past):
            if end:
                share = (k + 1) / len(past)
                start = (past[k - 1] if k else None) or end
                strokes.append(_Stroke(start, end, self._width * (0.4 + share), strength=share))
        return strokes

    def _caption(self, frame: np.ndarray, row: TrajectoryRow) -> None:
        found = " filled" if row.filled else "   ball" if row.visible else "no ball"
        text = f"frame {row.frame:>6}   {found} {row.confidence:.2f}"
        left, top, right, bottom = self._font.getbbox(text)
        pad = self._margin // 2
        label = Image.new("L", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad))
        ImageDraw.Draw(label).text((pad - left, pad - top), text, fill=255, font=self._font)
        corner = frame[self._margin : self._margin + label.height, self._margin : self._margin + label.width]
        letters = np.asarray(label, np.float32)[: corner.shape[0], : corner.shape[1], None] / 255
        corner[:] = (0.35 * corner * (1 - letters) + 255 * letters).round()


@dataclass(frozen=True)
class _Stroke:
    """A line, or, with a radius, a circle.

    Attributes:
        start: Where the line begins, ``(x, y)``, or the centre.
        end: Where it ends; the start itself for a dot or a circle.
        width: Width in pixels, without the outline.
        radius: Radius of the circle; 0 for a line.
        strength: Opacity in 0..1.
    """

    start: Point
    end: Point
    width: float
    radius: float = 0.0
    strength: float = 1.0


def _dashes(circle: _Stroke, number: int = 8) -> list[_Stroke]:
    """Give the circle as short lines, half of it open."""
    (x, y), step = circle.start, math.tau / number
    ends = [
        [
            (x + circle.radius * math.cos(angle), y + circle.radius * math.sin(angle))
            for angle in (step * (n - 0.2), step * (n + 0.2))
        ]
        for n in range(number)
    ]
    return [_Stroke(start, end, circle.width) for start, end in ends]


@dataclass(frozen=True)
class _Box:
    """Rows ``top:bottom`` and columns ``left:right`` of a frame; empty where both ends are equal."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def around(cls, strokes: Sequence[_Stroke], outline: float, size: tuple[int, int]) -> _Box:
        """Give the smallest box that holds some strokes, cut off at the border of the frame."""
        ends = []
        for axis, length in ((1, size[0]), (0, size[1])):
            for side, sign in ((min, -1), (max, 1)):
                edge = side(
                    (
                        side(s.start[axis], s.end[axis]) + sign * (s.radius + s.width / 2 + outline + 1)
                        for s in strokes
                    ),
                    default=0.0,
                )
                ends.append(min(max(math.floor(edge) + (sign > 0), 0), length))
        return cls(*ends)


class _Ink:
    """How much of the outline's and of the trail's colour lies on each pixel of a box, in 0..1.

    Where strokes overlap the greatest coverage counts, so that joints are no darker than the line.
    """

    def __init__(self, strokes: Sequence[_Stroke], outline: float, size: tuple[int, int]) -> None:
        self._box = _Box.around(strokes, outline, size)
        self._outline = outline
        self._size = size
        box = self._box
        self._coverage = np.zeros((2, box.bottom - box.top, box.right - box.left), np.float32)

    def add(self, stroke: _Stroke) -> None:
        """Lay a stroke on."""
        coverage, distance = self._near(stroke)
        distance = np.abs(distance - stroke.radius)
        for layer, outline in zip(coverage, (self._outline, 0.0), strict=True):
            edge = stroke.width / 2 + outline + 0.5
            np.maximum(layer, stroke.strength * (edge - distance).clip(0, 1), out=layer)

    def clear_inside(self, circle: _Stroke) -> None:
        """Take away what lies within a circle."""
        coverage, distance = self._near(circle)
        coverage *= (distance - circle.radius + 0.5).clip(0, 1)

    def blend(self, frame: np.ndarray) -> None:
        """Colour the frame, in place."""
        rows, columns = np.nonzero(self._coverage[0])
        place = (rows + self._box.top, columns + self._box.left)
        pixels = frame[place].astype(np.float32)
        for layer, colour in zip(self._coverage, (OUTLINE, COLOUR), strict=True):
            pixels += (np.asarray(colour, np.float32) - pixels) * layer[rows, columns, None]
        frame[place] = pixels.round()

    def _near(self, stroke: _Stroke) -> tuple[np.ndarray, np.ndarray]:
        """Give the coverage around a stroke, to be changed in place, and the distance from its line."""
        box = _Box.around([stroke], self._outline, self._size)
        part = self._coverage[
            :,
            box.top - self._box.top : box.bottom - self._box.top,
            box.left - self._box.left : box.right - self._box.left,
        ]
        (x, y), (dx, dy) = stroke.start, (stroke.end[0] - stroke.start[0], stroke.end[1] - stroke.start[1])
        right = np.arange(box.left, box.right, dtype=np.float32)[None, :] - np.float32(x)
        down = np.arange(box.top, box.bottom, dtype=np.float32)[:, None] - np.float32(y)
        if dx or dy:
            along = ((right * dx + down * dy) / (dx * dx + dy * dy)).clip(0, 1)
            return part, np.hypot(right - along * dx, down - along * dy)
        return part, np.hypot(right, down)
