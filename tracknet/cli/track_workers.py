"""Who tracks many videos: this process, or several that a fault in one video cannot bring down."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch

from tracknet.cli.engines import Engine, load_detector
from tracknet.cli.processes import DIED, Worker, take_share, that_speak
from tracknet.cli.rectifier import choose_fill
from tracknet.cli.track import Device, csv_path
from tracknet.data.video import open_source
from tracknet.errors import TrackNetError, UsageError
from tracknet.tracking.batch import Outcome, VideoJob
from tracknet.tracking.modes import Mode
from tracknet.tracking.online import OnlineTracker
from tracknet.tracking.rectification import rectify
from tracknet.tracking.tracker import track
from tracknet.tracking.trajectory import TrajectoryRow, TrajectorySummary, partial_path, write_trajectory

_TOLD_EVERY = 0.5  # seconds between two reports of a process

Tell = Callable[[int], None]


class TrackSettings(NamedTuple):
    """How to track; see `track_video` for the meaning."""

    ckpt: Path
    mode: Mode
    step: int | None
    flip: bool
    max_jump: float | None
    background_seconds: float
    batch_size: int
    device: Device
    engine: Engine
    threshold: float | None
    rectifier: str | None
    max_gap: int


class VideoTracker:
    """Tracks one video after the other with one detector.

    Args:
        settings: How; `max_jump` is None without the online tracker.

    Raises:
        TrackNetError: The checkpoint, the rectifier or the device cannot be used.
    """

    def __init__(self, settings: TrackSettings) -> None:
        self._settings = settings
        self._fill = None if settings.rectifier is None else choose_fill(settings.rectifier)
        self._detector, self._place = load_detector(
            settings.ckpt, settings.device, settings.engine, settings.threshold
        )

    def track(self, job: VideoJob, tell: Tell) -> Outcome:
        """Track a video.

        Args:
            job: The video.
            tell: Is told of frames that are done.

        Returns:
            What became of it: tracked or failed.

        Raises:
            UsageError: The settings do not go with the checkpoint, whatever the video.
            KeyboardInterrupt: Ctrl-C; the frames so far are in ``NAME.partial.csv``.
        """
        started = time.monotonic()
        try:
            summary = self._written(job, tell)
        except UsageError:
            raise
        except torch.OutOfMemoryError:
            size = self._settings.batch_size
            reason = f"no memory left on {self._place} with --batch_size {size}: use a smaller one"
            return Outcome(job, "failed", reason=f"{job.video}: {reason}")
        except TrackNetError as error:
            return Outcome(job, "failed", reason=str(error))
        except Exception as error:  # whatever a file brings about, the others are to be tracked
            return Outcome(job, "failed", reason=f"{job.video}: {type(error).__name__}: {error}")
        partial_path(job.csv).unlink(missing_ok=True)
        return Outcome(job, "tracked", summary.frames, summary.visible, time.monotonic() - started)

    def _written(self, job: VideoJob, tell: Tell) -> TrajectorySummary:
        settings = self._settings
        path = csv_path(job.csv, job.csv.stem)
        source = open_source(job.video)
        tracked = track(
            source,
            self._detector,
            mode=settings.mode,
            step=settings.step,
            flip=settings.flip,
            online=None if settings.max_jump is None else OnlineTracker(settings.max_jump),
            batch_size=settings.batch_size,
            device=self._place,
            background_seconds=settings.background_seconds,
            progress=False,
        )
        with closing(tracked):
            size = (source.info.height, source.info.width)
            fill = self._fill
            rows = tracked if fill is None else rectify(tracked, fill, size, settings.max_gap)
            return write_trajectory(path, _counted(rows, tell), filled=fill is not None)


def _counted(rows: Iterable[TrajectoryRow], tell: Tell) -> Iterator[TrajectoryRow]:
    for row in rows:
        yield row
        tell(1)


def track_here(
    jobs: Sequence[VideoJob], settings: TrackSettings, tell: Tell
) -> Generator[Outcome, None, None]:
    """Track videos in this process, one after the other.

    Args:
        jobs: The videos.
        settings: How.
        tell: Is told of frames that are done.

    Yields:
        What became of each.

    Raises:
        TrackNetError: No video can be tracked.
    """
    tracker = VideoTracker(settings)
    for job in jobs:
        yield tracker.track(job, tell)


def track_in_processes(
    jobs: Sequence[VideoJob], settings: TrackSettings, processes: int, tell: Tell
) -> Generator[Outcome, None, None]:
    """Track several videos at once, each in a process; one that dies takes only its video with it.

    Args:
        jobs: The videos.
        settings: How.
        processes: How many; they share the cores and the GPUs.
        tell: Is told of frames that are done.

    Yields:
        What became of each, in the order in which they end.

    Raises:
        TrackNetError: No video can be tracked.
    """
    left = deque(jobs)
    at: dict[Worker, tuple[int, VideoJob]] = {}

    def give(place: int, worker: Worker | None = None) -> None:
        worker = worker or Worker(_serve, settings, place, processes)
        at[worker] = (place, left.popleft())
        worker.send(at[worker][1])

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
                if left:
                    give(place, None if said is DIED else worker)
                else:
                    worker.end()
    finally:
        for worker in at:
            worker.stop()
        for worker in at:
            worker.end()


def _lost(job: VideoJob, worker: Worker) -> Outcome:
    memory = "; was there too little memory for so many --processes?" if worker.process.exitcode == -9 else ""
    reason = f"{job.video}: its process ended with {worker.end_in_words()}{memory}"
    return Outcome(job, "failed", reason=reason)


def _serve(calls: Connection, settings: TrackSettings, place: int, processes: int) -> None:
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
        tracker = VideoTracker(settings)
        while True:
            outcome = tracker.track(calls.recv(), tell)
            calls.send(waiting)
            calls.send(outcome)
            waiting = 0
    except TrackNetError as error:
        calls.send(error)
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        return
