"""From the frames of a video to one row a frame: modes, windows, batches and a decoder thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from typing import TypeVar, get_args

import numpy as np
import torch
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from tracknet.data.progress import track_progress
from tracknet.data.running_background import BACKGROUND_SECONDS, RunningBackground
from tracknet.data.threads import result_of
from tracknet.data.video import FrameSource, background_and_frames
from tracknet.errors import TrackNetError, UsageError, nearest
from tracknet.evaluation.ensemble import Ensemble, place_weights
from tracknet.tracking.finder import (
    BallDetector,
    BallFinder,
    HeatmapDetector,
    HeatmapFinder,
    choose_finder,
)
from tracknet.tracking.live import check_reach, follow
from tracknet.tracking.modes import Mode
from tracknet.tracking.online import OnlineTracker
from tracknet.tracking.sightings import CandidateTracker, Sighting, row_of
from tracknet.tracking.trajectory import TrajectoryRow
from tracknet.tracking.windows import FirstWord, slide

__all__ = ["BATCHES_AHEAD", "BallDetector", "HeatmapDetector", "Mode", "track"]

BATCHES_AHEAD = 2
"""Batches decoded while the network works on one; the bound keeps memory the same for any length of video."""

T = TypeVar("T")
Advance = Callable[[int], None]


def track(
    source: FrameSource,
    detector: BallDetector,
    *,
    mode: Mode = "single",
    step: PositiveInt | None = None,
    lookahead: NonNegativeInt = 0,
    flip: bool = False,
    tracker: CandidateTracker | None = None,
    batch_size: PositiveInt = 4,
    device: torch.device | str = "cpu",
    background_seconds: PositiveFloat = BACKGROUND_SECONDS,
    progress: bool = True,
) -> Generator[TrajectoryRow, None, None]:
    """Find the ball in every frame of a video, in constant memory.

    - ``single``: windows do not overlap, and the last one is moved back so that it is full; a network with
      one output slides by one frame. The fastest.
    - ``average``: windows slide by `step`, and the heatmaps that they give for a frame are averaged, at both
      ends of the video those that there are. Costs ``L_out / step`` times as much as ``single``.
    - ``triangular``: as ``average``, the middle of a window counting the most (1, 2, .., 2, 1).
    - ``causal``: each frame is judged by the window that ends with it, and by the background so far, as in a
      live stream; one window at a time. With a `step`, the newest `step` frames are judged together: a row is
      up to ``step - 1`` frames late, and a frame costs less. With a `lookahead`, the window ends so many
      frames later.

    Each frame is decoded, resized, brought to the device and converted once, in a thread of its own while the
    network works on those before; L frames and L_out heatmaps are held, whatever the length of the video.

    Args:
        source: The video.
        detector: Finds the ball in windows of frames.
        mode: See above.
        step: Frames from one window to the next where windows overlap, 1 to L_out; default 1.
        lookahead: Frames behind those that a window of the mode causal judges, 0 to L_out - step.
        flip: Average each heatmap with that of the mirrored frames; costs twice as much.
        tracker: Chooses among the candidates of each frame; default the decoder's choice, frame by frame. A
            `FlightTracker` gives rows some seconds of video later, and not in the mode causal.
        batch_size: Windows given to the detector at once.
        device: Where the detector lies.
        background_seconds: What the background of the mode causal looks back on, see `RunningBackground`.
        progress: Show frames per second and the time left.

    Returns:
        Exactly one row for each frame, in order, positions in pixels of the source. Close the generator to
        stop early.

    Raises:
        UsageError: The mode is none, or does not go with the detector or the step; a number is below 1.
        TrackNetError: On the way: the video has no frames, or cannot be decoded.
    """
    if mode not in get_args(Mode):
        raise UsageError(
            f"mode {mode!r}: expected one of {', '.join(get_args(Mode))}{nearest(mode, get_args(Mode))}"
        )
    if batch_size < 1 or (step is not None and step < 1):
        raise UsageError(f"batch_size {batch_size}, step {step}: expected whole numbers above 0")
    averages = mode in ("average", "triangular")
    if step is not None and mode == "single":
        raise UsageError(
            f"a step of {step} goes with the modes average, triangular and causal, not with {mode}"
        )
    if averages and detector.outputs == 1:
        raise UsageError(
            f"mode {mode}: this network speaks of one frame a window, so there is nothing to average; "
            "use the mode single"
        )
    if lookahead and mode != "causal":
        raise UsageError(f"a lookahead of {lookahead} goes with the mode causal, not with {mode}")
    stride = detector.outputs if mode == "single" else (step or 1)
    check_reach(stride, lookahead, detector.outputs)
    if tracker is not None and mode == "causal" and not isinstance(tracker, OnlineTracker):
        raise UsageError(
            f"{type(tracker).__name__} looks at a whole video, for which the mode causal does not wait; use "
            "the online tracker"
        )
    size = (source.info.height, source.info.width)
    finder = choose_finder(
        detector,
        size,
        device,
        flip=flip,
        tracker=tracker,
        averages=averages,
        overlaps=averages or mode == "causal" or stride < detector.frames,
    )
    if mode == "causal":
        rows = partial(_causal_rows, source, detector, finder, background_seconds, stride, lookahead)
        return _counted(source, rows, progress)
    merge = FirstWord() if mode == "single" else Ensemble(place_weights(mode, detector.outputs))
    look = partial(_found, source, detector, finder, merge, stride, batch_size)
    if tracker is None:
        return _counted(source, partial(look, finder.rows), progress)
    assert isinstance(finder, HeatmapFinder)  # there are no candidates without heatmaps
    seen = partial(look, partial(finder.sightings, least=tracker.least(detector.threshold)))
    rows = partial(_chosen_rows, seen, tracker, size, source.info.fps, detector.threshold)
    return _counted(source, rows, progress)


def _found(
    source: FrameSource,
    detector: BallDetector,
    finder: BallFinder,
    merge: Ensemble | FirstWord,
    stride: int,
    batch_size: int,
    tell: Callable[[Sequence[int], Tensor], list[T]],
    advance: Advance,
) -> Generator[list[T], None, None]:
    """Tell what is found in the frames of one batch of windows after the other, and how many are done."""
    background, images = None, source.frames(detector.input_size)
    if detector.needs_background:
        still, images = background_and_frames(source, detector.input_size)
        background = finder.load([still])[0]
    frame = 0
    with closing(_decoded_ahead(_batches(images, batch_size * stride))) as parts:
        frames = (loaded for part in parts for loaded in finder.load(part))
        windows = slide(frames, detector.frames, detector.outputs, stride)
        for batch in _batches(windows, batch_size):
            sights = finder.look([window.frames for window in batch], background)
            done = [
                sight
                for window, seen in zip(batch, sights, strict=True)
                for sight in merge.add(window.start, seen[: window.count])
            ]
            if done:
                yield tell(range(frame, frame + len(done)), torch.stack(done))
                advance(len(done))
            frame += len(done)
    if done := merge.finish():
        yield tell(range(frame, frame + len(done)), torch.stack(done))
        advance(len(done))


def _chosen_rows(
    parts: Callable[[Advance], Generator[list[Sighting], None, None]],
    tracker: CandidateTracker,
    size: tuple[int, int],
    fps: float,
    threshold: float,
    advance: Advance,
) -> Generator[list[TrajectoryRow], None, None]:
    """Give the rows of what a tracker chooses; a frame is done when it is seen, not when its row comes."""
    with closing(parts(advance)) as found:
        seen = (sighting for part in found for sighting in part)
        for sighting, choice in tracker.follow(seen, size, fps, threshold):
            yield [row_of(sighting, choice)]


def _causal_rows(
    source: FrameSource,
    detector: BallDetector,
    finder: BallFinder,
    seconds: float,
    step: int,
    lookahead: int,
    advance: Advance,
) -> Generator[list[TrajectoryRow], None, None]:
    """Read a video as if it were live; no frame is dropped."""
    background = RunningBackground(source.info.fps, seconds) if detector.needs_background else None
    with closing(_decoded_ahead(_batches(source.frames(detector.input_size), 1))) as parts:
        arrivals = ([(number, part[0])] for number, part in enumerate(parts))
        for row in follow(arrivals, finder, detector.frames, background, step, lookahead):
            yield [row]
            advance(1)


def _counted(
    source: FrameSource,
    rows: Callable[[Advance], Generator[list[TrajectoryRow], None, None]],
    progress: bool,
) -> Generator[TrajectoryRow, None, None]:
    """Give the rows one by one, and show how many frames are done."""
    total = 0
    with (
        track_progress(source.info.frames, "frames", "tracking", shown=progress) as bar,
        closing(rows(bar.advance)) as parts,
    ):
        for part in parts:
            yield from part
            total += len(part)
    if not total:
        raise TrackNetError(f"{source.path}: no frame can be decoded; is it a video?")


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def _decoded_ahead(parts: Iterator[list[np.ndarray]]) -> Generator[list[np.ndarray], None, None]:
    """Take lists of frames from a thread that is a bounded number ahead; its errors are raised here."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="decode")
    ahead: deque[Future[list[np.ndarray] | None]] = deque()
    try:
        for _ in range(BATCHES_AHEAD):
            ahead.append(pool.submit(next, parts, None))
        while (part := result_of(ahead.popleft())) is not None:
            ahead.append(pool.submit(next, parts, None))
            yield part
    finally:
        pool.shutdown(cancel_futures=True)
