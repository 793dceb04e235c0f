"""The part of `tracknet track` that follows a camera, a network stream or a pipe."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tracknet.cli.engines import Device, Engine, Precision, load_detector
from tracknet.cli.held_interrupt import HeldInterrupt
from tracknet.cli.track_output import csv_path, print_summary
from tracknet.data.faults import plural
from tracknet.errors import TrackNetError
from tracknet.tracking.online import OnlineTracker
from tracknet.tracking.trajectory import TrajectoryRow, TrajectorySummary, write_live_trajectory, write_rows

if TYPE_CHECKING:
    from tracknet.data.stream import LiveStream


def track_stream(
    name: str,
    ckpt: Path,
    output: Path | None,
    *,
    step: int,
    lookahead: int,
    flip: bool,
    online: OnlineTracker | None,
    drop_late: bool,
    background_seconds: float,
    device: Device,
    engine: Engine,
    precision: Precision,
    threshold: float | None,
) -> int:
    """Follow a live stream until it ends, or until Ctrl-C or a SIGTERM, which are ordinary ends here.

    Args:
        name: The stream, see `is_live`.
        ckpt: Checkpoint of `tracknet fit`.
        output: CSV to write, a folder for it, or ``-`` for standard output; default NAME_ball.csv.
        step: Frames from one look to the next, see `follow`.
        lookahead: See `follow`.
        flip: See `HeatmapFinder`.
        online: See `HeatmapFinder`.
        drop_late: Take the newest frame when several have come; no rows for those passed over.
        background_seconds: See `RunningBackground`.
        device: Where the network runs.
        engine: See `load_detector`.
        precision: See `load_detector`.
        threshold: Confidence from which a ball counts as visible; None for that of the checkpoint.

    Returns:
        Exit code 0.

    Raises:
        UsageError: Step and lookahead are longer than a window of the network.
        TrackNetError: The stream cannot be opened or broke off, the checkpoint cannot be used, or the result
            cannot be written.
    """
    from tracknet.data.stream import LiveStream
    from tracknet.data.stream_names import stream_title, without_secrets

    to_screen = output == Path("-")
    path = None if to_screen else csv_path(output, stream_title(name))

    from tracknet.data.running_background import RunningBackground
    from tracknet.tracking.finder import choose_finder
    from tracknet.tracking.live import check_reach, follow

    tracker, place = load_detector(ckpt, device, engine, threshold, precision)
    check_reach(step, lookahead, tracker.outputs)
    stream = LiveStream(name, tracker.input_size, tracker.frames if drop_late else None)
    with HeldInterrupt(signal.SIGTERM, tell=stream.interrupt), stream:
        info = stream.info
        print(
            f"{without_secrets(name)}: {info.width}x{info.height}, {info.fps:g} frames/s; Ctrl-C ends it",
            file=sys.stderr,
            flush=True,
        )
        finder = choose_finder(
            tracker, (info.height, info.width), place, flip=flip, tracker=online, overlaps=True
        )
        background = RunningBackground(info.fps, background_seconds) if tracker.needs_background else None
        rows = follow(stream.arrivals(), finder, tracker.frames, background, step, lookahead)
        rows = late_told(rows, stream, without_secrets(name))
        started = time.monotonic()
        summary: TrajectorySummary
        if path is None:
            summary = write_rows(sys.stdout, rows, endless=True)
        else:
            summary = write_live_trajectory(path, rows)
        talk = sys.stderr if path is None else sys.stdout
        print_summary(summary, time.monotonic() - started, tracker.threshold, talk)
        if path is not None:
            print(f"trajectory: {path}", flush=True)
    return 0


def late_told(rows: Iterable[TrajectoryRow], stream: LiveStream, name: str) -> Iterator[TrajectoryRow]:
    """Give the rows of a stream; at their end, say on standard error how many frames came too late for one.

    Args:
        rows: The rows, until the stream ends.
        stream: The stream.
        name: Its name, without secrets.

    Yields:
        The same rows.
    """
    given = 0
    ended: BaseException | None = None
    try:
        for row in rows:
            given += 1
            yield row
    except (KeyboardInterrupt, TrackNetError) as error:  # behind the rows of all that came, see `follow`
        ended = error
    if given < stream.came:
        told = f"of {plural(stream.came, 'frame')} {stream.came - given:,} came too late for a row"
        print(f"note: {name}: {told}", file=sys.stderr)
    if ended is not None:
        raise ended
