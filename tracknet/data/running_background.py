"""The background of a static camera while the video is still being made."""

from __future__ import annotations

from collections import deque

import numpy as np
from jsonargparse.typing import PositiveFloat, PositiveInt

from tracknet.data.background import median_of

BACKGROUND_SECONDS = 60.0
"""What a running background looks back on unless told otherwise."""


class RunningBackground:
    """The median of some of the frames so far, spread evenly over the last `seconds`.

    At first every frame is kept; whenever there are too many, every second one of them is let go and half as
    many are kept from then on, until they span `seconds`. From there the oldest one goes for each new one, so
    that the background follows the light. The median is made anew when a quarter of what it is made of is
    new. The first seconds are the worst: players who have not moved yet are background, and the first frame
    has itself for background.

    Args:
        fps: Frames per second.
        seconds: What the frames kept span, once there is so much.
        samples: Frames kept, at least 2.

    Example:
        >>> background = RunningBackground(fps=30)
        >>> float(background.add(np.full((2, 2, 3), 10, np.uint8)).mean())
        10.0
    """

    def __init__(
        self, fps: float, seconds: PositiveFloat = BACKGROUND_SECONDS, samples: PositiveInt = 32
    ) -> None:
        self._samples = max(samples, 2)
        self._widest = max(1.0, seconds * fps / self._samples)
        self._kept: deque[np.ndarray] = deque()
        self._every = 1
        self._next = 0
        self._new = 0
        self._number = -1

    def add(self, frame: np.ndarray, number: int | None = None) -> np.ndarray | None:
        """Take the next frame.

        Args:
            frame: RGB, uint8 ``[H, W, 3]``; must not be changed afterwards.
            number: Its number in the video; None for the one behind the frame before.

        Returns:
            The background, uint8 ``[H, W, 3]``, when it has changed (it has with the first frame), else None.
        """
        self._number = self._number + 1 if number is None else number
        if self._number < self._next:
            return None
        if len(self._kept) == self._samples:
            if self._every < self._widest:
                self._every *= 2
                self._kept = deque(list(self._kept)[::2])
            else:
                self._kept.popleft()
        self._kept.append(frame)
        self._next = self._number + self._every
        self._new += 1
        if 4 * self._new < len(self._kept):
            return None
        self._new = 0
        return median_of(self._kept)
