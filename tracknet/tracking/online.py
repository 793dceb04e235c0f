"""Following one ball among several candidates, frame by frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from jsonargparse.typing import ClosedUnitInterval, PositiveFloat

from tracknet.tracking.sightings import Sighting

REFERENCE_HEIGHT = 720
"""Height of the videos in whose pixels a jump is measured: those of the tennis and badminton data sets."""
MAX_JUMP = 300.0
"""Furthest way of a ball from one frame to the next, in such pixels: 450 px at 1080."""


class OnlineTracker:
    """Keeps in each frame the candidate that goes on with the flight (the online tracker of WASB).

    After a frame with a ball, candidates further than `max_jump` from it are out. After three frames with a
    ball, the candidate nearest to where constant acceleration leads is kept, ``3 p1 - 3 p2 + p3`` with p1 the
    newest; before that, and after a frame without a ball, the decoder's own choice among those left.

    It sees no frame after the one that it is asked about, so that it also serves live streams.

    Args:
        max_jump: Furthest way of a ball from one frame to the next, in pixels of a picture 720 high; it grows
            with the height of the video (450 px at 1080).

    Example:
        >>> tracker = OnlineTracker()
        >>> for frame in range(3):  # 10 px a frame to the right
        ...     _ = tracker.choose(frame, np.array([[10.0 * frame, 5.0]]), height=720)
        >>> tracker.choose(3, np.array([[200.0, 5.0], [31.0, 5.0]]), height=720)
        1
    """

    def __init__(self, max_jump: PositiveFloat = MAX_JUMP) -> None:
        self.max_jump = max_jump
        self._flight: deque[np.ndarray] = deque(maxlen=3)
        self._next = 0

    def least(self, threshold: ClosedUnitInterval) -> None:
        """Leave it to the decoder what is a candidate, see `CandidateTracker.least`."""
        return

    def follow(
        self,
        sightings: Iterable[Sighting],
        size: tuple[int, int],
        fps: PositiveFloat,
        threshold: ClosedUnitInterval,
    ) -> Iterator[tuple[Sighting, int | None]]:
        """Choose among the candidates of each frame, anew, see `CandidateTracker.follow`."""
        self._flight.clear()
        for sighting in sightings:
            yield self.judge(sighting, size[0])

    def judge(self, sighting: Sighting, height: int) -> tuple[Sighting, int | None]:
        """Choose among the candidates of one frame, see `choose`.

        Args:
            sighting: The frame.
            height: Height of the source in pixels.

        Returns:
            What was seen, the confidence 0 where all candidates are out of reach, and the index of the one
            that is kept, or None.
        """
        choice = self.choose(sighting.frame, sighting.xy, height)
        out_of_reach = choice is None and len(sighting.xy)
        return sighting._replace(highest=0.0) if out_of_reach else sighting, choice

    def choose(self, frame: int, candidates: np.ndarray, height: int) -> int | None:
        """Choose among the candidates of one frame, and remember it.

        Args:
            frame: Number of the frame, above that of the call before; where frames are left out between, the
                flight begins anew, and at frame 0 too.
            candidates: Positions ``(x, y)`` in pixels of the source, ``[K, 2]``, the decoder's choice first.
            height: Height of the source in pixels.

        Returns:
            Index of the candidate, None when there is none within reach.
        """
        if frame != self._next:
            self._flight.clear()
        self._next = frame + 1
        if len(candidates) and self._flight:
            jump = np.linalg.norm(candidates - self._flight[-1], axis=1)
            within = np.flatnonzero(jump < self.max_jump * height / REFERENCE_HEIGHT)
        else:
            within = np.arange(len(candidates))
        if not len(within):
            self._flight.clear()
            return None
        best = int(within[0])
        if len(self._flight) == 3:
            third, second, first = self._flight
            ahead = 3 * first - 3 * second + third
            best = int(within[np.linalg.norm(candidates[within] - ahead, axis=1).argmin()])
        self._flight.append(np.asarray(candidates[best], dtype=np.float64))
        return best
