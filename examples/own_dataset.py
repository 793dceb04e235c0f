"""Read labels that no other program writes: a layout of your own, and the DataModule that trains on it.

Usage: PYTHONPATH=examples tracknet fit --config examples/own_dataset.yaml --data.root ROOT

ROOT holds NAME.mp4 beside NAME.json: {"fps": 30, "ball": [[412.5, 96.0], null, ...]}, one entry a frame in
pixels of the video, null where no ball is seen. Change `find` and `read_labels` to what you have: checks,
frame cache, splits and windows then work with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tracknet.data.clips import Clip, Layout
from tracknet.data.datamodules import RallyDataModule
from tracknet.data.faults import Fault
from tracknet.data.label_formats.sheet import LabelSheet
from tracknet.data.labels import Labels


class JsonBalls(Layout):
    """``NAME.mp4`` beside ``NAME.json``."""

    name = "json_balls"
    expects = "NAME.mp4 beside NAME.json"

    def recognises(self, root: Path) -> bool:
        """Tell whether a video has its JSON beside it."""
        return any(path.with_suffix(".json").is_file() for path in root.glob("*.mp4"))

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips; what comes before the first ``_`` of a name is the match, its group in splits."""
        clips = []
        for video in sorted(root.glob("*.mp4")):
            labels = video.with_suffix(".json")
            group = video.stem.split("_")[0]
            clips.append(Clip(video.stem, group, video, labels if labels.is_file() else None))
        expected = "a JSON file of the same name beside it"
        missing = [clip.video for clip in clips if clip.labels is None]
        return clips, [Fault(path, "no-labels", f"has no labels; expected {expected}") for path in missing]

    def read_labels(
        self, path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
    ) -> tuple[Labels, list[Fault]]:
        """Put every frame on a sheet, which tells what cannot be: frames or positions outside the video."""
        sheet = LabelSheet(path, frames, size)
        for frame, ball in enumerate(json.loads(path.read_text())["ball"]):
            sheet.put(frame, None if ball is None else (float(ball[0]), float(ball[1])), line=frame + 1)
        return sheet.labels(), sheet.faults


class JsonDataModule(RallyDataModule):
    """Rallies labelled in JSON, see `JsonBalls`."""

    layout = JsonBalls
