"""`tracknet track` over many videos: what is left to do, how far it is, and what became of each."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, get_args

from jsonargparse.typing import NonNegativeInt, PositiveInt

from tracknet.cli.held_interrupt import INTERRUPTED
from tracknet.cli.runs_shown import print_table
from tracknet.cli.track_output import OVERLAY_SUFFIXES, UNNAMED
from tracknet.cli.track_workers import Orders, track_here, track_in_processes
from tracknet.cli.video_tracker import TrackSettings
from tracknet.data.faults import plural
from tracknet.data.file_lock import locked
from tracknet.data.progress import track_progress
from tracknet.data.stream_names import is_live, without_secrets
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
    other_video,
    write_summary,
)
from tracknet.tracking.finder import gives_heatmaps

TRACKED = Path("tracked")
"""Where the trajectories of many videos go unless told otherwise."""

_LOCK = ".lock"


def track_many(
    videos: Sequence[str], processes: PositiveInt, overwrite: bool, options: Mapping[str, Any]
) -> int:
    """Track many videos as `track_video` tracks one; its settings mean the same here.

    Args:
        videos: Video files, folders of videos, folders of images.
        processes: Videos that are tracked at once.
        overwrite: Track also what is there.
        options: Those of `track_video` by name. Output and overlay are folders, `UNNAMED` for overlays beside
            the trajectories; `drop_late` is refused.

    Returns:
        Exit code, see `track_videos`.

    Raises:
        UsageError: An option that is for one video, or a file where many need a folder; and as
            `track_videos`.
        TrackNetError: As `track_videos`.
    """
    output, overlay = options["output"], options["overlay"]
    if options["drop_late"]:
        raise UsageError("--drop_late is for live streams; a file waits")
    if output == Path("-"):
        raise UsageError("--output - is for one video; many have a folder")
    folder = _folder("--output", output or TRACKED)
    overlays = folder if overlay == UNNAMED else overlay and _folder("--overlay", overlay)
    settings = TrackSettings.chosen(options)
    return track_videos(videos, settings, folder, overlays, options["trail"], processes, overwrite)


def track_videos(
    videos: Sequence[str],
    settings: TrackSettings,
    output: Path = TRACKED,
    overlays: Path | None = None,
    trail: NonNegativeInt = 12,
    processes: PositiveInt = 1,
    overwrite: bool = False,
) -> int:
    """Find the ball in many videos; one that fails does not stop the others.

    A trajectory that is there, whole and made with the same checkpoint and settings, is left as it is, and so
    is an overlay of it. The summary is on disk after each video, so that a killed command can be given again.

    Args:
        videos: Video files, folders of videos, folders of images.
        settings: How to track.
        output: Folder for the trajectories and the summary.
        overlays: Folder for the videos with the ball drawn in; None for none.
        trail: Frames of the trail in them.
        processes: Videos that are tracked at once.
        overwrite: Track also what is there.

    Returns:
        Exit code: 0, or 130 after a Ctrl-C.

    Raises:
        UsageError: No videos, or a setting that no video can be tracked with.
        TrackNetError: A video failed; the checkpoint cannot be used, or the results cannot be written, as
            while another command writes them.
    """
    if live := next((one for one in videos if is_live(one)), None):
        told = without_secrets(live)
        raise UsageError(f"{told}: live streams are tracked one at a time, each with a command of its own")
    jobs = find_jobs([Path(one).expanduser() for one in videos], output, overlays)
    check_summary(output)
    with _alone_in(output):
        return _track_all(jobs, settings, output, trail, processes, overwrite)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other commands out of a folder, which is made, and gone again where nothing came into it."""
    with ExitStack() as held:
        if not folder.exists():
            held.callback(_remove_empty, folder)
        try:
            alone = held.enter_context(locked(folder / _LOCK, wait=False))
        except OSError as error:
            raise TrackNetError(f"{folder}: cannot be written: {error.strerror}") from error
        if not alone:
            raise TrackNetError(
                f"{folder}: another command is tracking into this folder; wait, or choose another --output"
            )
        yield


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _track_all(
    jobs: list[VideoJob],
    settings: TrackSettings,
    output: Path,
    trail: int,
    processes: int,
    overwrite: bool,
) -> int:
    if not overwrite:
        for job in jobs:
            if other := other_video(job):
                raise UsageError(
                    f"{job.csv}: is the trajectory of {other}, and that of {job.video} would be written over "
                    "it; choose another --output, or take --overwrite"
                )
    orders = Orders(settings, how_made(settings), trail)
    outcomes = {
        job: Outcome(job, "open") if overwrite else done_before(job, orders.made, trail) for job in jobs
    }
    left = [one for one in outcomes.values() if one.status == "open"]
    if skipped := len(jobs) - len(left):
        told = "is done and skipped" if skipped == 1 else "are done and skipped"
        print(f"{skipped} of {plural(len(jobs), 'video')} {told} (--overwrite tracks them again)")
    remove_leftovers(output / SUMMARY)
    stopped = False
    try:
        _track(left, orders, processes, outcomes, output)
    except KeyboardInterrupt:
        stopped = True
    summary = write_summary(output, outcomes.values())
    print_table(list(COLUMNS), [one.cells() for one in outcomes.values()])
    counts = {status: _count(outcomes, status) for status in get_args(Status)}
    print(", ".join(f"{count} {status}" for status, count in counts.items() if count))
    print(f"summary:    {summary}", flush=True)
    if stopped:
        print(f"stopped; {plural(counts['open'], 'video')} left: the same command goes on", file=sys.stderr)
        return INTERRUPTED
    if failed := [one for one in outcomes.values() if one.status == "failed"]:
        reasons = "".join(f"\n  {one.reason}" for one in failed)
        raise TrackNetError(f"{len(failed)} of {plural(len(jobs), 'video')} failed{reasons}")
    return 0


