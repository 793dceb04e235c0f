"""Layouts of the TrackNet family: flat videos, TrackNet tennis, Shuttlecock Trajectory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tracknet.data.clips import Clip, Layout, Part
from tracknet.data.faults import Fault
from tracknet.data.label_formats import read_cvat
from tracknet.data.labels import Labels
from tracknet.data.layouts.folders import (
    CVAT_EXPORT,
    entries,
    folders,
    is_video,
    natural,
    parts,
    prefix_of,
    without_labels,
    without_video,
)
from tracknet.data.video import IMAGE_SUFFIXES


class FlatVideo(Layout):
    """``NAME.mp4`` beside ``NAME.csv``; a prefix ``gameN_`` or ``matchN_`` of the name is the group.

    Where there is no table, ``NAME.xml`` is read as CVAT exports it for a video; other XML files are passed
    over. The files may lie in parts, the folders ``train``, ``val`` and ``test``, which then begin the names
    of the clips.
    """

    name = "flat"
    expects = "[train|val|test/]NAME.mp4 beside NAME.csv or NAME.xml of CVAT"

    def recognises(self, root: Path) -> bool:
        """Tell whether the folder, or a part of it, holds a video file."""
        return any(is_video(path) for folder in parts(root) for path in entries(folder))

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        clips: list[Clip] = []
        orphans: list[Path] = []
        exported: list[Path] = []
        for folder in parts(root):
            prefix = prefix_of(folder, root)
            inside = entries(folder)
            videos = [path for path in inside if is_video(path)]
            tables = {path.stem: path for path in inside if path.suffix.lower() == ".csv"}
            labels = {path.stem: path for path in inside if path.suffix.lower() == ".xml"} | tables
            for video in videos:
                match = re.match(r"((?:game|match)\d+)_", video.stem, re.IGNORECASE)
                group = f"{prefix}{match[1]}" if match else ""
                clips.append(Clip(f"{prefix}{video.stem}", group, video, labels.get(video.stem)))
            stems = {video.stem for video in videos}
            exported += [path for path in inside if path.name.lower() == CVAT_EXPORT]
            # Beside its labels, NAME_ball.csv is what `tracknet track` wrote of a video.
            stems |= {f"{stem}_ball" for stem in stems & tables.keys()}
            orphans += [path for stem, path in tables.items() if stem not in stems]
        expected = "{stem}.csv beside it"
        if exported:
            expected += f", or {{stem}}.xml of CVAT; rename {exported[0].name} where it is that"
        return clips, [
            *without_labels(clips, expected),
            *(without_video(path, f"{path.stem}.mp4 beside it") for path in orphans),
        ]

    def read_labels(
        self, path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
    ) -> tuple[Labels, list[Fault]]:
        """Read a table, or the tracks of CVAT, see `Layout.read_labels`."""
        if path.suffix.lower() == ".xml":
            return read_cvat(path, frames, size, images)
        return super().read_labels(path, frames, size, images)


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
            inside = entries(folder)
            labels = next((path for path in inside if path.name.lower() == "label.csv"), None)
            if any(path.suffix.lower() in IMAGE_SUFFIXES for path in inside):
                game = folder.parent.relative_to(root).as_posix()
                clips.append(Clip(f"{game}/{folder.name}", game, folder, labels))
            elif labels is not None:
                orphans.append(labels)
        return clips, [
            *without_labels(clips, "Label.csv in it"),
            *(without_video(path, "0000.jpg ... beside it") for path in orphans),
        ]

    @staticmethod
    def _folders(root: Path) -> Iterator[Path]:
        for part in parts(root):
            for game in folders(part, "game"):
                yield from folders(game, "clip")


class ShuttlecockTrajectory(Layout):
    """The Shuttlecock Trajectory data set of TrackNetV2 and V3.

    ``matchN/csv/R_SS_TT_ball.csv`` (or ``corrected_csv``, which is preferred) with ``video/R_SS_TT.mp4`` or a
    folder of images ``frame/R_SS_TT``. The matches may lie in parts, such as ``train``, ``val`` and ``test``
    or ``Professional``, ``Amateur`` and ``Test``, which then begin the names of the clips and groups and
    are the own split. WASB keeps the test matches beside the others, as ``test_matchN``: they are the test.
    """

    name = "shuttlecock"
    expects = "[train|val|test/]match*/ with csv/NAME_ball.csv and video/NAME.mp4 or frame/NAME/"

    _TEST = "test_match"

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
            videos = {path.name: path for path in entries(match / "frame") if path.is_dir()}
            videos |= {path.stem: path for path in entries(match / "video") if is_video(path)}
            listed: tuple[Part, ...] = ("test",) if match.name.lower().startswith(self._TEST) else ()
            clips += [
                Clip(f"{group}/{rally}", group, videos[rally], tables.get(rally), listed)
                for rally in sorted(videos, key=natural)
            ]
            orphans += [path for rally, path in tables.items() if rally not in videos]
        return clips, [
            *without_labels(clips, "../csv/{stem}_ball.csv"),
            *(without_video(path, f"../video/{_rally(path)}.mp4") for path in orphans),
        ]

    def _matches(self, root: Path) -> Iterator[Path]:
        yield from folders(root, "match")
        yield from folders(root, self._TEST)
        for part in entries(root):
            if part.is_dir() and not part.name.lower().startswith("match"):
                yield from folders(part, "match")

    @staticmethod
    def _tables(match: Path) -> dict[str, Path]:
        tables: dict[str, Path] = {}
        for room in ("csv", "corrected_csv"):
            tables |= {_rally(path): path for path in entries(match / room) if path.suffix.lower() == ".csv"}
        return tables


def _rally(labels: Path) -> str:
    return labels.stem.removesuffix("_ball")
