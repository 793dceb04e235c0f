"""Layouts of data sets: which folder holds which clips, with their videos and label files."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tracknet.data.faults import Fault
from tracknet.data.video import IMAGE_SUFFIXES
from tracknet.errors import TrackNetError

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm", ".mpg", ".mpeg", ".ts"})


@dataclass(frozen=True)
class Clip:
    """A video of one rally.

    Attributes:
        name: Name within the data set, unique, with ``/`` between its parts, such as ``match1/1_02_00``.
        group: What belongs together in a split, such as ``match1``; empty when the layout does not tell.
        video: Video file or folder of images.
        labels: Label file, or None when there is none.
    """

    name: str
    group: str
    video: Path
    labels: Path | None


class Layout(ABC):
    """How a data set lies in its folder.

    Attributes:
        name: Name on the command line.
        expects: What the folder must hold, in a few words.
    """

    name: ClassVar[str]
    expects: ClassVar[str]

    @abstractmethod
    def recognises(self, root: Path) -> bool:
        """Tell whether the folder looks like this layout."""

    @abstractmethod
    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips of a data set.

        Args:
            root: Folder of the data set.

        Returns:
            The clips (those without labels too), sorted by name with numbers as numbers, and a fault for each
            video without labels (``no-labels``) and each label file without a video (``no-video``).

        Raises:
            TrackNetError: The folder cannot be read.
        """


class FlatVideo(Layout):
    """``NAME.mp4`` beside ``NAME.csv``; a prefix ``gameN_`` or ``matchN_`` of the name is the group.

    The files may lie in parts, the folders ``train``, ``val`` and ``test``, which then begin the names of the
    clips.
    """

    name = "flat"
    expects = "[train|val|test/]NAME.mp4 beside NAME.csv"

    def recognises(self, root: Path) -> bool:
        """Tell whether the folder, or a part of it, holds a video file."""
        return any(_is_video(path) for folder in _parts(root) for path in _entries(folder))

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        clips: list[Clip] = []
        orphans: list[Path] = []
        for folder in _parts(root):
            prefix = "" if folder == root else f"{folder.name}/"
            entries = _entries(folder)
            videos = [path for path in entries if _is_video(path)]
            tables = {path.stem: path for path in entries if path.suffix.lower() == ".csv"}
            for video in videos:
                match = re.match(r"((?:game|match)\d+)_", video.stem, re.IGNORECASE)
                group = f"{prefix}{match[1]}" if match else ""
                clips.append(Clip(f"{prefix}{video.stem}", group, video, tables.get(video.stem)))
            stems = {video.stem for video in videos}
            orphans += [path for stem, path in tables.items() if stem not in stems]
        return clips, [
            *_without_labels(clips, "{stem}.csv beside it"),
            *(_without_video(path, f"{path.stem}.mp4 beside it") for path in orphans),
        ]


class TrackNetTennis(Layout):
    """The TrackNet tennis data set: ``gameN/ClipM/0000.jpg ...`` with ``Label.csv``.

    The games may lie in parts, the folders ``train``, ``val`` and ``test``, which then begin the names of the
    clips and groups.
    """

    name = "tennis"
    expects = "[train|val|test/]game*/Clip*/ with 0000.jpg ... and Label.csv"

    def recognises(self, root: Path) -> bool:
        """Tell whether the folder holds a clip of a game."""
        return next(self._folders(root), None) is not None

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        clips, orphans = [], []
        for folder in self._folders(root):
            entries = _entries(folder)
            labels = next((path for path in entries if path.name.lower() == "label.csv"), None)
            if any(path.suffix.lower() in IMAGE_SUFFIXES for path in entries):
                game = folder.parent.relative_to(root).as_posix()
                clips.append(Clip(f"{game}/{folder.name}", game, folder, labels))
            elif labels is not None:
                orphans.append(labels)
        return clips, [
            *_without_labels(clips, "Label.csv in it"),
            *(_without_video(path, "0000.jpg ... beside it") for path in orphans),
        ]

    @staticmethod
    def _folders(root: Path) -> Iterator[Path]:
        for part in _parts(root):
            for game in _folders(part, "game"):
                yield from _folders(game, "clip")


