"""Where the files of generated rallies lie in each layout, and what their label files look like."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tracknet.data.label_formats import write_ball_markup, write_cvat, write_point_lines
from tracknet.data.label_table import LabelStyle
from tracknet.data.label_text import write_text
from tracknet.data.labels import Labels, write_labels

RallyLayout = Literal[
    "flat",
    "tennis",
    "shuttlecock",
    "openttgames",
    "racketvision",
    "blurball",
    "soccer",
    "volleyball",
    "basketball",
]

Size = tuple[int, int]


@dataclass(frozen=True)
class Placement:
    """How one layout places rallies.

    Attributes:
        files: Gives the video and the labels, relative to the root, of a part (``train``, ``val`` or
            ``test``), a venue and a rally in it, both from 1.
        write: Writes a label file.
        image: Name of the n-th image of a rally; None for layouts of videos.
        labelled: Tells whether a frame is labelled; None labels all.
    """

    files: Callable[[str, int, int], tuple[str, str]]
    write: Callable[[Path, Labels, Size], None]
    image: str | None = None
    labelled: Callable[[int], bool] | None = None


def sparse(labels: Labels, placement: Placement) -> Labels:
    """Keep the labels of those frames that a layout has labelled."""
    if placement.labelled is None:
        return labels
    kept = np.array([placement.labelled(frame) for frame in range(len(labels.labelled))])
    return replace(labels, visible=labels.visible & kept, labelled=labels.labelled & kept)


def write_own_split(root: Path, layout: RallyLayout, videos: Iterable[tuple[str, str]]) -> None:
    """Write the lists of clips that a layout keeps its split in; only RacketVision has some.

    Args:
        root: Folder of the data set.
        layout: The layout.
        videos: Part and video, relative to the root, of each rally.
    """
    if layout != "racketvision":
        return
    listed: dict[str, list[tuple[str, str]]] = {"train": [], "val": [], "test": []}
    for part, video in videos:
        match, _, rally = Path(video).stem.rpartition("_")
        listed[part].append((match, rally))
    for part, pairs in listed.items():
        path = root / "generated" / "info" / f"{part}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(pairs) + "\n")


def _csv(style: LabelStyle) -> Callable[[Path, Labels, Size], None]:
    return lambda path, labels, size: write_labels(path, labels, style, size)


def _flat(part: str, venue: int, nth: int) -> tuple[str, str]:
    stem = f"{part}/match{venue}_{nth:02d}"
    return f"{stem}.mp4", f"{stem}.csv"


def _tennis(part: str, venue: int, nth: int) -> tuple[str, str]:
    clip = f"{part}/game{venue}/Clip{nth}"
    return clip, f"{clip}/Label.csv"


def _shuttlecock(part: str, venue: int, nth: int) -> tuple[str, str]:
    match, stem = f"{part}/match{venue}", f"1_{nth:02d}_{nth:02d}"
    return f"{match}/video/{stem}.mp4", f"{match}/csv/{stem}_ball.csv"


def _openttgames(part: str, venue: int, nth: int) -> tuple[str, str]:
    folder, game = ("test", "test") if part == "test" else ("training", "game")
    name = f"{game}_{2 * venue + nth - 2}"
    return f"{folder}/videos/{name}.mp4", f"{folder}/annotations/{name}/ball_markup.json"


def _racketvision(part: str, venue: int, nth: int) -> tuple[str, str]:
    match, rally = f"match{venue}", f"{nth:03d}"
    return f"generated/videos/{match}_{rally}.mp4", f"generated/all/{match}/csv/{rally}_ball.csv"


def _blurball(part: str, venue: int, nth: int) -> tuple[str, str]:
    match, clip = f"{part}/{venue:02d}", f"{nth:03d}"
    return f"{match}/frames/{clip}", f"{match}/csv/{clip}.csv"


def _soccer(part: str, venue: int, nth: int) -> tuple[str, str]:
    name = f"ID-{2 * venue + nth - 2}"
    return f"{part}/videos/{name}.mp4", f"{part}/annos/{name}.xml"


def _volleyball(part: str, venue: int, nth: int) -> tuple[str, str]:
    return f"{part}/videos/{venue}/{nth}", f"{part}/volleyball_ball_annotation/{venue}/{nth}.txt"


def _basketball(part: str, venue: int, nth: int) -> tuple[str, str]:
    video = f"{21800000 + venue}"
    return f"{part}/videos/{video}/{nth:03d}", f"{part}/ball-annos/{video}/{video}_{nth:03d}.xml"


PLACEMENTS: dict[RallyLayout, Placement] = {
    "flat": Placement(_flat, _csv("trajectory")),
    "tennis": Placement(_tennis, _csv("tennis"), "{:04d}.jpg"),
    "shuttlecock": Placement(_shuttlecock, _csv("trajectory")),
    # As published: some frames around an event, and every fifth frame.
    "openttgames": Placement(
        _openttgames, lambda path, labels, _: write_ball_markup(path, labels), None, lambda n: n % 120 < 17
    ),
    "racketvision": Placement(_racketvision, _csv("racketvision"), None, lambda n: n % 5 == 0),
    "blurball": Placement(_blurball, _csv("trajectory"), "{:05d}.png"),
    "soccer": Placement(_soccer, lambda path, labels, _: write_cvat(path, labels, "used_in_game")),
    "volleyball": Placement(_volleyball, lambda path, labels, _: write_point_lines(path, labels), "{}.jpg"),
    "basketball": Placement(_basketball, lambda path, labels, _: write_cvat(path, labels), "{:06d}.jpg"),
}
"""How each layout places rallies."""
