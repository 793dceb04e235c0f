"""Many videos: which there are, where their trajectories go, and which of these are there already."""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tracknet.data.layouts.folders import VIDEO_SUFFIXES, entries, natural
from tracknet.data.video import IMAGE_SUFFIXES, open_source
from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError, UsageError, printable

SUMMARY = "summary.csv"
COLUMNS = ("file", "frames", "frames_with_ball", "fps", "seconds", "status", "reason")
"""Columns of the summary; fps is the speed of the tracking, in frames a second."""

Status = Literal["tracked", "drawn", "skipped", "failed", "open"]
Value = str | int | float | bool | None


class VideoJob(NamedTuple):
    """A video and where its trajectory goes.

    Attributes:
        video: Video file, or folder of images.
        name: What it is called in the summary: its path below the folder that was named.
        csv: The trajectory.
        overlay: The video with the ball drawn in; None where none is wanted.
    """

    video: Path
    name: str
    csv: Path
    overlay: Path | None = None


class Outcome(NamedTuple):
    """What became of a video.

    Attributes:
        job: The video.
        status: ``drawn`` got an overlay for the trajectory that was there, ``skipped`` was done before,
            ``open`` was not reached.
        frames: Frames of the trajectory; 0 where there is none.
        balls: Those with a ball.
        seconds: Time that the tracking took, when it was tracked.
        reason: Why it failed or was skipped.
    """

    job: VideoJob
    status: Status
    frames: int = 0
    balls: int = 0
    seconds: float = 0.0
    reason: str = ""

    @property
    def has_trajectory(self) -> bool:
        """Whether the trajectory is there."""
        return self.frames > 0

    def cells(self) -> list[str]:
        """Give the row of the summary."""
        if self.status in ("failed", "open"):
            return [self.job.name, "", "", "", "", self.status, printable(self.reason)]
        rate = self.frames / max(self.seconds, 1e-6)
        figures = [str(self.frames), str(self.balls), f"{rate:.1f}", f"{self.seconds:.1f}"]
        return [self.job.name, *figures, self.status, printable(self.reason)]


def holds_videos(path: Path) -> bool:
    """Say whether a path is a folder of videos, rather than one video.

    A folder with images in it is one video, as it always was; any other folder is searched.

    Args:
        path: A file or a folder.

    Returns:
        True for a folder of videos; False also where nothing is found.

    Raises:
        UsageError: The folder holds images, and videos too.
    """
    if not path.is_dir():
        return False
    images = _images(path)
    below = _below(path, frozenset())
    if images and (films := [one for one in below if not one.is_dir()]):
        raise UsageError(
            f"{path}: holds images ({len(images)}, such as {images[0].name}) and videos ({len(films)}, such "
            f"as {films[0].relative_to(path)}), so it may be one video or many; name the videos one by one "
            f"({path}/*{films[0].suffix}), or give the images a folder of their own"
        )
    return not images and bool(below)