_BEFORE = {("precision", "32"), ("lookahead", 0)}
"""Settings that came later, as they were before there was a choice: what was made then is still whole."""


def how_made(settings: TrackSettings) -> dict[str, Value]:
    """Give what decides on a trajectory: settings, and the content of checkpoints in place of their names.

    Args:
        settings: How to track; where it runs, and how many windows at once, does not count.

    Raises:
        TrackNetError: The checkpoint cannot be read.
    """
    elsewhere = ("ckpt", "batch_size", "device", "engine", "rectifier", "tracker", "max_jump")
    told: dict[str, Value] = {
        key: value
        for key, value in settings._asdict().items()
        if key not in elsewhere and (key, value) not in _BEFORE
    }
    # There was max_jump, for the online tracker, before there was a name for who chooses.
    tracker = settings.tracker_of(settings.tracker is not None or _gives_heatmaps(settings.ckpt))
    told["max_jump"] = settings.max_jump if tracker == "online" else None
    if tracker == "flight":
        told["flight"] = True
    told["ckpt"] = _digest(settings.ckpt)
    rectifier = settings.rectifier
    told["rectifier"] = _digest(Path(rectifier)) if rectifier and Path(rectifier).is_file() else rectifier
    return told


def _gives_heatmaps(ckpt: Path) -> bool:
    if ckpt.suffix != ".onnx":
        return True
    from tracknet.tracking.onnx_detector import load_onnx

    return gives_heatmaps(load_onnx(ckpt))


def _folder(option: str, path: Path) -> Path:
    """Refuse what is, or is named like, one file."""
    is_file = path.suffix.lower() in (*OVERLAY_SUFFIXES, ".csv") and not path.is_dir()
    if is_file or (path.exists() and not path.is_dir()):
        raise UsageError(f"{option} {path}: expected a folder for many videos, found a file")
    return path


def _track(
    left: list[Outcome],
    orders: Orders,
    processes: int,
    outcomes: dict[VideoJob, Outcome],
    folder: Path,
) -> None:
    """Do what is left, and note each video as soon as it is done."""
    if not left:
        return
    frames = sum(_estimate(one) for one in left)
    done = len(outcomes) - len(left)
    tracks, draws = any(not one.has_trajectory for one in left), any(one.job.overlay for one in left)
    work = " and ".join(["tracking"] * tracks + ["drawing"] * draws)
    unit = "steps" if tracks and draws else "frames"  # most frames are gone through twice then
    with track_progress(frames or None, unit, f"{work} {plural(len(left), 'video')}") as bar:
        tell = bar.advance
        if processes > 1 and len(left) > 1:
            results = track_in_processes(left, orders, min(processes, len(left)), tell)
        else:
            results = track_here(left, orders, tell)
        with closing(results):
            for outcome in results:
                outcomes[outcome.job] = outcome
                write_summary(folder, outcomes.values())
                done += 1
                bar.note(f"[{done}/{len(outcomes)}] {_in_short(outcome)}")


def _in_short(outcome: Outcome) -> str:
    if outcome.status == "failed":
        return f"failed: {outcome.reason}"
    if outcome.status == "drawn":
        return f"{outcome.job.name}: overlay of {plural(outcome.frames, 'frame')} drawn"
    rate = outcome.frames / max(outcome.seconds, 1e-6)
    return (
        f"{outcome.job.name}: {plural(outcome.frames, 'frame')}, ball in {outcome.balls}, {rate:.1f} frames/s"
    )


def _count(outcomes: dict[VideoJob, Outcome], status: Status) -> int:
    return sum(one.status == status for one in outcomes.values())


def _estimate(left: Outcome) -> int:
    """Give the frames that are to be gone through: to track them, and again to draw into them."""
    times = int(not left.has_trajectory) + int(left.job.overlay is not None)
    try:
        return times * open_source(left.job.video).estimate()
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
