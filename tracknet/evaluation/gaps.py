"""Gaps of a trajectory, and the simple curves through them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

MAX_GAP = 10
"""Longest gap that is filled unless told otherwise, in frames.

Up to there the learned curve is right (4 px at 288x512) in three of four frames of a match it has never
seen, the cubic in two of three; at 15 frames both are right in about half
(``benchmarks/results/rectification.md``).
"""

NEAR = 4
"""Frames on each side of a gap that the curves look at, for the positions and the speeds there."""


def find_gaps(visible: np.ndarray) -> list[tuple[int, int]]:
    """Find the stretches without a ball between two frames with one.

    Args:
        visible: Whether there is a ball, bool ``[N]``.

    Returns:
        First frame, and the frame after the last, of each gap. What lies before the first ball or after the
        last is no gap: nothing tells where it leads.

    Example:
        >>> find_gaps(np.array([0, 1, 0, 0, 1, 0], bool))
        [(2, 4)]
    """
    seen = np.flatnonzero(visible)
    return [(int(a) + 1, int(b)) for a, b in pairwise(seen) if b - a > 1]


def linear_curve(xy: np.ndarray, visible: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Go straight and at constant speed from the ball before a gap to the ball after it.

    Args:
        xy: Positions, ``[N, 2]``.
        visible: Whether there is a ball, bool ``[N]``; it is in the frames before and after the gap.
        start: First frame of the gap.
        stop: The frame after its last.

    Returns:
        Positions in the gap, float64 ``[stop - start, 2]``.

    Example:
        >>> seen = np.array([True, False, True])
        >>> linear_curve(np.array([[0, 0], [9, 9], [4, 8]]), seen, 1, 2).tolist()
        [[2.0, 4.0]]
    """
    return _through([start - 1, stop], xy, np.arange(start, stop))


def acceleration_curve(xy: np.ndarray, visible: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Go with constant acceleration from the ball before a gap to the ball after it.

    The parabola goes through both; its acceleration comes nearest to the next ball on each side, by least
    squares. Without one within `NEAR` frames on either side the curve is `linear_curve`.

    Args:
        xy: As in `linear_curve`.
        visible: As in `linear_curve`.
        start: As in `linear_curve`.
        stop: As in `linear_curve`.

    Returns:
        As in `linear_curve`.
    """
    ends = [start - 1, stop]
    frames = np.arange(start, stop)
    outer = np.array([frame for frame in _second(visible, start, stop) if frame is not None], int)
    line = _through(ends, xy, frames)
    if not len(outer):
        return line
    bend = _bend(outer, start, stop)
    off = np.asarray(xy[outer], np.float64) - _through(ends, xy, outer)
    curve: np.ndarray = line + _bend(frames, start, stop) * (bend * off).sum(axis=0) / (bend**2).sum()
    return curve


def cubic_curve(xy: np.ndarray, visible: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Go along the cubic through the two balls before a gap and the two after it.

    Its acceleration changes evenly, as drag makes it do. Without a second ball within `NEAR` frames on both
    sides the curve is `acceleration_curve`.

    Args:
        xy: As in `linear_curve`.
        visible: As in `linear_curve`.
        start: As in `linear_curve`.
        stop: As in `linear_curve`.

    Returns:
        As in `linear_curve`.
    """
    before, after = _second(visible, start, stop)
    if before is None or after is None:
        return acceleration_curve(xy, visible, start, stop)
    return _through([before, start - 1, stop, after], xy, np.arange(start, stop))


def _second(visible: np.ndarray, start: int, stop: int) -> tuple[int | None, int | None]:
    """Find the second ball before and after a gap, among the `NEAR` frames there."""
    low = max(start - NEAR, 0)
    before = low + np.flatnonzero(visible[low : start - 1])
    after = stop + 1 + np.flatnonzero(visible[stop + 1 : stop + NEAR])
    return int(before[-1]) if len(before) else None, int(after[0]) if len(after) else None


def _bend(frames: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Give the parabola that is 0 at both ends of a gap, ``[K, 1]``."""
    bend: np.ndarray = ((frames - (start - 1.0)) * (frames - float(stop)))[:, None]
    return bend


def _through(nodes: list[int], xy: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Give the polynomial through the positions in some frames, by Lagrange: exact, also for long gaps."""
    curve = np.zeros((len(frames), 2))
    for node in nodes:
        weight = np.ones(len(frames))
        for other in nodes:
            if other != node:
                weight *= (frames - other) / (node - other)
        curve += weight[:, None] * np.asarray(xy[node], np.float64)
    return curve
