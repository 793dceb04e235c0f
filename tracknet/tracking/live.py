"""Following the ball while the video is still being made: each frame's row as soon as the frame is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from torch import Tensor

from tracknet.data.running_background import RunningBackground
from tracknet.tracking.finder import BallFinder
from tracknet.tracking.trajectory import TrajectoryRow


def follow(
    arrivals: Iterable[Sequence[tuple[int, np.ndarray]]],
    finder: BallFinder,
    length: int,
    background: RunningBackground | None = None,
) -> Iterator[TrajectoryRow]:
    """Judge each newest frame by the window that ends with it.

    Before the first frame stands the first frame itself. Each frame is brought to the device and converted
    once; the last L of them are held.

    Args:
        arrivals: What has come since the last look: numbers and frames, uint8 ``[H, W, 3]``, the newest last.
            A row is given for the newest only; the others fill the window (see `LiveStream.arrivals`).
        finder: Finds the ball.
        length: Frames per window, L.
        background: Makes the background of what has come, where the network wants one.

    Yields:
        One row for each arrival, with the number of its newest frame.

    """
    recent: deque[Tensor] = deque(maxlen=length)
    still: Tensor | None = None
    for arrived in arrivals:
        frames = [frame for _, frame in arrived]
        if background is not None:
            for number, frame in arrived:
                median = background.add(frame, number)
                if median is not None:
                    still = finder.load([median])[0]
        loaded = finder.load(frames)
        if not recent:
            recent.extend([loaded[0]] * (length - 1))
        recent.extend(loaded)
        sights = finder.look([list(recent)], still, newest=True)
        yield finder.rows([arrived[-1][0]], sights[0, -1:])[0]
