"""Trajectories read from label files alone, with their videos or without."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from tracknet.data.clips import Clip
from tracknet.data.faults import plural
from tracknet.data.labels import read_labels
from tracknet.data.video import IMAGE_SUFFIXES, open_source
from tracknet.errors import TrackNetError

_ROOMS = ("csv", "corrected_csv")
_LONGEST = 1_000_000


@dataclass(frozen=True, eq=False)
class LabelledTrajectory:
    """Where the ball is in the frames of a rally.

    Attributes:
        clip: Name and label file; its video is the label file itself where there is none.
        xy: Positions as shares of the width and height, 0 where no ball is visible; float32 ``[N, 2]``.
        visible: Whether the label says that a ball is visible, bool ``[N]``.
    """

    clip: Clip
    xy: np.ndarray
    visible: np.ndarray


def read_trajectories(root: Path, size: tuple[int, int] = (720, 1280)) -> list[LabelledTrajectory]:
    """Read all label files below a folder; rows with faults count as without a ball.

    Args:
        root: The folder.
        size: Height and width in pixels of rallies without a video beside their labels.

    Returns:
        The rallies with at least one ball, by name.

    Raises:
        TrackNetError: The folder is missing, or holds no rally.
    """
    root = root.expanduser()
    if not root.is_dir():
        raise TrackNetError(f"{root}: no such folder; expected one of label files (CSV)")
    found: dict[str, LabelledTrajectory] = {}
    faults: list[str] = []
    for path in sorted(_tables(root), key=_worth):
        clip = _clip(root, path)
        if clip.video != path:
            info = open_source(clip.video).info
            labels, wrong = read_labels(path, _frames(path), (info.height, info.width))
            scale = (info.width, info.height)
        else:
            labels, wrong = read_labels(path, _frames(path), size)
            scale = (size[1], size[0])
        faults += [str(fault) for fault in wrong if fault.severity == "error"]
        if labels.visible.any():
            frames = int(np.flatnonzero(labels.labelled)[-1]) + 1
            xy = (labels.xy[:frames] / np.array(scale, np.float32)).astype(np.float32)
            found[clip.name] = LabelledTrajectory(clip, xy, labels.visible[:frames])
    if not found:
        wrong_one = f"; the first fault is {faults[0]}" if faults else "; expected label files (CSV)"
        raise TrackNetError(f"{root}: no trajectories{wrong_one}")
    if faults:
        left = f"{plural(len(faults), 'row')} or files with faults count as without a ball"
        rank_zero_info(f"{root}: {left}, the first is {faults[0]}")
    return [found[name] for name in sorted(found)]


def _tables(root: Path) -> Iterator[Path]:
    """Find all CSV files below a folder, behind linked folders too."""
    seen = set()
    for folder, inside, names in os.walk(root, followlinks=True):
        if (place := os.path.realpath(folder)) in seen:
            inside.clear()
            continue
        seen.add(place)
        yield from (Path(folder, name) for name in names if name.lower().endswith(".csv"))


def _worth(path: Path) -> tuple[bool, bool, Path]:
    """Sort key; of label files of one rally the last counts.

    That is the corrected one, and of ``NAME.csv`` and ``NAME_ball.csv`` the former: the latter is what a
    tracker wrote.
    """
    return path.parent.name == _ROOMS[1], not path.stem.endswith("_ball"), path


def _clip(root: Path, path: Path) -> Clip:
    """Name a rally after its label file, without the folder that only holds labels."""
    folders = [part for part in path.relative_to(root).parts[:-1] if part not in _ROOMS]
    stem = path.stem.removesuffix("_ball") or path.stem
    own_folder = stem.lower() == "label" and folders
    name = "/".join(folders if own_folder else [*folders, stem])
    prefix = re.match(r"((?:game|match)\d+)_", stem, re.IGNORECASE)
    group = "/".join([*folders, prefix[1]] if prefix else folders[:-1] if own_folder else folders)
    return Clip(name, group, _video(path, stem) or path, path)


def _video(path: Path, stem: str) -> Path | None:
    """Find the video that a label file belongs to: beside it, in ``../video``, or the images around it."""
    folders = [path.parent, path.parent.parent / "video"]
    for folder in folders:
        for suffix in (".mp4", ".avi", ".mov", ".mkv"):
            if (video := folder / f"{stem}{suffix}").is_file():
                return video
    if path.parent.name in _ROOMS:
        images = path.parent.parent / "frame" / stem
    elif stem.lower() == "label":
        images = path.parent
    else:
        return None
    if images.is_dir() and any(one.suffix.lower() in IMAGE_SUFFIXES for one in images.iterdir()):
        return images
    return None


def _frames(path: Path) -> int:
    """Give a number of frames that no row of a label file goes beyond."""
    try:
        lines = path.read_bytes().decode("utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise TrackNetError(f"{path}: cannot read the labels: {error.strerror}") from error
    cells = (re.split(r"[,;\t]", line)[0].strip().removesuffix(".0") for line in lines)
    numbers = (re.findall(r"\d+", cell, re.ASCII) for cell in cells)
    last = max((int(found[-1]) for found in numbers if found), default=0)
    return min(max(last + 1, len(lines)), _LONGEST)
