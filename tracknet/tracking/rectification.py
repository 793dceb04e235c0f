"""Filling the gaps of a trajectory: which gaps, by which curve, on a stream of rows or on a whole one."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveInt

from tracknet.errors import TrackNetError
from tracknet.evaluation.gaps import MAX_GAP, NEAR, acceleration_curve, cubic_curve, find_gaps, linear_curve
from tracknet.models.inpaintnet import TrajectoryNetwork
from tracknet.tracking.trajectory import TrajectoryRow

TOP = 0.05
"""Share of the height at the top of the picture: a ball that is lost or found there was above the picture."""


class GapFill(Protocol):
    """A way to fill one gap.

    Attributes:
        context: Frames on each side of a gap that it looks at.
    """

    context: int

    def curve(
        self, xy: np.ndarray, visible: np.ndarray, start: int, stop: int, size: tuple[int, int]
    ) -> np.ndarray:
        """Say where the ball is in a gap.

        Args:
            xy: Positions in pixels of the source, ``[N, 2]``.
            visible: Whether there is a ball, bool ``[N]``; it is in the frames before and after the gap.
            start: First frame of the gap.
            stop: The frame after its last.
            size: Height and width of the source.

        Returns:
            Positions in the gap, ``[stop - start, 2]``.
        """


class LinearFill:
    """Fills a gap along a straight line, at constant speed."""

    context = 1

    def curve(
        self, xy: np.ndarray, visible: np.ndarray, start: int, stop: int, size: tuple[int, int]
    ) -> np.ndarray:
        """Say where the ball is in a gap, see `GapFill.curve`."""
        return linear_curve(xy, visible, start, stop)


class AccelerationFill:
    """Fills a gap with constant acceleration, see `acceleration_curve`."""

    context = NEAR

    def curve(
        self, xy: np.ndarray, visible: np.ndarray, start: int, stop: int, size: tuple[int, int]
    ) -> np.ndarray:
        """Say where the ball is in a gap, see `GapFill.curve`."""
        return acceleration_curve(xy, visible, start, stop)


class CubicFill:
    """Fills a gap along a cubic, see `cubic_curve`."""

    context = NEAR

    def curve(
        self, xy: np.ndarray, visible: np.ndarray, start: int, stop: int, size: tuple[int, int]
    ) -> np.ndarray:
        """Say where the ball is in a gap, see `GapFill.curve`."""
        return cubic_curve(xy, visible, start, stop)


class LearnedFill:
    """Fills a gap by a network that has learned from real rallies.

    Args:
        network: The network, in evaluation mode, on the CPU.
    """

    def __init__(self, network: TrajectoryNetwork) -> None:
        self.network = network
        self.context = network.context

    @torch.inference_mode()
    def curve(
        self, xy: np.ndarray, visible: np.ndarray, start: int, stop: int, size: tuple[int, int]
    ) -> np.ndarray:
        """Say where the ball is in a gap, see `GapFill.curve`."""
        low, high = max(start - self.context, 0), min(stop + self.context, len(visible))
        scale = np.array([size[1], size[0]], np.float64)
        mask = torch.zeros(1, high - low, dtype=torch.bool)
        mask[:, start - low : stop - low] = True
        filled = self.network(
            torch.from_numpy((xy[low:high] / scale).astype(np.float32))[None],
            torch.from_numpy(np.array(visible[low:high], bool))[None],
            mask,
        )
        curve: np.ndarray = filled[0, start - low : stop - low].double().numpy() * scale
        return curve


def fill_gaps(
    xy: np.ndarray,
    visible: np.ndarray,
    method: GapFill,
    size: tuple[int, int],
    max_gap: PositiveInt = MAX_GAP,
    top: ClosedUnitInterval = TOP,
) -> tuple[np.ndarray, np.ndarray]:
    """Fill the gaps of a whole trajectory.

    A gap lies between two frames with a ball. It is left empty if it is longer than ``max_gap``, or if the
    ball is lost or found at the top of the picture, where it may have been above (TrackNetV3). Frames in
    which the curve leaves the picture stay empty too.

    Args:
        xy: Positions in pixels of the source, ``[N, 2]``.
        visible: Whether there is a ball, bool ``[N]``.
        method: How a gap is filled.
        size: Height and width of the source.
        max_gap: Longest gap that is filled, in frames.
        top: Share of the height that counts as the top of the picture.

    Returns:
        Positions, float64 ``[N, 2]``, those of frames with a ball as they were, and which frames are filled,
        bool ``[N]``.
    """
    positions = np.array(xy, np.float64)
    filled = np.zeros(len(visible), bool)
    for start, stop in find_gaps(visible):
        if stop - start <= max_gap:
            low, high = max(start - method.context, 0), stop + method.context
            window = slice(low, high)
            curve, inside = _fill(xy[window], visible[window], start - low, stop - low, method, size, top)
            positions[start:stop][inside] = curve[inside]
            filled[start:stop] = inside
    return positions, filled


def fill_known(
    frames: Sequence[int],
    xy: np.ndarray,
    visible: np.ndarray,
    method: GapFill,
    size: tuple[int, int],
    max_gap: PositiveInt = MAX_GAP,
) -> tuple[np.ndarray, np.ndarray]:
    """Fill the gaps of a trajectory of which not all frames are known; unknown ones lengthen a gap.

    Args:
        frames: Numbers of the frames that are known, rising, N of them.
        xy: As in `fill_gaps`, of these frames.
        visible: As in `fill_gaps`, of these frames.
        method: As in `fill_gaps`.
        size: As in `fill_gaps`.
        max_gap: As in `fill_gaps`.

    Returns:
        What `fill_gaps` gives, of these frames.
    """
    places, seen = np.zeros((frames[-1] + 1, 2)), np.zeros(frames[-1] + 1, bool)
    places[frames], seen[frames] = xy, visible
    positions, filled = fill_gaps(places, seen, method, size, max_gap)
    return positions[frames], filled[frames]


def rectify(
    rows: Iterable[TrajectoryRow],
    method: GapFill,
    size: tuple[int, int],
    max_gap: PositiveInt = MAX_GAP,
    top: ClosedUnitInterval = TOP,
) -> Generator[TrajectoryRow, None, None]:
    """Fill the gaps of a trajectory while it is made, in constant memory.

    Rows are held back until ``max_gap`` and the context of the method lie ahead of them. When the rows end
    early (Ctrl-C, or a `TrackNetError` in the middle of a video), those held back are given out first.

    Args:
        rows: One row a frame, in order.
        method: As in `fill_gaps`.
        size: As in `fill_gaps`.
        max_gap: As in `fill_gaps`.
        top: As in `fill_gaps`.

    Yields:
        The same rows in the same order, those of filled frames with a ball and marked as filled; exactly what
        `fill_gaps` gives for the whole trajectory.
    """
    source = iter(rows)
    failure: KeyboardInterrupt | TrackNetError | None = None
    before: deque[TrajectoryRow] = deque(maxlen=method.context)
    held: deque[TrajectoryRow] = deque()
    while True:
        try:
            # A gap of the full length and, from the ball after it on, what the method looks at.
            held.extend(islice(source, max_gap + method.context - len(held)))
        except (KeyboardInterrupt, TrackNetError) as reason:
            failure, source = reason, iter(())
        if not held:
            break
        gap = _gap(before, held)
        filled: dict[int, tuple[float, float]] = {}
        if 0 < gap <= max_gap:
            window = [*before, *islice(held, gap + method.context)]
            xy = np.array([(row.x, row.y) for row in window], np.float64)
            visible = np.array([row.visible for row in window])
            start = len(before)
            curve, inside = _fill(xy, visible, start, start + gap, method, size, top)
            filled = {n: (float(curve[n, 0]), float(curve[n, 1])) for n in np.flatnonzero(inside).tolist()}
        for n in range(gap or 1):
            row = held.popleft()
            before.append(row)
            if n in filled:
                row = row._replace(visible=True, x=filled[n][0], y=filled[n][1], filled=True)
            yield row
    if failure is not None:
        raise failure


def _gap(before: deque[TrajectoryRow], held: deque[TrajectoryRow]) -> int:
    """Count the frames of the gap that the held rows begin with; 0 without one, or without its end."""
    if not before or not before[-1].visible:
        return 0
    return next((n for n, row in enumerate(held) if row.visible), 0)


def _fill(
    xy: np.ndarray,
    visible: np.ndarray,
    start: int,
    stop: int,
    method: GapFill,
    size: tuple[int, int],
    top: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Give the curve through a gap, and for which of its frames it counts."""
    if min(xy[start - 1, 1], xy[stop, 1]) <= top * size[0]:
        return np.zeros((stop - start, 2)), np.zeros(stop - start, bool)
    curve = method.curve(xy, visible, start, stop, size)
    # The middle of a pixel is its coordinate, so that the picture begins half a pixel before 0.
    within = (curve >= -0.5) & (curve <= np.array([size[1], size[0]]) - 0.5)
    return curve, within[:, 0] & within[:, 1]
