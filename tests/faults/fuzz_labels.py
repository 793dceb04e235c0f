"""Changed label files and trajectories."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tracknet.data.label_formats.ball_markup import read_ball_markup
from tracknet.data.label_formats.cvat import read_cvat
from tracknet.data.label_formats.point_lines import read_point_lines
from tracknet.data.label_table import HEADERS
from tracknet.data.labels import Labels, read_labels, write_labels
from tracknet.tracking.trajectory import TrajectoryRow, read_trajectory, write_trajectory

from .mutate import mutate

SIZE = (720, 1280)
FRAMES = 6
_CVAT = b"""<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><size>6</size></task></meta>
<track id="0" label="ball"><points frame="1" outside="0" occluded="0" keyframe="1" points="640.5,360.25">
<attribute name="used_in_game">1</attribute></points>
<points frame="3" outside="1" keyframe="1" points="1,2"></points></track>
<image id="0" name="0000.jpg"><points label="ball" points="5.0,6.0"/></image></annotations>
"""
_TOKENS = [
    *(b"0 1 2 -1 3 nan inf -inf 1e308 -0 0x10 1_0 0.5 4294967296 9999999999999999999999 x y".split()),
    *(b"Frame Visibility X Y Ball frame_num visible 0001.jpg ; , \" '' \\ { } [ ] : null true".split()),
    *(b"<!DOCTYPE <!ENTITY &amp; &x; <points </track> <?xml frame= points=".split()),
    b'"points": [',
    "\u0663".encode(),
    "\uff11".encode(),
    b"\xed\xa0\x80",
]


def label_files(folder: Path) -> Callable[[random.Random], tuple[str, bytes]]:
    """Give what makes changed label files, of all column styles and formats."""
    xy = np.array([[10.5, 20], [0, 0], [640, 360.25], [1279, 719], [3, 4], [5, 6]], np.float32)
    visible = np.array([True, False, True, True, True, True])
    labels = Labels(xy, visible, np.ones(FRAMES, bool))
    seeds: list[tuple[str, bytes]] = []
    for style in HEADERS:
        write_labels(folder / "seed.csv", labels, style, SIZE)
        seeds.append(("labels.csv", (folder / "seed.csv").read_bytes()))
    rows = [TrajectoryRow(k, bool(v), *map(float, xy[k]), 0.5) for k, v in enumerate(visible)]
    for filled in (False, True):
        write_trajectory(folder / "seed.csv", rows, filled)
        seeds.append(("trajectory.csv", (folder / "seed.csv").read_bytes()))
    (folder / "seed.csv").unlink()
    seeds += [
        ("markup.json", b'{"0": {"x": 10, "y": 20}, "3": {"x": -1, "y": -1}, "5": {"x": 640.5, "y": 360}}'),
        ("cvat.xml", _CVAT),
        ("points.txt", b"10 20\n0 0\n640.5 360\n3 4\n"),
    ]
    contents = [content for _, content in seeds]

    def make(draw: random.Random) -> tuple[str, bytes]:
        name, content = draw.choice(seeds)
        return name, mutate(content, draw, _TOKENS, contents)

    return make


def read_label_files(folder: Path) -> Callable[[Path], str]:
    """Give what reads such a file and looks at what was read."""
    images = [f"{frame:04d}.jpg" for frame in range(FRAMES)]

    def read(path: Path) -> str:
        if path.name == "trajectory.csv":
            rows = read_trajectory(path)
            assert [row.frame for row in rows] == list(range(len(rows)))
            assert np.isfinite([row[2:5] for row in rows] or [0]).all()
            return "read"
        found = {
            "labels.csv": lambda: read_labels(path, FRAMES, SIZE),
            "markup.json": lambda: read_ball_markup(path, FRAMES, SIZE),
            "cvat.xml": lambda: read_cvat(path, FRAMES, SIZE, images),
            "points.txt": lambda: read_point_lines(path, FRAMES, SIZE),
        }[path.name]
        labels, faults = found()
        _look_at(labels)
        if path.name == "labels.csv":
            _look_at(read_labels(path, FRAMES, SIZE, images)[0])
        assert all("\n" not in fault.message and len(fault.message) < 500 for fault in faults)
        return "refused" if any(fault.severity == "error" for fault in faults) else "read"

    return read


def _look_at(labels: Labels) -> None:
    assert labels.xy.shape == (FRAMES, 2)
    assert len(labels.visible) == len(labels.labelled) == FRAMES
    assert not (labels.visible & ~labels.labelled).any()
    assert ((labels.xy >= 0) & (labels.xy <= (SIZE[1], SIZE[0]))).all()
