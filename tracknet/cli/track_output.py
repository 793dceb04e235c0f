"""What `tracknet track` leaves behind: where its files go, and the line that sums them up."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from tracknet.data.faults import plural
from tracknet.data.whole_file import why_refused
from tracknet.errors import TrackNetError, UsageError
from tracknet.tracking.trajectory import FILLED, HEADER, TrajectorySummary

OVERLAY_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi")

UNNAMED = Path("VIDEO_overlay.mp4")
"""Stands for ``--overlay`` without a value."""


def csv_path(output: Path | None, name: str) -> Path:
    """Say where the trajectory goes; never over a file that is something else, such as labels.

    Args:
        output: CSV or folder; None for the current folder.
        name: What the file is named after where it is not told.

    Returns:
        The CSV, in a folder that is there.

    Raises:
        UsageError: The name is not that of a CSV.
        TrackNetError: The file is there and no trajectory, or its folder cannot be made.
    """
    path = _within(output or Path(), f"{name}_ball.csv")
    if path.suffix.lower() != ".csv":
        raise UsageError(f"--output {path}: expected a name in .csv, or a folder that exists")
    if path.exists():
        with path.open("rb") as file:
            first = file.readline(200)
        if first.strip() not in (",".join(HEADER).encode(), ",".join([*HEADER, FILLED]).encode()):
            raise TrackNetError(
                f"{path}: exists and was not written by `tracknet track` (it may be labels); "
                "it is left alone: choose another --output"
            )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackNetError(f"{path.parent}: the folder cannot be made: {why_refused(error)}") from error
    return path


def overlay_path(overlay: Path, name: str, video: Path) -> Path:
    """Say where the overlay goes, before the long work.

    Args:
        overlay: Video or folder.
        name: What the file is named after where it is not told.
        video: What is tracked.

    Raises:
        UsageError: The name is not that of a video, or it is the video itself.
        TrackNetError: The file is there and no overlay.
    """
    path = _within(overlay, f"{name}_overlay.mp4")
    if path.suffix.lower() not in OVERLAY_SUFFIXES:
        raise UsageError(
            f"--overlay {path}: expected a name in {', '.join(OVERLAY_SUFFIXES)}, or a folder that exists"
        )
    if path.resolve() == video.resolve():
        raise UsageError(f"--overlay {path}: is the video itself; choose another name")
    if path.exists() and not path.stem.endswith("_overlay"):
        from tracknet.data.video_writer import comment_of
        from tracknet.tracking.overlay import COMMENT

        if comment_of(path) != COMMENT:
            raise TrackNetError(
                f"--overlay {path}: exists and is no overlay that `tracknet track` wrote; it is left alone: "
                "choose another name"
            )
    return path


def _within(path: Path, name: str) -> Path:
    return path / name if path.is_dir() else path


def print_summary(summary: TrajectorySummary, seconds: float, threshold: float, file: TextIO) -> None:
    """Say how much was done and found, and what to do where nothing was.

    Args:
        summary: What was written, of at least one frame.
        seconds: How long it took.
        threshold: Confidence from which a ball counts as visible.
        file: Where to print.
    """
    rate = summary.frames / max(seconds, 1e-6)
    share = summary.visible / summary.frames
    filled = f", {summary.filled} of them filled" if summary.filled else ""
    found = f"ball in {summary.visible} ({share:.1%}){filled}"
    print(f"{plural(summary.frames, 'frame')}, {rate:.1f} frames/s, {found}", file=file)
    if not summary.visible and summary.best >= threshold:
        print(
            f"no ball found: what reaches the threshold, {threshold:.2f}, up to {summary.best:.2f}, lies on "
            "no flight. See what it is with --tracker none.",
            file=file,
        )
    elif not summary.visible:
        print(
            f"no ball found: the highest confidence is {summary.best:.2f}, the threshold {threshold:.2f}. "
            "Lower --threshold, or train on videos like this one.",
            file=file,
        )