class ShuttlecockTrajectory(Layout):
    """The Shuttlecock Trajectory data set of TrackNetV2 and V3.

    ``matchN/csv/R_SS_TT_ball.csv`` (or ``corrected_csv``, which is preferred) with ``video/R_SS_TT.mp4`` or a
    folder of images ``frame/R_SS_TT``. The matches may lie in parts, such as ``train``, ``val`` and ``test``
    or ``Professional``, ``Amateur`` and ``Test``, which then begin the names of the clips and groups.
    """

    name = "shuttlecock"
    expects = "[train|val|test/]match*/ with csv/NAME_ball.csv and video/NAME.mp4 or frame/NAME/"

    def recognises(self, root: Path) -> bool:
        """Tell whether the folder holds a match with labels or videos."""
        rooms = ("csv", "corrected_csv", "video", "frame")
        return any((match / room).is_dir() for match in self._matches(root) for room in rooms)

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        clips: list[Clip] = []
        orphans: list[Path] = []
        for match in self._matches(root):
            group = match.relative_to(root).as_posix()
            tables = self._tables(match)
            # A video is a seventh of the size of its frames and has the same content.
            videos = {path.name: path for path in _entries(match / "frame") if path.is_dir()}
            videos |= {path.stem: path for path in _entries(match / "video") if _is_video(path)}
            clips += [
                Clip(f"{group}/{rally}", group, videos[rally], tables.get(rally))
                for rally in sorted(videos, key=_natural)
            ]
            orphans += [path for rally, path in tables.items() if rally not in videos]
        return clips, [
            *_without_labels(clips, "../csv/{stem}_ball.csv"),
            *(_without_video(path, f"../video/{_rally(path)}.mp4") for path in orphans),
        ]

    @staticmethod
    def _matches(root: Path) -> Iterator[Path]:
        yield from _folders(root, "match")
        for part in _entries(root):
            if part.is_dir() and not part.name.lower().startswith("match"):
                yield from _folders(part, "match")

    @staticmethod
    def _tables(match: Path) -> dict[str, Path]:
        tables: dict[str, Path] = {}
        for room in ("csv", "corrected_csv"):
            tables |= {_rally(path): path for path in _entries(match / room) if path.suffix.lower() == ".csv"}
        return tables


LAYOUTS: tuple[Layout, ...] = (TrackNetTennis(), ShuttlecockTrajectory(), FlatVideo())
"""All layouts, in the order in which they are tried."""


def detect_layout(root: Path) -> Layout:
    """Recognise the layout of a data set.

    Args:
        root: Folder of the data set.

    Returns:
        The first of `LAYOUTS` that recognises the folder.

    Raises:
        TrackNetError: There is no such folder, or it has none of the layouts.
    """
    root = Path(root)
    if not root.is_dir():
        found = "is not a folder" if root.exists() else "there is no such folder"
        raise TrackNetError(f"{root}: {found}; expected the folder of a data set")
    for layout in LAYOUTS:
        if layout.recognises(root):
            return layout
    inside = next(
        (path for path in _entries(root) if path.is_dir() and any(one.recognises(path) for one in LAYOUTS)),
        None,
    )
    hint = f"; the folder {inside.name} in it has one of them" if inside else ""
    expected = "".join(f"\n  {layout.name}: {layout.expects}" for layout in LAYOUTS)
    raise TrackNetError(f"{root}: none of the known layouts of data sets{hint}; expected one of{expected}")


def _parts(root: Path) -> list[Path]:
    """List a folder itself and the parts of a data set that comes split."""
    return [root, *(root / part for part in ("train", "val", "test") if (root / part).is_dir())]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key that counts digits as numbers, so that game2 comes before game10."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part
    ]


def _entries(folder: Path) -> list[Path]:
    """List a folder in natural order without hidden files; nothing when there is no such folder."""
    try:
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise TrackNetError(f"{folder}: cannot list the folder: {error.strerror}") from error
    return sorted(found, key=lambda path: _natural(path.name))


def _folders(folder: Path, prefix: str) -> list[Path]:
    return [path for path in _entries(folder) if path.name.lower().startswith(prefix) and path.is_dir()]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _rally(labels: Path) -> str:
    return labels.stem.removesuffix("_ball")


def _without_labels(clips: Sequence[Clip], expected: str) -> list[Fault]:
    return [
        Fault(
            clip.video, "no-labels", f"has no labels; expected {expected.replace('{stem}', clip.video.stem)}"
        )
        for clip in clips
        if clip.labels is None
    ]


def _without_video(labels: Path, expected: str) -> Fault:
    return Fault(labels, "no-video", f"has no video; expected {expected}")
