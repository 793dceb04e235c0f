"""Following the ball while the video is still being made: each frame's row as soon as the frame is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jsonargparse.typing import NonNegativeInt, PositiveInt
from torch import Tensor

from tracknet.data.faults import are, plural
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
    """Judge frames by the window that ends with the newest one.

    Before the first frame stands the first frame itself. Each frame is brought to the device and converted
    once; the last L of them are held.

    Args:
        arrivals: What has come since the last look: numbers and frames, uint8 ``[H, W, 3]``, the newest last.
            Of each a row is given for one frame only, the newest without a lookahead; the others fill the
            window (see `LiveStream.arrivals`).
        finder: Finds the ball.
        length: Frames per window, L.
        background: Makes the background of what has come, where the network wants one.
        step: Arrivals from one look to the next, 1..L_out; each look gives the rows of as many.
        lookahead: Frames behind those that a look judges, 0..L_out - step: rows come so many later, and say
            more, as the network has seen what follows. The last ones are judged at the end.

    Yields:
        Rows with the number of their frame, rising. Of a frame that has left the window before the next look
        there is none.

    Raises:
        KeyboardInterrupt: As `arrivals` does; what came before is judged first.
        TrackNetError: In the same way.
    """
    recent: deque[tuple[int, Tensor]] = deque(maxlen=length)
    still: Tensor | None = None
    waiting: list[int] = []
    newest = -1  # of the frames that were judged or wait for it
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
            if not recent:
                recent.extend([(-1, loaded[0])] * (length - 1))
            recent.extend(zip((number for number, _ in arrived), loaded, strict=True))
        numbers = [number for number, _ in recent]
        ready = numbers if arrived is None else numbers[: length - lookahead][-1:]
        waiting += [number for number in ready if number > newest]
        newest = max([newest, *waiting])
        if waiting and (arrived is None or len(waiting) == step):
            # How far from the end of the window each frame is.
            places = {number: length - place for place, number in enumerate(numbers)}
            reach = max(places.get(number, 0) for number in waiting)
            sights = finder.look([[frame for _, frame in recent]], still, newest=reach)[0]
            asked = [number for number in waiting if 0 < places.get(number, 0) <= len(sights)]
            yield from finder.rows(asked, sights[[len(sights) - places[number] for number in asked]])
            waiting = []
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
        wanted = "0" if step == outputs else f"0 to {outputs - step}"
        raise UsageError(
            f"lookahead is {lookahead}, but of the {plural(outputs, 'frame')} that a window speaks of "
            f"{step} {are(step)} judged at a time: expected {wanted}"
        )
