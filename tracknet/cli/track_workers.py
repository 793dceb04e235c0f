"""Who tracks many videos: this process, or several that a fault in one video cannot bring down."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple

from tracknet.cli.processes import DIED, Worker, take_share, that_speak
from tracknet.cli.track_output import csv_path
from tracknet.cli.video_tracker import TrackSettings, VideoTracker
from tracknet.data.video import FrameSource, open_source
from tracknet.errors import TrackNetError, UsageError
from tracknet.tracking.batch import Outcome, Value, VideoJob, print_of, print_told, write_told
from tracknet.tracking.overlay import render_overlay
from tracknet.tracking.trajectory import TrajectoryRow, partial_path, trajectory_rows, write_trajectory

_TOLD_EVERY = 0.5  # seconds between two reports of a process

Tell = Callable[[int], None]


class Orders(NamedTuple):
    """What is done with each of many videos.

    Attributes:
        settings: How to track.
        made: What decides on a trajectory, written beside each.
        trail: Frames of the trail in the overlays.
    """

    settings: TrackSettings
    made: dict[str, Value]
    trail: int


class BatchTracker:
    """Tracks one of many videos after the other, and draws those of their overlays that are wanted.

    Args:
        orders: What is done with each.

    Raises:
        TrackNetError: The checkpoint, the rectifier or the device cannot be used.
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._tracker = VideoTracker(orders.settings)

    def finish(self, so_far: Outcome, tell: Tell) -> Outcome:
        """Do what is left to do of a video.

        Args:
            so_far: The video, and whether its trajectory is there.
            tell: Is told of frames that are done.

        Returns:
            What became of it: tracked, drawn or failed.

        Raises:
            UsageError: The settings do not go with the checkpoint, whatever the video.
            KeyboardInterrupt: Ctrl-C; the frames so far are in ``NAME.partial.csv``.
        """
        job, kept = so_far.job, ""
        try:
            video_print, source = print_of(job.video), open_source(job.video)
            if so_far.has_trajectory:
                outcome = so_far._replace(status="drawn")
            else:
                outcome = self._track(job, source, video_print, tell)
            if job.overlay is not None:
                kept = f"; the trajectory is whole: {job.csv}"
                self._draw(outcome, source, tell)
        except UsageError:
            raise
        except TrackNetError as error:
            return Outcome(job, "failed", reason=f"{error}{kept}")
        except Exception as error:  # whatever a file brings about, the others are to be tracked
            return Outcome(job, "failed", reason=f"{job.video}: {type(error).__name__}: {error}{kept}")
        return outcome

    def _track(self, job: VideoJob, source: FrameSource, video_print: list[int], tell: Tell) -> Outcome:
        started = time.monotonic()
        path = csv_path(job.csv, job.csv.stem)
        with self._tracker.rows(source) as rows:
            summary = write_trajectory(path, _counted(rows, tell), filled=self._tracker.fills)
        partial_path(job.csv).unlink(missing_ok=True)
        outcome = Outcome(job, "tracked", summary.frames, summary.visible, time.monotonic() - started)
        write_told(outcome, video_print, self._orders.made)
        return outcome

    def _draw(self, outcome: Outcome, source: FrameSource, tell: Tell) -> None:
        job, trail = outcome.job, self._orders.trail
        assert job.overlay is not None
        rows = _counted(trajectory_rows(job.csv), tell)
        video_print = print_told(job)
        render_overlay(source, rows, job.overlay, trail, progress=False)
        write_told(outcome, video_print, self._orders.made, trail)


def _counted(rows: Iterable[TrajectoryRow], tell: Tell) -> Iterator[TrajectoryRow]:
    for row in rows:
        yield row
        tell(1)


def track_here(left: Sequence[Outcome], orders: Orders, tell: Tell) -> Generator[Outcome, None, None]:
    """Track videos in this process, one after the other.

    Args:
        left: The videos, and which of them have trajectories.
        orders: What is done with each.
        tell: Is told of frames that are done.

    Yields:
        What became of each.

    Raises:
        TrackNetError: No video can be tracked.
    """
    tracker = BatchTracker(orders)
    for so_far in left:
        yield tracker.finish(so_far, tell)


def track_in_processes(
    left: Sequence[Outcome], orders: Orders, processes: int, tell: Tell
) -> Generator[Outcome, None, None]:
    """Track several videos at once, each in a process; one that dies takes only its video with it.

    Args:
        left: The videos, and which of them have trajectories.
        orders: What is done with each.
        processes: How many; they share the cores and the GPUs.
        tell: Is told of frames that are done.

    Yields:
        What became of each, in the order in which they end.

    Raises:
        TrackNetError: No video can be tracked.
    """
    waiting = deque(left)
    at: dict[Worker, tuple[int, VideoJob]] = {}

    def give(place: int, worker: Worker | None = None) -> None:
        worker = worker or Worker(_serve, orders, place, processes)
        so_far = waiting.popleft()
        at[worker] = (place, so_far.job)
        worker.send(so_far)

    try:
        for place in range(processes):
            give(place)
        while at:
            for worker in that_speak(list(at)):
                said = worker.hear()
                if isinstance(said, int):
                    tell(said)
                    continue
                if isinstance(said, TrackNetError):
                    raise said
                place, job = at[worker]
                yield _lost(job, worker) if said is DIED else said
                del at[worker]
                if waiting:
                    give(place, None if said is DIED else worker)
                else:
                    worker.end()
    finally:
        for worker in at:
            worker.stop()
        for worker in at:
            worker.end()


def _lost(job: VideoJob, worker: Worker) -> Outcome:
    memory = "; was there too little memory for so many --workers?" if worker.process.exitcode == -9 else ""
    reason = f"{job.video}: its process ended with {worker.end_in_words()}{memory}"
    return Outcome(job, "failed", reason=reason)


def _serve(calls: Connection, orders: Orders, place: int, processes: int) -> None:
    """Track what is asked for, until nobody asks any more; runs in a process of its own."""
    # Ctrl-C reaches all processes of a terminal; the first one decides, and then says SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    waiting, told = 0, time.monotonic()

    def tell(frames: int) -> None:
        nonlocal waiting, told
        waiting += frames
        if time.monotonic() - told > _TOLD_EVERY:
            calls.send(waiting)
            waiting, told = 0, time.monotonic()

    try:
        take_share(place, processes)
        tracker = BatchTracker(orders)
        while True:
            outcome = tracker.finish(calls.recv(), tell)
            calls.send(waiting)
            calls.send(outcome)
            waiting = 0
    except TrackNetError as error:
        calls.send(error)
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        return
