"""`tracknet track`: find the ball in a video."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveFloat, PositiveInt

from tracknet.cli.engines import Device, Engine, Precision
from tracknet.cli.held_interrupt import INTERRUPTED
from tracknet.cli.subcommands import usage_message
from tracknet.cli.track_output import UNNAMED, csv_path, overlay_path, print_summary
from tracknet.cli.trusting import add_trust
from tracknet.data.running_background import BACKGROUND_SECONDS
from tracknet.errors import UsageError
from tracknet.evaluation.gaps import MAX_GAP
from tracknet.tracking.modes import Mode
from tracknet.tracking.online import MAX_JUMP, OnlineTracker
from tracknet.tracking.trackers import TrackerName
from tracknet.tracking.trajectory import (
    TrajectoryInterrupted,
    frames_before,
    partial_path,
    trajectory_rows,
    write_rows,
    write_trajectory,
)

_FLIP = "Average with what is found in the mirrored frames; takes twice as long."
_WORKERS = "Of many videos, how many are tracked at once, each by a process; they share the cores."
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
    videos, workers, overwrite = (chosen.pop(key) for key in ("video", "workers", "overwrite"))
    if _are_many(videos):
        from tracknet.cli.track_many import track_many

        return track_many(videos, workers, overwrite, chosen)
    if workers > 1:
        raise UsageError("--workers is for many videos; one video is tracked by one process")
    if chosen["overlay"] == UNNAMED:
        output = chosen["output"] or Path()
        chosen["overlay"] = output if output.is_dir() else output.parent
    return track_video(videos[0], **chosen)


def _check_partners(argv: Sequence[str], chosen: Mapping[str, Any]) -> None:
    """Refuse options that do nothing without another one."""
    from tracknet.data.stream_names import is_live

    live = len(chosen["video"]) == 1 and is_live(chosen["video"][0])
    causal = live or chosen["mode"] == "causal"
    if causal and chosen["tracker"] == "flight":
        raise UsageError(
            "--tracker flight looks at what comes after a frame, which live streams and --mode causal do not "
            "wait for; use --tracker online"
        )
    for option, works, partner in (
        ("--max_jump", chosen["tracker"] == "online", "with --tracker online"),
        ("--max_gap", chosen["rectifier"] is not None, "with --rectifier"),
        ("--trail", chosen["overlay"] is not None, "with --overlay"),
        ("--lookahead", causal, "with --mode causal, and for live streams"),
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
    parser.add_argument("--workers", "--processes", type=PositiveInt, default=1, help=_WORKERS)
    parser.add_argument("--overwrite", action="store_true", help=_OVERWRITE)
    parser.add_function_arguments(track_video, as_group=False, skip={"video", "overlay", "flip", "drop_late"})
    parser.add_argument(
        "--overlay",
        nargs="?",
        const=UNNAMED,
        type=Path,
        metavar="MP4",
        help="Video to write with the ball drawn in, or a folder for it; without a value VIDEO_overlay.mp4 "
        "beside the trajectory. Of many videos, a folder; without a value beside their trajectories.",
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
    lookahead: NonNegativeInt = 0,
    flip: bool = False,
    tracker: TrackerName | None = None,
    max_jump: PositiveFloat = MAX_JUMP,
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
        mode: single: windows do not overlap, the fastest. average: windows slide by step, and each frame is
            the mean of all windows that see it. triangular: as average, the middle of a window counting
            the most. causal: each frame by the window that ends with it, the only one for live streams.
            Default single, or causal for a live stream.
        step: Frames from one window to the next in the modes average, triangular and causal; default 1. In
            causal, and of a live stream, so many rows come together, each at a fraction of the cost.
        lookahead: In the mode causal, and of a live stream, frames that come before one is judged: its row is
            so many frames later, and better.
        flip: Average with what is found in the mirrored frames.
        tracker: flight: the candidate on the likeliest flight through the whole video, also one below the
            threshold; not for live streams. online: that nearest to where the flight so far leads (WASB's
            online tracker). none: the best candidate of each frame. Default flight; none for live streams,
            for the mode causal, and for graphs that give positions only.
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
        threshold: Confidence from which a ball counts as visible, with the tracker flight where its flight
            says nothing else; default that of the checkpoint.
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

        _check_live(mode, overlay, rectifier)
        return track_stream(
            str(video),
            ckpt,
            output,
            step=step or 1,
            lookahead=lookahead,
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
        overlay = overlay_path(overlay, name, video)

    from tracknet.cli.video_tracker import TrackSettings, VideoTracker
    from tracknet.tracking.overlay import render_overlay

    settings = TrackSettings(
        ckpt=ckpt,
        mode=mode or "single",
        step=step,
        lookahead=lookahead,
        flip=flip,
        tracker=tracker,
        max_jump=max_jump,
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
        print(f"stopped; {frames_before(stop.summary.frames)} in {stop.path}", file=sys.stderr)
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


def _check_live(mode: Mode | None, overlay: Path | None, rectifier: str | None) -> None:
    """Refuse what needs all frames to come, or the video a second time."""
    if mode not in (None, "causal"):
        raise UsageError(
            f"--mode {mode} is for files; a live stream has frames to come with --lookahead: leave it out"
        )
    if rectifier is not None:
        raise UsageError("--rectifier is for files; record the stream, and track the recording")
    if overlay is not None:
        raise UsageError("--overlay reads the video again; record the stream, and track the recording")


def _usage(message: str, argv: Sequence[str], parser: ArgumentParser) -> str:
    """Make one message of what is wrong with the words."""
    if message.endswith("required: video") and "--overlay" in argv:
        told = "no VIDEO; write it before --overlay, which takes the word after it"
    else:
        told = usage_message(message, parser)
    return f"{told} (see tracknet track --help)"
