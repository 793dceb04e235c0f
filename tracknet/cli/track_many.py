"""`tracknet track` over many videos: what is left to do, how far it is, and what became of each."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import get_args

from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveFloat, PositiveInt

from tracknet.cli.engines import Engine
from tracknet.cli.runs_shown import print_table
from tracknet.cli.track import Choice, Device
from tracknet.cli.track_workers import TrackSettings, track_here, track_in_processes
from tracknet.data.progress import track_progress
from tracknet.data.stream import is_live
from tracknet.data.video import open_source
from tracknet.data.whole_file import remove_leftovers
from tracknet.errors import TrackNetError, UsageError
from tracknet.tracking.batch import (
    COLUMNS,
    SUMMARY,
    Outcome,
    Status,
    Value,
    VideoJob,
    check_summary,
    done_before,
    find_jobs,
    write_summary,
    write_told,
)
from tracknet.tracking.modes import Mode

INTERRUPTED = 130
TRACKED = Path("tracked")
"""Where the trajectories of many videos go unless told otherwise."""


def track_many(
    videos: Sequence[str],
    processes: PositiveInt,
    overwrite: bool,
    *,
    ckpt: Path,
    output: Path | None,
    overlay: Path | None,
    mode: Mode | None,
    step: PositiveInt | None,
    flip: bool,
    tracker: Choice,
    max_jump: PositiveFloat,
    drop_late: bool,
    background_seconds: PositiveFloat,
    batch_size: PositiveInt,
    device: Device,
    engine: Engine,
    threshold: ClosedUnitInterval | None,
    trail: NonNegativeInt,
    rectifier: str | None,
    max_gap: PositiveInt,
) -> int:
    """Track many videos as `track_video` tracks one; its settings mean the same here.

    Args:
        videos: Video files, folders of videos, folders of images.
        processes: Videos that are tracked at once.
        overwrite: Track also what is there.
        ckpt: See `track_video`.
        output: Folder for the trajectories and the summary.
        overlay: Refused, as are ``-`` for the output and `drop_late`.
        mode: See `track_video`.
        step: See `track_video`.
        flip: See `track_video`.
        tracker: See `track_video`.
        max_jump: See `track_video`.
        drop_late: Refused.
        background_seconds: See `track_video`.
        batch_size: See `track_video`.
        device: See `track_video`.
        engine: See `track_video`.
        threshold: See `track_video`.
        trail: Of no use without an overlay.
        rectifier: See `track_video`.
        max_gap: See `track_video`.

    Returns:
        Exit code, see `track_videos`.

    Raises:
        UsageError: An option that is for one video; and as `track_videos`.
        TrackNetError: As `track_videos`.
    """
    if drop_late:
        raise UsageError("--drop_late is for live streams; a file waits")
    if overlay is not None:
        raise UsageError("--overlay is for one video; track it once more by itself to see it")
    if output == Path("-"):
        raise UsageError("--output - is for one video; many have a folder")
    settings = TrackSettings(
        ckpt=ckpt,
        mode=mode or "single",
        step=step,
        flip=flip,
        max_jump=max_jump if tracker == "online" else None,
        background_seconds=background_seconds,
        batch_size=batch_size,
        device=device,
        engine=engine,
        threshold=threshold,
        rectifier=rectifier,
        max_gap=max_gap,
    )
    return track_videos(videos, settings, output, processes, overwrite)


def track_videos(
    videos: Sequence[str],
    settings: TrackSettings,
    output: Path | None = None,
    processes: PositiveInt = 1,
    overwrite: bool = False,
) -> int:
    """Find the ball in many videos; one that fails does not stop the others.

    A trajectory that is there, whole and made with the same checkpoint and settings, is left as it is. The
    summary is on disk after each video, so that a killed command can be given again.

    Args:
        videos: Video files, folders of videos, folders of images.
        settings: How to track.
        output: Folder for the trajectories and the summary; default ``tracked`` in the current folder.
        processes: Videos that are tracked at once.
        overwrite: Track also what is there.

    Returns:
        Exit code: 0, or 130 after a Ctrl-C.

    Raises:
        UsageError: No videos, or a setting that no video can be tracked with.
        TrackNetError: A video failed; the checkpoint cannot be used, or the results cannot be written.
    """
    if live := next((one for one in videos if is_live(one)), None):
        raise UsageError(f"{live}: live streams are tracked one at a time, each with a command of its own")
    folder = output or TRACKED
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: expected a folder for many videos, found a file")
    jobs = find_jobs([Path(one).expanduser() for one in videos], folder)
    check_summary(folder)
    made = how_made(settings)
    outcomes = {job: Outcome(job, "open") for job in jobs}
    for job in [] if overwrite else jobs:
        if before := done_before(job, made):
            outcomes[job] = before
    left = [job for job in jobs if outcomes[job].status == "open"]
    if skipped := len(jobs) - len(left):
        print(f"{skipped} of {len(jobs)} videos are done and skipped (--overwrite tracks them again)")
    remove_leftovers(folder / SUMMARY)
    stopped = False
    try:
        _track(left, len(jobs), settings, made, processes, outcomes, folder)
    except KeyboardInterrupt:
        stopped = True
    summary = write_summary(folder, outcomes.values())
    print_table(list(COLUMNS), [one.cells() for one in outcomes.values()])
    counts = {status: _count(outcomes, status) for status in get_args(Status)}
    print(", ".join(f"{count} {status}" for status, count in counts.items() if count))
    print(f"summary:    {summary}", flush=True)
    if stopped:
        print(f"stopped; {counts['open']} videos are left: the same command goes on", file=sys.stderr)
        return INTERRUPTED
    if failed := [one for one in outcomes.values() if one.status == "failed"]:
        reasons = "".join(f"\n  {one.reason}" for one in failed)
        raise TrackNetError(f"{len(failed)} of {len(jobs)} videos failed{reasons}")
    return 0


def how_made(settings: TrackSettings) -> dict[str, Value]:
    """Give what decides on a trajectory: settings, and the content of checkpoints in place of their names.

    Args:
        settings: How to track; where it runs, and how many windows at once, does not count.

    Raises:
        TrackNetError: The checkpoint cannot be read.
    """
    told: dict[str, Value] = {
        key: value
        for key, value in settings._asdict().items()
        if key not in ("ckpt", "batch_size", "device", "engine", "rectifier")
    }
    told["ckpt"] = _digest(settings.ckpt)
    rectifier = settings.rectifier
    told["rectifier"] = _digest(Path(rectifier)) if rectifier and Path(rectifier).is_file() else rectifier
    return told


def _track(
    left: list[VideoJob],
    total: int,
    settings: TrackSettings,
    made: dict[str, Value],
    processes: int,
    outcomes: dict[VideoJob, Outcome],
    folder: Path,
) -> None:
    """Track what is left, and note each video as soon as it is done."""
    if not left:
        return
    frames = sum(_estimate(job) for job in left)
    done = total - len(left)
    with track_progress(frames or None, "frames", f"tracking {len(left)} videos") as bar:
        tell = bar.advance
        if processes > 1 and len(left) > 1:
            results = track_in_processes(left, settings, min(processes, len(left)), tell)
        else:
            results = track_here(left, settings, tell)
        with closing(results):
            for outcome in results:
                if outcome.status == "tracked":
                    try:
                        write_told(outcome, made)
                    except TrackNetError as error:  # the video has gone, say
                        outcome = Outcome(outcome.job, "failed", reason=str(error))
                outcomes[outcome.job] = outcome
                write_summary(folder, outcomes.values())
                done += 1
                bar.note(f"[{done}/{total}] {_in_short(outcome)}")


def _in_short(outcome: Outcome) -> str:
    if outcome.status == "failed":
        return f"failed: {outcome.reason}"
    rate = outcome.frames / max(outcome.seconds, 1e-6)
    return f"{outcome.job.name}: {outcome.frames} frames, ball in {outcome.balls}, {rate:.1f} frames/s"


def _count(outcomes: dict[VideoJob, Outcome], status: Status) -> int:
    return sum(one.status == status for one in outcomes.values())


def _estimate(job: VideoJob) -> int:
    try:
        return open_source(job.video).estimate()
    except TrackNetError:
        return 0  # it fails when its turn comes


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise TrackNetError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()
