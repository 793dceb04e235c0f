"""`tracknet track`: find the ball in a video."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

from jsonargparse import ArgumentParser
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveFloat, PositiveInt

from tracknet.cli.engines import Engine, Precision
from tracknet.cli.subcommands import usage_message
from tracknet.cli.trusting import add_trust
from tracknet.data.running_background import BACKGROUND_SECONDS
from tracknet.data.whole_file import why_refused
from tracknet.errors import TrackNetError, UsageError
from tracknet.evaluation.gaps import MAX_GAP
from tracknet.tracking.modes import Mode
from tracknet.tracking.online import OnlineTracker
from tracknet.tracking.trajectory import (
    FILLED,
    HEADER,
    TrajectoryInterrupted,
    TrajectorySummary,
    partial_path,
    trajectory_rows,
    write_rows,
    write_trajectory,
)

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

OVERLAY_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi")

UNNAMED = Path("VIDEO_overlay.mp4")
"""Stands for ``--overlay`` without a value."""

Device = Literal["auto", "cpu", "cuda", "mps"]
Choice = Literal["none", "online"]

_FLIP = "Average with what is found in the mirrored frames; takes twice as long."
_PROCESSES = "Of many videos, how many are tracked at once, each by a process; they share the cores."
_OVERWRITE = "Of many videos, track also those that are done with the same checkpoint and settings."
_DROP_LATE = (
    "Of a live stream that is faster than the network, take the newest frame; there is no row for those "
    "passed over, and the rows still say the number of their frame. Without it the stream has to wait."
)


def main(argv: Sequence[str]) -> int:
    """Run ``tracknet track``.

    Args:
        argv: The words after ``track``.

    Returns:
        Exit code, see `track_video`.

    Raises:
        UsageError: A wrong option.
        TrackNetError: Video or checkpoint cannot be used, or a result cannot be written.
    """
    parser = make_parser()
    try:
        options = parser.parse_args(list(argv))
    except argparse.ArgumentError as error:
        raise UsageError(_usage(str(error), argv, parser)) from error
    chosen = vars(options)
    _check_partners(argv, chosen)
    videos, processes, overwrite = (chosen.pop(key) for key in ("video", "processes", "overwrite"))
    if _are_many(videos):
        from tracknet.cli.track_many import track_many

        return track_many(videos, processes, overwrite, chosen)
    if processes > 1:
        raise UsageError("--processes is for many videos; one video is tracked by one process")
    if chosen["overlay"] == UNNAMED:
        chosen["overlay"] = Path()
    return track_video(videos[0], **chosen)


def _check_partners(argv: Sequence[str], chosen: Mapping[str, Any]) -> None:
    """Refuse options that do nothing without another one."""
    from tracknet.data.stream_names import is_live

    live = len(chosen["video"]) == 1 and is_live(chosen["video"][0])
    causal = live or chosen["mode"] == "causal"
    for option, works, partner in (
        ("--max_jump", chosen["tracker"] == "online", "with --tracker online"),
        ("--max_gap", chosen["rectifier"] is not None, "with --rectifier"),
        ("--trail", chosen["overlay"] is not None, "with --overlay"),
        ("--background_seconds", causal, "with --mode causal, and for live streams"),
        ("--batch_size", not live, "for files; frames of a live stream come one by one"),
    ):
        if not works and any(word.partition("=")[0] == option for word in argv):
            raise UsageError(f"{option} does something only {partner}")


def make_parser() -> ArgumentParser:
    """Make what reads the words of ``tracknet track``."""
    parser = ArgumentParser(
        prog="tracknet track",
        description="Find the ball in every frame of a video, or of many; write one CSV row a frame.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument(
        "video",
        type=str,
        nargs="+",
        metavar="VIDEO",
        help="Video file, or folder of images in order; or a live stream: a URL (rtsp://, http://), a camera "
        "(/dev/video0, avfoundation:0, dshow:video=NAME), a named pipe, or - for standard input. Or many: "
        "several files, or folders that are searched for videos; --output is then a folder, default tracked.",
    )
    parser.add_argument("--flip", action="store_true", help=_FLIP)
    parser.add_argument("--drop_late", action="store_true", help=_DROP_LATE)
    parser.add_argument("--processes", type=PositiveInt, default=1, help=_PROCESSES)
    parser.add_argument("--overwrite", action="store_true", help=_OVERWRITE)
    parser.add_function_arguments(track_video, as_group=False, skip={"video", "overlay", "flip", "drop_late"})
    parser.add_argument(
        "--overlay",
        nargs="?",
        const=UNNAMED,
        type=Path,
        metavar="MP4",
        help="Video to write with the ball drawn in, or a folder for it; without a value VIDEO_overlay.mp4 "
        "in the current folder. Of many videos, a folder; without a value, beside their trajectories.",
    )
    add_trust(parser)
    return parser


def _are_many(videos: Sequence[str]) -> bool:
    if len(videos) > 1:
        return True
    path = Path(videos[0]).expanduser()
    if not path.is_dir():
        return False
    from tracknet.tracking.batch import holds_videos

    return holds_videos(path)


def track_video(
    video: Path | str,
    ckpt: Path,
    output: Path | None = None,
    overlay: Path | None = None,
    mode: Mode | None = None,
    step: PositiveInt | None = None,
    flip: bool = False,
    tracker: Choice = "none",
    max_jump: PositiveFloat = 300.0,
    drop_late: bool = False,
    background_seconds: PositiveFloat = BACKGROUND_SECONDS,
    batch_size: PositiveInt = 4,
    device: Device = "auto",
    engine: Engine = "auto",
    precision: Precision = "32",
    threshold: ClosedUnitInterval | None = None,
    trail: NonNegativeInt = 12,
    rectifier: str | None = None,
    max_gap: PositiveInt = MAX_GAP,
) -> int:
    """Find the ball in every frame of a video, write what was found and say where it lies.

    Args:
        video: Video file, or folder of images, or live stream.
        ckpt: Checkpoint of `tracknet fit`, or graph of `tracknet export` (.onnx).
        output: CSV to write, or a folder for it, or - for standard output, each row as soon as it is known;
            default VIDEO_ball.csv in the current folder.
        overlay: Video to write with the ball drawn in, or a folder for it; default none.
        mode: single: windows do not overlap, the fastest. average: windows slide by one frame, and each frame
            is the mean of all windows that see it. triangular: as average, the middle of a window counting
            the most. causal: each frame by the window that ends with it, the only one for live streams.
            Default single, or causal for a live stream.
        step: Frames from one window to the next in the modes average and triangular; default 1.
        flip: Average with what is found in the mirrored frames.
        tracker: none: the best candidate of each frame. online: the candidate nearest to where the flight so
            far leads (WASB's online tracker).
        max_jump: Furthest way of the ball in one frame that the online tracker follows, in pixels of a
            picture 720 high.
        drop_late: Of a live stream, take the newest frame.
        background_seconds: In the mode causal, the seconds whose median is the background.
        batch_size: Windows of frames that the network is given at once; smaller needs less memory.
        device: Where the network runs; auto takes a GPU where there is one.
        engine: What runs the network: torch a checkpoint, onnxruntime a graph of `tracknet export`; auto goes
            by the ending of the file. compiled: torch.compile a checkpoint, which takes a minute and is then
            faster: for long videos.
        precision: What the network computes with: bf16 or 16 bits are faster on GPUs, bf16 also on CPUs with
            AMX; confidences change in their third digit.
        threshold: Confidence from which a ball counts as visible; default that of the checkpoint.
        trail: Frames of the trail in the overlay; 0 for none.
        rectifier: Fill short gaps, and mark them in a column Filled: linear, acceleration or cubic for a
            curve, or a checkpoint of a TrajectoryRectifier; default gaps stay.
        max_gap: Longest gap that the rectifier fills, in frames; what is longer stays empty.

    Returns:
        Exit code: 0, or 130 after a Ctrl-C that left something behind.

    Raises:
        TrackNetError: Video or checkpoint cannot be used, or a result cannot be written.
    """
    from tracknet.data.stream_names import is_live
    from tracknet.data.video import open_source

    if is_live(str(video)):
        from tracknet.cli.live import track_stream

        _check_live(mode, step, overlay, rectifier)
        return track_stream(
            str(video),
            ckpt,
            output,
            flip=flip,
            online=OnlineTracker(max_jump) if tracker == "online" else None,
            drop_late=drop_late,
            background_seconds=background_seconds,
            device=device,
            engine=engine,
            precision=precision,
            threshold=threshold,
        )
    if drop_late:
        raise UsageError("--drop_late is for live streams; a file waits")
    video = Path(video)
    source = open_source(video)
    name = video.resolve().name if video.is_dir() else video.stem
    to_screen = output == Path("-")
    if to_screen and overlay is not None:
        raise UsageError("--overlay is drawn from the CSV; give --output a name instead of -")
    output = Path("-") if to_screen else csv_path(output, name)
    if overlay is not None:
        overlay = _overlay_path(overlay, name, video)

    from tracknet.cli.video_tracker import TrackSettings, VideoTracker
    from tracknet.tracking.overlay import render_overlay

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
        precision=precision,
        threshold=threshold,
        rectifier=rectifier,
        max_gap=max_gap,
    )
    finder = VideoTracker(settings, progress=True)
    started = time.monotonic()
    try:
        with finder.rows(source) as rows:
            if to_screen:
                summary = write_rows(sys.stdout, rows, filled=finder.fills)
            else:
                summary = write_trajectory(output, rows, filled=finder.fills)
                partial_path(output).unlink(missing_ok=True)  # of a command that was stopped
    except TrajectoryInterrupted as stop:
        print(f"stopped; the {stop.summary.frames} frames before are in {stop.path}", file=sys.stderr)
        return INTERRUPTED
    talk = sys.stderr if to_screen else sys.stdout
    print_summary(summary, time.monotonic() - started, finder.threshold, talk)
    if to_screen:
        return 0
    print(f"trajectory: {output}", flush=True)

    if overlay is None:
        print("to see it:  the same command with --overlay")
        return 0
    try:
        render_overlay(source, trajectory_rows(output), overlay, trail)
    except KeyboardInterrupt:
        print(f"stopped; there is no overlay, the trajectory is whole: {output}", file=sys.stderr)
        return INTERRUPTED
    print(f"overlay:    {overlay}")
    return 0


def choose_device(name: Device) -> str:
    """Find out whether there is the device that was asked for.

    Args:
        name: ``auto`` takes CUDA, then MPS, where there is one, else the CPU.

    Returns:
        The name of the device for PyTorch.

    Raises:
        TrackNetError: This machine, or this PyTorch, has no such device.
    """
    import torch

    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(kind for kind, available in here.items() if available)
    if not here[name]:
        found = ", ".join(kind for kind, available in here.items() if available)
        raise TrackNetError(
            f"no {name} device that PyTorch {torch.__version__} can use; found {found}: use --device auto"
        )
    return name


def _check_live(mode: Mode | None, step: int | None, overlay: Path | None, rectifier: str | None) -> None:
    """Refuse what needs the frames to come, or the whole video."""
    ahead = {f"--mode {mode}": mode not in (None, "causal"), "--step": step, "--rectifier": rectifier}
    for word, given in ahead.items():
        if given:
            raise UsageError(f"{word} looks ahead, which a live stream does not allow: leave it out")
    if overlay is not None:
        raise UsageError("--overlay reads the video again; record the stream, and track the recording")


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


def _overlay_path(overlay: Path, name: str, video: Path) -> Path:
    """Say where the overlay goes, before the long work."""
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
    print(f"{summary.frames} frames, {rate:.1f} frames/s, {found}", file=file)
    if not summary.visible:
        print(
            f"no ball found: the highest confidence is {summary.best:.2f}, the threshold {threshold:.2f}. "
            "Lower --threshold, or train on videos like this one.",
            file=file,
        )


def _usage(message: str, argv: Sequence[str], parser: ArgumentParser) -> str:
    """Make one message of what is wrong with the words."""
    if message.endswith("required: video") and "--overlay" in argv:
        told = "no VIDEO; write it before --overlay, which takes the word after it"
    else:
        told = usage_message(message, parser)
    return f"{told} (see tracknet track --help)"
