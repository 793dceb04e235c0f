"""Following the ball while the video is still being made: each frame's row as soon as the frame is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor

from tracknet.data.running_background import RunningBackground
from tracknet.errors import TrackNetError, UsageError
from tracknet.evaluation.ensemble import check_step
from tracknet.tracking.finder import BallFinder
from tracknet.tracking.trajectory import TrajectoryRow


def follow(
    arrivals: Iterable[Sequence[tuple[int, np.ndarray]]],
    finder: BallFinder,
    length: int,
    background: RunningBackground | None = None,
    step: PositiveInt = 1,
    lookahead: NonNegativeInt = 0,
) -> Iterator[TrajectoryRow]:
    """Judge the newest frames by the window that ends with the newest one, or so many frames later.

    Before the first frame stands the first frame itself. Each frame is brought to the device and converted
    once; the last L of them are held.

    Args:
        arrivals: What has come since the last look: numbers and frames, uint8 ``[H, W, 3]``, the newest last.
            A row is given for the newest only; the others fill the window (see `LiveStream.arrivals`).
        finder: Finds the ball.
        length: Frames per window, L.
        background: Makes the background of what has come, where the network wants one.
        step: Arrivals from one look to the next, 1..L_out; each look gives the rows of as many.
        lookahead: Arrivals behind those that a look judges, 0..L_out - step: rows come so many later, and say
            more, as the network has seen what follows. The last ones are judged at the end.

    Yields:
        One row for each arrival, with the number of its newest frame. Of an arrival that has left the window
        before the next look there is none.

    Raises:
        KeyboardInterrupt: As `arrivals` does; what came before is judged first.
        TrackNetError: In the same way.
    """
    recent: deque[tuple[int, Tensor]] = deque(maxlen=length)
    still: Tensor | None = None
    waiting: list[int] = []
    ended: BaseException | None = None
    coming = iter(arrivals)
    while True:
        try:
            arrived = next(coming, None)
        except (KeyboardInterrupt, TrackNetError) as error:
            arrived, ended = None, error
        if arrived is not None:
            if background is not None:
                for number, frame in arrived:
                    median = background.add(frame, number)
                    if median is not None:
                        still = finder.load([median])[0]
            loaded = finder.load([frame for _, frame in arrived])
            numbered = [(number, frame) for (number, _), frame in zip(arrived, loaded, strict=True)]
            if not recent:
                recent.extend([numbered[0]] * (length - 1))
            recent.extend(numbered)
            waiting.append(arrived[-1][0])
        if waiting and (arrived is None or len(waiting) == step + lookahead):
            due = waiting if arrived is None else waiting[:step]
            # How far from the end of the window each frame is; the first one may stand in it many times.
            places = {number: length - place for place, (number, _) in enumerate(recent)}
            reach = max(places.get(number, 0) for number in due)
            sights = finder.look([[frame for _, frame in recent]], still, newest=reach)[0]
            asked = [number for number in due if 0 < places.get(number, 0) <= len(sights)]
            yield from finder.rows(asked, sights[[len(sights) - places[number] for number in asked]])
            waiting = waiting[len(due) :]
        if arrived is None:
            break
    if ended is not None:
        raise ended


def check_reach(step: int, lookahead: int, outputs: int) -> None:
    """Refuse a step and a lookahead that no window reaches back over.

    Args:
        step: Frames from one look to the next.
        lookahead: Frames behind those that a look judges.
        outputs: Frames that a window speaks of.

    Raises:
        UsageError: The step is not in 1..outputs, or the lookahead not in 0..outputs - step.
    """
    check_step(step, outputs)
    if not 0 <= lookahead <= outputs - step:
        raise UsageError(
            f"lookahead is {lookahead}, but of the {outputs} frames that a window speaks of {step} are "
            f"judged at a time: expected {'0' if step == outputs else f'0 to {outputs - step}'}"
        )
