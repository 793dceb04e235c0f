"""All that may be a ball in one frame, and who chooses among it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
from jsonargparse.typing import ClosedUnitInterval, PositiveFloat
from numpy.typing import NDArray

from tracknet.tracking.trajectory import TrajectoryRow


class Sighting(NamedTuple):
    """All that may be a ball in one frame.

    Attributes:
        frame: Number of the frame.
        xy: Positions in pixels of the source, ``[K, 2]``.
        confidence: Confidences, ``[K]``.
        highest: That of the highest cell, whether or not it is a candidate.
    """

    frame: int
    xy: NDArray[np.float64]
    confidence: NDArray[np.float64]
    highest: float


class CandidateTracker(Protocol):
    """Chooses one candidate of each frame, or none."""

    def least(self, threshold: ClosedUnitInterval) -> float | None:
        """Give the confidence from which something is a candidate.

        Args:
            threshold: Confidence from which a ball counts as visible.

        Returns:
            That confidence, at most the threshold; None for the threshold of the decoder.
        """

    def follow(
        self,
        sightings: Iterable[Sighting],
        size: tuple[int, int],
        fps: PositiveFloat,
        threshold: ClosedUnitInterval,
    ) -> Iterator[tuple[Sighting, int | None]]:
        """Choose among the candidates of each frame.

        Args:
            sightings: Those of consecutive frames.
            size: Height and width of the source.
            fps: Frames a second of the source.
            threshold: Confidence from which a ball counts as visible where nothing else is known.

        Yields:
            Each sighting, and the index of its candidate, or None for no ball. Should the sightings end in an
            error or in Ctrl-C, those before it are judged first.
        """


def row_of(sighting: Sighting, choice: int | None) -> TrajectoryRow:
    """Make a row of what was chosen in a frame.

    Args:
        sighting: The candidates.
        choice: Index of one, or None.

    Returns:
        The row, with the confidence of the chosen candidate, or that of the highest cell.
    """
    if choice is None:
        return no_ball(sighting.frame, sighting.highest)
    x, y = sighting.xy[choice].tolist()
    return TrajectoryRow(sighting.frame, True, x, y, float(sighting.confidence[choice]))


def no_ball(frame: int, confidence: ClosedUnitInterval) -> TrajectoryRow:
    """Make the row of a frame without a ball.

    Args:
        frame: Number of the frame.
        confidence: Confidence that there is one all the same.
    """
    return TrajectoryRow(frame, False, 0.0, 0.0, confidence)
