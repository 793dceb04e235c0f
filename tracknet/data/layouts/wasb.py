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
        """Tell whether the folder holds a file of annotations."""
        return any(path.suffix.lower() == ".xml" for path in entries(root / "annos"))

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        tables = {path.stem: path for path in entries(root / "annos") if path.suffix.lower() == ".xml"}
        # A video is a fraction of the size of its frames and has the same content.
        videos = image_folders(root / "frames") | videos_by_name(root / "videos")
        clips = [Clip(name, name, videos[name], tables.get(name)) for name in sorted(videos, key=natural)]
        return clips, [
            *without_labels(clips, "../annos/{stem}.xml"),
            *(
                without_video(path, f"../videos/{name}.avi or ../frames/{name}/00000.png ...")
                for name, path in tables.items()
                if name not in videos
            ),
        ]

    def read_labels(
        self, path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
    ) -> tuple[Labels, list[Fault]]:
        """Read the track of the ball in play, see `Layout.read_labels`."""
        return read_cvat(path, frames, size, images, used="used_in_game")


class WasbVolleyball(Layout):
    """Volleyball: short clips of 55 matches (Ibrahim et al., 2016), with labels of the ball added later.

    ``videos/MATCH/CLIP/NUMBER.jpg``, in the order of the numbers, with
    ``volleyball_ball_annotation/MATCH/CLIP.txt``: ``x y`` in pixels, one line an image, ``0 0`` where the
    ball is not visible. Whether each file has a line for each image is not documented: images behind the
    last line are not labelled, and lines behind the last image are told as a fault.
    """

    name = "volleyball"
    expects = "videos/MATCH/CLIP/NUMBER.jpg ... with volleyball_ball_annotation/MATCH/CLIP.txt"

    _ANNOTATIONS = "volleyball_ball_annotation"

    def recognises(self, root: Path) -> bool:
        """Tell whether the folder holds the folder of annotations."""
        return (root / self._ANNOTATIONS).is_dir()

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        tables = {
            f"{match.name}/{path.stem}": path
            for match in folders(root / self._ANNOTATIONS)
            for path in entries(match)
            if path.suffix.lower() == ".txt"
        }
        clips = _clips_of_matches(root / "videos", tables)
        faults = []
        for clip in clips:
            faults += without_labels([clip], f"{self._ANNOTATIONS}/{clip.name}.txt")
        return clips, [*faults, *_orphans(clips, tables)]

    def read_labels(
        self, path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
    ) -> tuple[Labels, list[Fault]]:
        """Read the lines of points, see `Layout.read_labels`."""
        return read_point_lines(path, frames, size)


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
        """Tell whether the folder holds the folder of annotations."""
        return (root / "ball-annos").is_dir()

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        annotated = {video.name: video for video in folders(root / "ball-annos")}
        tables = {
            f"{name}/{path.stem.rpartition('_')[2]}": path
            for name, video in annotated.items()
            for path in entries(video)
            if path.suffix.lower() == ".xml"
        }
        clips = [clip for clip in _clips_of_matches(root / "videos", tables) if clip.group in annotated]
        faults = []
        for clip in clips:
            video, _, name = clip.name.partition("/")
            faults += without_labels([clip], f"ball-annos/{video}/*_{name}.xml")
        left_out = [video for video in folders(root / "videos") if video.name not in annotated]
        message = "is left out, it has no folder in ball-annos"
        return clips, [
            *faults,
            *_orphans(clips, tables),
            *(Fault(video, "left-out", message, severity="warning") for video in left_out),
        ]

    def read_labels(
        self, path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
    ) -> tuple[Labels, list[Fault]]:
        """Read the track of the ball, see `Layout.read_labels`."""
        return read_cvat(path, frames, size, images)


def _clips_of_matches(videos: Path, tables: dict[str, Path]) -> list[Clip]:
    """Find the folders of images ``MATCH/CLIP``."""
    clips = []
    for match in folders(videos):
        for name, path in image_folders(match).items():
            clip = f"{match.name}/{name}"
            clips.append(Clip(clip, match.name, path, tables.get(clip)))
    return clips


def _orphans(clips: Sequence[Clip], tables: dict[str, Path]) -> list[Fault]:
    found = {clip.name for clip in clips}
    return [
        without_video(path, f"images in videos/{name}/") for name, path in tables.items() if name not in found
    ]
