"""What layouts find in folders. Files are found by listing, never by a name read from another file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tracknet.data.clips import Clip
from tracknet.data.faults import Fault
from tracknet.data.video import IMAGE_SUFFIXES
from tracknet.errors import TrackNetError

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg", ".ts"})
CVAT_EXPORT = "annotations.xml"
"""How CVAT calls the labels that it exports, whatever the video is called."""


def parts(root: Path) -> list[Path]:
    """List a folder itself and the parts of a data set that comes split.

    Parts are ``train``, ``val`` and ``test``, in any case of letters where there is one for training: a
    ``Test`` without it may be anything.
    """
    names = ("train", "val", "test")
    found = [path for name in names for path in folders(root, name) if path.name.lower() == name]
    split = any(path.name.lower() == "train" for path in found)
    return [root, *(path for path in found if split or path.name in names)]


def prefix_of(part: Path, root: Path) -> str:
    """Give what begins the names of the clips of a part; nothing for the data set itself."""
    return "" if part == root else f"{part.name}/"


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key that counts digits as numbers, so that game2 comes before game10."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part
    ]


def entries(folder: Path) -> list[Path]:
    """List a folder in natural order without hidden files; nothing when there is no such folder."""
    try:
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise TrackNetError(f"{folder}: cannot list the folder: {error.strerror}") from error
    return sorted(found, key=lambda path: natural(path.name))


def folders(folder: Path, prefix: str = "") -> list[Path]:
    """List the folders in a folder whose names begin with a prefix, whatever its case, in natural order."""
    return [path for path in entries(folder) if path.name.lower().startswith(prefix) and path.is_dir()]


def videos_by_name(folder: Path) -> dict[str, Path]:
    """Find the video files in a folder, each by its name without suffix."""
    return {path.stem: path for path in entries(folder) if is_video(path)}


def image_folders(folder: Path) -> dict[str, Path]:
    """Find the folders with an image in a folder, each by its name."""
    return {
        path.name: path
        for path in folders(folder)
        if any(inside.suffix.lower() in IMAGE_SUFFIXES for inside in entries(path))
    }


def is_video(path: Path) -> bool:
    """Tell whether a path is a video file, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def without_labels(clips: Sequence[Clip], expected: str) -> list[Fault]:
    """Give a fault for each clip without labels; ``{stem}`` in what was expected is the name of its video."""
    return [
        Fault(
            clip.video, "no-labels", f"has no labels; expected {expected.replace('{stem}', clip.video.stem)}"
        )
        for clip in clips
        if clip.labels is None
    ]


def without_video(labels: Path, expected: str) -> Fault:
    """Give the fault of labels without a video."""
    return Fault(labels, "no-video", f"has no video; expected {expected}")
