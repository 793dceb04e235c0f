"""Layouts of the data sets that WASB (2023) added labels to: soccer, volleyball, basketball."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tracknet.data.clips import Clip, Layout
from tracknet.data.faults import Fault
from tracknet.data.label_formats import read_cvat, read_point_lines
from tracknet.data.labels import Labels
from tracknet.data.layouts.folders import (
    entries,
    folders,
    image_folders,
    natural,
    parts,
    prefix_of,
    videos_by_name,
    without_labels,
    without_video,
)


class WasbSoccer(Layout):
    """Soccer: six videos of one match from six cameras, with the labels of WASB.

    ``annos/ID-1.xml`` with ``videos/ID-1.avi`` or a folder of images ``frames/ID-1/00000.png``; frames count
    from 0. A frame whose ball in play (``used_in_game`` 1) is ``outside`` or not marked has no ball; an
    ``occluded`` ball is not visible.
    """

    name = "soccer"
    expects = "annos/NAME.xml with videos/NAME.avi or frames/NAME/00000.png ..."

    def recognises(self, root: Path) -> bool:
        """Tell whether the folder, or a part of it, holds a file of annotations."""
        return any(_by_name(part / "annos", ".xml") for part in parts(root))

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        clips: list[Clip] = []
        orphans: list[Fault] = []
        for part in parts(root):
            tables = _by_name(part / "annos", ".xml")
            # A video is a fraction of the size of its frames and has the same content.
            videos = image_folders(part / "frames") | videos_by_name(part / "videos")
            for name in sorted(videos, key=natural):
                clip = f"{prefix_of(part, root)}{name}"
                clips.append(Clip(clip, clip, videos[name], tables.get(name)))
            orphans += [
                without_video(path, f"../videos/{name}.avi or ../frames/{name}/00000.png ...")
                for name, path in tables.items()
                if name not in videos
            ]
        return clips, [*without_labels(clips, "../annos/{stem}.xml"), *orphans]

    def read_labels(
        self, path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
    ) -> tuple[Labels, list[Fault]]:
        """Read the track of the ball in play, see `Layout.read_labels`."""
        return read_cvat(path, frames, size, images, used="used_in_game")


class WasbVolleyball(Layout):
    """Volleyball: short clips of 55 matches (Ibrahim et al., 2016), with labels of the ball added later.

    ``videos/MATCH/CLIP/NUMBER.jpg``, in the order of the numbers, with
    ``volleyball_ball_annotation/MATCH/CLIP.txt``: ``x y`` in pixels, one line an image, ``0 0`` where the
    ball is not visible. As WASB counts them, all 41 images of each of the 4,830 clips have a line; where a
    file is shorter, the images behind its last line are not labelled, unless images are missing.
    """

    name = "volleyball"
    expects = "videos/MATCH/CLIP/NUMBER.jpg ... with volleyball_ball_annotation/MATCH/CLIP.txt"

    _ANNOTATIONS = "volleyball_ball_annotation"

    def recognises(self, root: Path) -> bool:
        """Tell whether the folder, or a part of it, holds the folder of annotations."""
        return any((part / self._ANNOTATIONS).is_dir() for part in parts(root))

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        clips: list[Clip] = []
        faults: list[Fault] = []
        for part in parts(root):
            tables = {
                f"{match.name}/{name}": path
                for match in folders(part / self._ANNOTATIONS)
                for name, path in _by_name(match, ".txt").items()
            }
            found, orphans = _clips_of_matches(part, prefix_of(part, root), tables)
            clips += found
            faults += without_labels(found, f"a file {self._ANNOTATIONS}/MATCH/{{stem}}.txt") + orphans
        return clips, faults

    def read_labels(
        self, path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
    ) -> tuple[Labels, list[Fault]]:
        """Read the lines of points, see `Layout.read_labels`."""
        return read_point_lines(path, frames, size, images)


class WasbBasketball(Layout):
    """Basketball: clips of NBA games (Yan et al., 2020), with the labels of WASB.

    ``videos/VIDEO/CLIP/000000.jpg ...`` with ``ball-annos/VIDEO/*_CLIP.xml``; frames count from 0, the first
    of several points counts. Frames without a point have no ball, nor have those whose point is ``outside``
    (WASB's own reader does not look at ``outside``); an ``occluded`` ball is not visible. WASB leaves out
    clips in which no ball appears; here they count as clips without a ball. Videos without a folder of
    annotations are left out, as there.
    """

    name = "basketball"
    expects = "videos/VIDEO/CLIP/000000.jpg ... with ball-annos/VIDEO/NAME_CLIP.xml"

    def recognises(self, root: Path) -> bool:
        """Tell whether the folder, or a part of it, holds the folder of annotations."""
        return any((part / "ball-annos").is_dir() for part in parts(root))

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        clips: list[Clip] = []
        faults: list[Fault] = []
        for part in parts(root):
            prefix = prefix_of(part, root)
            annotated = {f"{prefix}{video.name}" for video in folders(part / "ball-annos")}
            tables: dict[str, Path] = {}
            for video in folders(part / "ball-annos"):
                for name, path in _by_name(video, ".xml").items():
                    used = tables.setdefault(f"{video.name}/{name.rpartition('_')[2]}", path)
                    if used is not path:
                        message = f"labels the same clip as {used.name}, which is used"
                        faults.append(Fault(path, "duplicate-clip", message))
            found, orphans = _clips_of_matches(part, prefix, tables)
            found = [clip for clip in found if clip.group in annotated]
            clips += found
            faults += without_labels(found, "a file ball-annos/VIDEO/*_{stem}.xml") + orphans
            message = "is left out, it has no folder in ball-annos"
            faults += [
                Fault(video, "left-out", message, severity="warning")
                for video in folders(part / "videos")
                if f"{prefix}{video.name}" not in annotated
            ]
        return clips, faults

    def read_labels(
        self, path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
    ) -> tuple[Labels, list[Fault]]:
        """Read the track of the ball, see `Layout.read_labels`."""
        return read_cvat(path, frames, size, images)


def _by_name(folder: Path, suffix: str) -> dict[str, Path]:
    """Find the files of one kind in a folder, each by its name without suffix."""
    return {path.stem: path for path in entries(folder) if path.suffix.lower() == suffix}


def _clips_of_matches(part: Path, prefix: str, tables: dict[str, Path]) -> tuple[list[Clip], list[Fault]]:
    """Find the folders of images ``videos/MATCH/CLIP``, and the labels of ``MATCH/CLIP`` without one."""
    videos = {
        (match.name, name): path
        for match in folders(part / "videos")
        for name, path in image_folders(match).items()
    }
    clips = [
        Clip(f"{prefix}{match}/{name}", f"{prefix}{match}", path, tables.get(f"{match}/{name}"))
        for (match, name), path in videos.items()
    ]
    found = {f"{match}/{name}" for match, name in videos}
    return clips, [
        without_video(path, f"images in videos/{name}/") for name, path in tables.items() if name not in found
    ]
