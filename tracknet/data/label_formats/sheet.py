"""Labels of one clip as they are read frame by frame, whatever the format of the file."""

from __future__ import annotations

import math
from pathlib import Path

from tracknet.data.faults import Fault, FaultKind
from tracknet.data.label_text import as_number, look_like_shares
from tracknet.data.labels import Labels


class LabelSheet:
    """Collects what a file says of each frame, and what is wrong with it.

    A faulty entry leaves its frame unlabelled, as do two entries for one frame.

    Args:
        path: The file.
        frames: Frames of the video, N.
        size: Height and width of the video.

    Attributes:
        faults: What is wrong, in the order of the file.
    """

    def __init__(self, path: Path, frames: int, size: tuple[int, int]) -> None:
        self.path = path
        self.faults: list[Fault] = []
        self._size = size
        self._labels = Labels.none(frames)
        self._lines: dict[int, int] = {}
        self._unsure: set[int] = set()

    def put(self, frame: int, ball: tuple[float, float] | None, line: int) -> None:
        """Take down an entry.

        Args:
            frame: Number of the frame.
            ball: Where the visible ball is, in pixels; None when the frame has none.
            line: Line of the file, from 1.
        """
        frames = len(self._labels.labelled)
        if frame < 0:
            return self.fault("negative-frame", f"the frame {frame} is negative", line)
        if frame >= frames:
            last = f"whose last is frame {frames - 1}"
            return self.fault("beyond-video", f"frame {frame} is beyond the video, {last}", line)
        if frame in self._lines:
            message = f"frame {frame} has an entry already, in line {self._lines[frame]}"
            return self.fault("duplicate-frame", message, line, frame)
        self._lines[frame] = line
        if ball is not None and (wrong := self._misplaced(ball)):
            return self.fault(*wrong, line, frame)
        self._labels.labelled[frame] = True
        if ball is not None:
            self._labels.visible[frame] = True
            self._labels.xy[frame] = ball
        return None

    def fault(self, kind: FaultKind, message: str, line: int | None = None, frame: int | None = None) -> None:
        """Take down what is wrong with the file, with a line, or with a frame, which is then not labelled."""
        self.faults.append(Fault(self.path, kind, message, line))
        if frame is not None and 0 <= frame < len(self._labels.labelled):
            self._unsure.add(frame)

    def labels(self, rest_without_ball: bool = False) -> Labels:
        """Give the labels; none, and a fault of the whole file, where all are shares of the frame.

        Args:
            rest_without_ball: Frames without an entry have no ball; otherwise they are not labelled.
        """
        labels = self._labels
        if look_like_shares(map(tuple, labels.xy[labels.visible].tolist())):
            self.fault("outside-frame", "all coordinates are at most 1; expected pixels of the video")
            return Labels.none(len(labels.labelled))
        if rest_without_ball:
            labels.labelled[:] = True
        for frame in self._unsure:
            labels.labelled[frame] = labels.visible[frame] = False
            labels.xy[frame] = 0
        return labels

    def _misplaced(self, ball: tuple[float, float]) -> tuple[FaultKind, str] | None:
        if ball == (0, 0):
            return "at-origin", "a visible ball at 0,0"
        for name, value, whole, pixels in zip(
            "xy", ball, ("width", "height"), (self._size[1], self._size[0]), strict=True
        ):
            if value < 0:
                return "outside-frame", f"a visible ball at {name} {value:g}"
            if value > pixels:
                return "outside-frame", f"{name} {value:g} is beyond the {whole} of {pixels} pixels"
        return None


def number(value: object) -> float | None:
    """Read a finite number out of JSON, XML or a line; None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = as_number(value) if isinstance(value, str) else float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def whole_number(value: object) -> int | None:
    """Read a whole number; None when it is none."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None
