"""Parts of a long video: the stretches around its labels, so that the rest is neither cached nor read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tracknet.data.background import evenly_spaced
from tracknet.data.frame_source import FrameSource, Stretch
from tracknet.errors import TrackNetError

WORTHWHILE = 0.75
"""Share of the frames up to which a source is cached in part; above it the whole costs little more."""


def stretches_around(labelled: np.ndarray, frames: int) -> tuple[Stretch, ...]:
    """Find the frames that windows with a labelled frame can hold.

    Every window of L frames with a label lies within L - 1 frames before and behind it. The margin is L - 1
    rounded up to a power of two, so that networks of similar length share what is cached.

    Args:
        labelled: Whether each frame is labelled, bool ``[N]``.
        frames: Frames per window, L.

    Returns:
        Stretches in rising order that do not touch; none without a label.

    Example:
        >>> stretches_around(np.array([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1], bool), frames=3)
        ((2, 7), (9, 12))
    """
    margin = 1 << (frames - 2).bit_length() if frames > 1 else 0
    stretches: list[Stretch] = []
    for frame in np.flatnonzero(labelled).tolist():
        first, stop = max(0, frame - margin), min(len(labelled), frame + margin + 1)
        if stretches and first <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], stop)
        else:
            stretches.append((first, stop))
    return tuple(stretches)


def length(stretches: Sequence[Stretch]) -> int:
    """Count the frames of some stretches."""
    return sum(stop - first for first, stop in stretches)


def used_stretches(labelled: np.ndarray, frames: int) -> tuple[Stretch, ...] | None:
    """Choose what is used of a source whose labels are sparse.

    Args:
        labelled: Whether each frame is labelled, bool ``[N]``.
        frames: Frames per window, L.

    Returns:
        The stretches of `stretches_around`, or None for the whole source where they are nearly all of it.
    """
    stretches = stretches_around(labelled, frames)
    return stretches if 0 < length(stretches) <= WORTHWHILE * len(labelled) else None


class Excerpt(FrameSource):
    """Some stretches of another source, one behind the other.

    A video is decoded from its start to the end of the last stretch, because labels lie too close together
    for seeking to pay; only the frames that are delivered are converted and resized.

    Args:
        source: Where the frames come from.
        stretches: Stretches in rising order, none of them empty.

    Attributes:
        stretches: As given.
    """

    def __init__(self, source: FrameSource, stretches: Sequence[Stretch]) -> None:
        self.source = source
        self.stretches = tuple(stretches)
        self.info = source.info

    @property
    def path(self) -> Path:  # type: ignore[override]
        """The file or folder of the whole source."""
        return self.source.path

    def frames(  # noqa: D102
        self,
        size: tuple[int, int] | None = None,
        threads: int | None = None,
        stretches: Sequence[Stretch] | None = None,
    ) -> Iterator[np.ndarray]:
        delivered = 0
        for frame in self.source.frames(size, threads, self.stretches if stretches is None else stretches):
            yield frame
            delivered += 1
        if stretches is None and delivered != self.count():
            raise TrackNetError(
                f"{self.path}: ends before frame {self.stretches[-1][1] - 1}, which its labels need; "
                "get the file again"
            )

    def files(self) -> list[Path]:  # noqa: D102
        return self.source.files()

    def count(self) -> int:  # noqa: D102
        return length(self.stretches)

    def estimate(self) -> int:  # noqa: D102
        return self.count()

    def sample(self, size: tuple[int, int] | None, samples: int) -> list[np.ndarray]:  # noqa: D102
        wanted = set(evenly_spaced(self.count(), samples))
        return [frame for number, frame in enumerate(self.frames(size)) if number in wanted]
