"""Data sets of a stranger in each layout: names and labels that would lead elsewhere, and links that do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tracknet.data.generate.placement import PLACEMENTS, RallyLayout, sparse
from tracknet.data.labels import Labels
from tracknet.data.video import VideoWriter

SIZE = (64, 96)
FRAMES = 8
STRANGE = ("a $(touch mark); ' \" `touch mark` $\\frac$", "-rf %2e%2e%2f %00", "n" * 180 + " é\n")
"""Names that are allowed, and dangerous where they are taken for anything but a name."""

LEADING_OUT = ("b\\..\\..\\..\\outside\\a", "C:\\..\\outside")
"""Names that are allowed here, and lead out of a folder on other systems."""

TARGETS = ("../../outside/a", "../../../outside/a", "/{outside}/a", "..\\..\\outside\\a", "a\0b", "x" * 5000)
"""What labels name; ``{outside}`` is the folder of what must not be touched."""

_PLACES: dict[RallyLayout, Callable[[str], tuple[str, str]]] = {
    "flat": lambda name: (f"{name}.mp4", f"{name}.csv"),
    "tennis": lambda name: (f"game1/Clip{name}", f"game1/Clip{name}/Label.csv"),
    "shuttlecock": lambda name: (f"match1/video/{name}.mp4", f"match1/csv/{name}_ball.csv"),
    "openttgames": lambda name: (
        f"training/videos/{name}.mp4",
        f"training/annotations/{name}/ball_markup.json",
    ),
    "racketvision": lambda name: (f"tennis/videos/m1_{name}.mp4", f"tennis/all/m1/csv/{name}_ball.csv"),
    "blurball": lambda name: (f"01/frames/{name}", f"01/csv/{name}.csv"),
    "soccer": lambda name: (f"videos/{name}.mp4", f"annos/{name}.xml"),
    "volleyball": lambda name: (f"videos/1/{name}", f"volleyball_ball_annotation/1/{name}.txt"),
    "basketball": lambda name: (f"videos/2180/{name}", f"ball-annos/2180/2180_{name}.xml"),
}
LAYOUTS = tuple(_PLACES)


@dataclass(frozen=True)
class Stranger:
    """A data set with its surroundings.

    Attributes:
        base: Folder of all.
        root: The data set.
        outside: Beside it, what hostile names lead to; nothing may look at it.
        elsewhere: Beside it, where links lead to; it may be read, not written.
    """

    base: Path
    root: Path
    outside: Path
    elsewhere: Path


def write_stranger(base: Path, layout: RallyLayout, names: Sequence[str] = STRANGE) -> Stranger:
    """Write a data set whose labels name what is outside, one of its clips being a link to elsewhere."""
    root, outside, elsewhere = (base / name for name in ("data", "outside", "elsewhere"))
    for place, name in enumerate(names):
        video, labels = _write_clip(root, layout, name, place)
        _poison(labels, outside)
    for folder in (outside, elsewhere):
        _write_clip(folder, layout, "a", 3)
        _video(folder / "a.mp4", None, 3)
        (folder / "a.csv").write_text("Frame,Visibility,X,Y\n0,1,3,3\n")
    video, labels = (root / one for one in _PLACES[layout]("linked"))
    source, source_labels = (elsewhere / one for one in _PLACES[layout]("a"))
    for path, target in ((video, source), (labels, source_labels)):
        if not path.exists():  # of a folder of images that is a link
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(target)
    if layout == "racketvision":
        pairs = [["..", "outside"], ["../../outside", "a"], [str(outside), "a"], ["m1", "../../../outside/a"]]
        (root / "tennis" / "info").mkdir()
        (root / "tennis" / "info" / "test.json").write_text(json.dumps(pairs))
    return Stranger(base, root, outside, elsewhere)


def _write_clip(root: Path, layout: RallyLayout, name: str, seed: int) -> tuple[Path, Path]:
    video, labels = (root / one for one in _PLACES[layout](name))
    placement = PLACEMENTS[layout]
    _video(video, placement.image, seed)
    xy = np.stack([10.0 + 5 * np.arange(FRAMES), np.full(FRAMES, 20.0 + seed)], axis=1).astype(np.float32)
    told = Labels(xy, np.ones(FRAMES, bool), np.ones(FRAMES, bool))
    labels.parent.mkdir(parents=True, exist_ok=True)
    placement.write(labels, sparse(told, placement), SIZE)
    return video, labels


def _video(path: Path, image: str | None, seed: int) -> None:
    def picture(number: int) -> np.ndarray:
        drawn = np.full((*SIZE, 3), 30, np.uint8)
        drawn[18 + seed : 23 + seed, 8 + 5 * number : 13 + 5 * number] = 240
        return drawn

    path.parent.mkdir(parents=True, exist_ok=True)
    if image is None:
        plain = path.with_name("plain.mp4")  # FFmpeg takes no name that begins with a dash
        with VideoWriter(plain, SIZE, fps=30) as video:
            for number in range(FRAMES):
                video.write(picture(number))
        shutil.move(plain, path)
    else:
        path.mkdir()
        for number in range(FRAMES):
            Image.fromarray(picture(number)).save(path / image.format(number))


def _poison(labels: Path, outside: Path) -> None:
    """Add rows, keys and elements that name files, or put them in the place of others."""
    targets = [one.replace("/{outside}", str(outside)) for one in TARGETS]
    told = labels.read_text(encoding="utf-8")
    if labels.suffix == ".csv":
        told += "".join(f"{one},1,3,3\n" for one in targets if "\0" not in one)
    elif labels.suffix == ".json":
        told = json.dumps(json.loads(told) | {one: {"x": 3, "y": 3} for one in targets})
    elif labels.suffix == ".xml":
        points = "".join(
            f'<points frame="{one}" outside="0" occluded="0" points="{one}" source="{one}"/>'
            for one in targets
            if "\0" not in one
        )
        told = told.replace("</track>", f"{points}</track><image name='{targets[0]}' href='{targets[2]}'/>")
    else:  # a line for each frame, and none more
        named = [f"{one} 3" for one in targets if "\0" not in one]
        told = "\n".join([*told.splitlines()[: -len(named)], *named, ""])
    labels.write_text(told, encoding="utf-8")
