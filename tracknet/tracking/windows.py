"""Windows over a stream of frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from tracknet.evaluation.ensemble import check_step

T = TypeVar("T")


@dataclass(frozen=True)
class Window(Generic[T]):
    """L frames in a row, and the frames that the network speaks of.

    Attributes:
        frames: The L frames, oldest first.
        start: Number of the first frame that it speaks of.
        count: Number of frames that it speaks of: output k is of frame ``start + k``, for k below `count`.
    """

    frames: list[T]
    start: int
    count: int


def slide(frames: Iterable[T], length: int, outputs: int, step: int) -> Iterator[Window[T]]:
    """Cut a stream into windows that together speak of every frame; only L frames are held.

    Windows begin every `step` frames. The last one is moved back so that it is full; a video shorter than a
    window is filled up with its last frame. With fewer outputs than frames, the first frame is repeated
    before the video, so that it too is spoken of.

    Args:
        frames: The stream.
        length: Frames per window, L.
        outputs: The last so many frames of a window are spoken of, 1..L.
        step: Frames from one window to the next, 1..outputs.

    Yields:
        The windows, each as soon as its last frame has come.

    Raises:
        UsageError: The step would leave frames out.

    Example:
        >>> [window.frames for window in slide(range(5), length=3, outputs=3, step=3)]
        [[0, 1, 2], [2, 3, 4]]
    """
    check_step(step, outputs)
    recent: deque[T] = deque(maxlen=length)
    due, seen = outputs, 0
    for frame in frames:
        if not seen:
            recent.extend([frame] * (length - outputs))
        recent.append(frame)
        seen += 1
        if seen == due:
            yield Window(list(recent), seen - outputs, outputs)
            due += step
    if 0 < seen < outputs:
        recent.extend([recent[-1]] * (outputs - seen))
        yield Window(list(recent), 0, seen)
    elif seen > due - step:
        yield Window(list(recent), seen - outputs, outputs)


class FirstWord:
    """Takes for each frame what the first window says that speaks of it; for windows that hardly overlap."""

    def __init__(self) -> None:
        self._next = 0

    def add(self, start: int, sights: Tensor) -> list[Tensor]:
        """Take what one window gives, and give what is of new frames.

        Args:
            start: Number of the first frame that the window speaks of.
            sights: What it gives for that frame and those after it, ``[count, ...]``.

        Returns:
            What is of frames not spoken of before.
        """
        new = sights[self._next - start :]
        self._next += len(new)
        return list(new)

    def finish(self) -> list[Tensor]:
        """Give what is left at the end, nothing."""
        return []