def find_jobs(paths: Sequence[Path], output: Path, overlays: Path | None = None) -> list[VideoJob]:
    """Find the videos in files and folders.

    Folders are searched as deep as they go, hidden ones excepted: for video files, and where there are none
    for folders of images.

    Args:
        paths: Files, folders of videos, folders of images.
        output: Where the trajectories go, each in the folder of the same name as that of its video, as
            ``NAME_ball.csv``.
        overlays: Where the videos with the ball drawn in go, in the same way, as ``NAME_overlay.mp4``; None
            for none.

    Returns:
        The videos in natural order, each once.

    Raises:
        UsageError: No video is found, two trajectories would be one file, an overlay would be taken for a
            video, or a folder may be one video or many.
        TrackNetError: A folder cannot be read.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    skip = frozenset(folder.resolve() for folder in (output, overlays) if folder is not None)
    searched = []
    for path in paths:
        if not holds_videos(path):
            found.setdefault(path.resolve(), (path, Path(path.resolve().name)))
            continue
        searched.append(path)
        around = Path(path.resolve().name) if len(paths) > 1 else Path()
        for video in _below(path, skip):
            found.setdefault(video.resolve(), (video, around / video.relative_to(path)))
    jobs = list(_named(list(found.values()), output, overlays))
    if not jobs:
        expected = f"expected files in {', '.join(sorted(VIDEO_SUFFIXES))}, or folders of images"
        raise UsageError(f"{', '.join(map(str, paths))}: no video found; {expected}")
    for job in jobs:
        _check_overlay(job, frozenset(found), searched, skip)
    return jobs


def print_of(video: Path) -> list[int]:
    """Give numbers that change with a video: files, bytes, and the newest change in nanoseconds."""
    files = open_source(video).files()
    stats = [file.stat() for file in files]
    return [len(files), sum(one.st_size for one in stats), max(one.st_mtime_ns for one in stats)]


def told_of(csv_file: Path) -> Path:
    """Give the file that says how a trajectory was made: ``rally_ball.csv`` -> ``rally_ball.json``."""
    return csv_file.with_suffix(".json")


def write_told(
    outcome: Outcome, video_print: Sequence[int], made: Mapping[str, Value], trail: int | None = None
) -> None:
    """Write beside a trajectory how it was made.

    Args:
        outcome: The video, tracked.
        video_print: Its `print_of` from before it was read: a recorder may still write to it.
        made: The checkpoint and the settings.
        trail: Frames of the trail in its overlay; None while there is none.

    Raises:
        TrackNetError: It cannot be written.
    """
    job = outcome.job
    video = str(job.video.resolve())
    told: dict[str, Any] = {
        "video": video,
        "print": list(video_print),
        "made": dict(made),
        "frames": outcome.frames,
        "frames_with_ball": outcome.balls,
        "seconds": round(outcome.seconds, 3),
    }
    if trail is not None and job.overlay is not None:
        told["overlay"] = {"trail": trail, "print": print_of(job.overlay)}
    with whole_file(told_of(job.csv)) as part:
        text = json.dumps(told, indent=1, ensure_ascii=printable(video) != video)
        part.write_text(f"{text}\n", encoding="utf-8")


def done_before(job: VideoJob, made: Mapping[str, Value], trail: int = 0) -> Outcome:
    """Find out whether a trajectory is there, whole, of this video, and made the same way; and its overlay.

    Args:
        job: The video.
        made: The checkpoint and the settings, as `write_told` had them.
        trail: Frames of the trail in the overlay.

    Returns:
        What became of it then: skipped where nothing is left to do; else open, with the figures of the
        trajectory where only its overlay is missing, or older than the trajectory.
    """
    try:
        told = _read_told(job)
        with job.csv.open("rb") as file:
            rows = sum(1 for _ in file) - 1
        if told["made"] != made or told["print"] != print_of(job.video) or told["frames"] != rows:
            return Outcome(job, "open")
        figures = (int(told["frames"]), int(told["frames_with_ball"]), float(told["seconds"]))
    except (OSError, TrackNetError, ValueError, KeyError, TypeError):
        return Outcome(job, "open")
    if job.overlay is not None and not _is_drawn(job.overlay, job.csv, told.get("overlay"), trail):
        return Outcome(job, "open", *figures)
    return Outcome(job, "skipped", *figures, "done before with the same checkpoint and settings")


def print_told(job: VideoJob) -> list[int]:
    """Give the `print_of` of a video from before it was tracked.

    Raises:
        TrackNetError: It cannot be read.
    """
    try:
        return [int(number) for number in _read_told(job)["print"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrackNetError(f"{told_of(job.csv)}: cannot be read: {error}") from error


def other_video(job: VideoJob) -> Path | None:
    """Give the video, still there, of which the trajectory of this name is, where that is another one."""
    try:
        video = Path(_read_told(job)["video"])
        return video if job.csv.exists() and video.exists() and not video.samefile(job.video) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_told(job: VideoJob) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(told_of(job.csv).read_text(encoding="utf-8"))
    return told


def _is_drawn(overlay: Path, trajectory: Path, told: object, trail: int) -> bool:
    """Say whether an overlay is there, whole, with this trail, and of the trajectory as it is now."""
    try:
        newer = overlay.stat().st_mtime_ns >= trajectory.stat().st_mtime_ns
        return newer and told == {"trail": trail, "print": print_of(overlay)}
    except (OSError, TrackNetError):
        return False


def write_summary(folder: Path, outcomes: Iterable[Outcome]) -> Path:
    """Write the table of all videos.

    Args:
        folder: Where to, as ``summary.csv``.
        outcomes: One a video.

    Returns:
        The file.

    Raises:
        TrackNetError: It cannot be written, or is there and something else.
    """
    path = folder / SUMMARY
    check_summary(folder)
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(one.cells() for one in outcomes)
    return path


def check_summary(folder: Path) -> None:
    """Refuse a folder whose ``summary.csv`` is something else.

    Raises:
        TrackNetError: It is.
    """
    path = folder / SUMMARY
    if path.exists():
        with path.open("rb") as file:
            first = file.readline(200).strip()
        if first != ",".join(COLUMNS).encode():
            raise TrackNetError(f"{path}: exists and is no summary of videos; choose another --output")


def _named(found: Sequence[tuple[Path, Path]], output: Path, overlays: Path | None) -> Iterator[VideoJob]:
    """Give each video a trajectory of its own; files that differ in their endings only keep these."""
    short = {video: name if video.is_dir() else name.with_suffix("") for video, name in found}
    shared: dict[Path, int] = defaultdict(int)
    for name in short.values():
        shared[name] += 1
    taken: dict[Path, Path] = {}
    for video, name in found:
        stem = name if shared[short[video]] > 1 else short[video]
        target = output / stem.with_name(f"{stem.name}_ball.csv")
        if target in taken:
            raise UsageError(
                f"{taken[target]} and {video}: the trajectories of both would be {target}; track them in two "
                "goes with an --output each, or name the folder around both"
            )
        taken[target] = video
        overlay = overlays and overlays / stem.with_name(f"{stem.name}_overlay.mp4")
        yield VideoJob(video, printable(name.as_posix()), target, overlay)


def _check_overlay(job: VideoJob, videos: Set[Path], searched: Sequence[Path], skip: frozenset[Path]) -> None:
    """Refuse an overlay that is one of the videos, or would be taken for one by the next command."""
    if job.overlay is None:
        return
    overlay = job.overlay.resolve()
    if overlay in videos:
        raise UsageError(
            f"{job.overlay}: is one of the videos, and the overlay of {job.video} would be written over it; "
            "leave it out, or choose another folder for --overlay"
        )
    for folder in searched:
        root = folder.resolve()
        between = [one for one in overlay.parents if root in one.parents]
        if root in overlay.parents and not any(one in skip or one.name.startswith(".") for one in between):
            raise UsageError(
                f"{job.overlay}: the overlay would lie among the videos of {folder}, and the next command "
                "would track it as one of them; give --overlay a folder elsewhere"
            )


def _below(folder: Path, skip: frozenset[Path]) -> list[Path]:
    """Find the videos below a folder; folders of images where there are no video files."""
    films: list[Path] = []
    pictures: list[Path] = []
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [
            one for one in folders if not one.startswith(".") and (here / one).resolve() not in skip
        ]
        seen = [name for name in names if not name.startswith(".")]
        films += [here / name for name in seen if Path(name).suffix.lower() in VIDEO_SUFFIXES]
        if here != folder and any(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in seen):
            pictures.append(here)
    return sorted(films or pictures, key=lambda path: natural(path.as_posix()))


def _images(folder: Path) -> list[Path]:
    return [path for path in entries(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
