"""What frames come from, a video or a folder of images: what all sources have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

FALLBACK_FPS = 30.0

Stretch = tuple[int, int]
"""Consecutive frames: the number of the first, and that behind the last."""


@dataclass(frozen=True)
class VideoInfo:
    """What a source says about itself.

    Attributes:
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
        fps: Frames per second; 30 where the source does not tell.
        frames: Number of frames: exact for an image folder, the container's claim for a video (often, not
            always, right), None where it makes none.
        pixel: Width of a pixel as players show it, divided by its height; 1 for square ones.
    """

    width: int
    height: int
    fps: float
    frames: int | None
    pixel: Fraction = Fraction(1)


class FrameSource(ABC):
    """A sequence of frames that can be read from its start any number of times.

    Holds no open file: a source can be sent to another process.

    Attributes:
        path: The video file or the image folder.
        info: Size, speed and claimed length.
    """

    path: Path
    info: VideoInfo

    @abstractmethod
    def frames(
        self,
        size: tuple[int, int] | None = None,
        threads: int | None = None,
        stretches: Sequence[Stretch] | None = None,
    ) -> Iterator[np.ndarray]:
        """Decode frames in the order in which they are shown, each exactly once, in constant memory.

        Args:
            size: ``(height, width)`` to resize to by area averaging; None keeps the source's size.
            threads: Threads of the decoder; None lets it choose.
            stretches: Frames to deliver, in rising order and without overlap; None delivers all.

        Yields:
            RGB frames, uint8 ``[height, width, 3]``.

        Raises:
            TrackNetError: A frame cannot be decoded; the message names the file and the frame.
        """

    def timed_frames(self) -> Iterator[tuple[float | None, np.ndarray]]:
        """Decode all frames as :meth:`frames` does, each with the second at which players show it.

        Yields:
            The second, counted from wherever the source begins to count, or None where it does not tell; and
            the frame.
        """
        return ((number / self.info.fps, frame) for number, frame in enumerate(self.frames()))

    @abstractmethod
    def files(self) -> list[Path]:
        """List the files whose content is the source, in the order of the frames."""

    @abstractmethod
    def count(self) -> int:
        """Count the frames that :meth:`frames` delivers."""

    def estimate(self) -> int:
        """Guess the number of frames at no cost; 0 when there is nothing to go by."""
        return self.info.frames or 0

    @abstractmethod
    def sample(self, size: tuple[int, int] | None, samples: int) -> list[np.ndarray]:
        """Read frames spread evenly over the source, in constant memory.

        A video of more than 3000 frames is not decoded whole: the keyframes before evenly spaced times are
        taken, provided that at least ``samples / 2`` different ones are found.

        Args:
            size: ``(height, width)`` to resize to; None keeps the source's size.
            samples: Number of frames wanted, at least 1.

        Returns:
            At most that many, in rising order, each as `frames` gives it.

        Raises:
            TrackNetError: A frame cannot be decoded.
        """


class FrameResizer:
    """Turns decoded pictures into RGB arrays; keeps the scaler's tables from one frame to the next.

    Args:
        size: Height and width of the arrays.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        # Here: the help of `track` imports this file, and needs no PyAV.
        from av.video.reformatter import VideoReformatter

        self._height, self._width = size
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Any) -> np.ndarray:
        """Give a frame of PyAV as RGB, uint8 ``[height, width, 3]``."""
        picture = self._reformatter.reformat(
            frame, self._width, self._height, format="rgb24", interpolation="AREA"
        )
        array: np.ndarray = picture.to_ndarray()
        return array
