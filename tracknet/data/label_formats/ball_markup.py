"""``ball_markup.json`` of OpenTTGames: the ball in the frames around events, sparse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tracknet.data.faults import Fault, shown
from tracknet.data.label_formats.sheet import LabelSheet, number, whole_number
from tracknet.data.label_text import read_text, write_text
from tracknet.data.labels import Labels

_EXPECTED = 'expected {"FRAME": {"x": X, "y": Y}, ...}'


def read_ball_markup(path: Path, frames: int, size: tuple[int, int]) -> tuple[Labels, list[Fault]]:
    """Read ``{"FRAME": {"x": X, "y": Y}}`` in pixels of the source, frames counted from 0.

    x and y of -1 say that the ball is not visible. A frame that the file does not name is not labelled: that
    is nearly all of a game, and says nothing about the ball.

    Args:
        path: The file.
        frames: Frames of the video, N.
        size: Height and width of the video.

    Returns:
        The labels, and the faults in the order of the file.

    Raises:
        TrackNetError: The file cannot be read at all.
    """
    path = Path(path)
    sheet = LabelSheet(path, frames, size)
    text = read_text(path)
    if isinstance(text, Fault):
        return sheet.labels(), [text]
    try:
        # Pairs, not a dictionary, which would keep the last of two entries for one frame without a word.
        entries = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        return sheet.labels(), [Fault(path, "bad-markup", f"is not JSON: {error.msg}", error.lineno)]
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        return sheet.labels(), [Fault(path, "bad-markup", f"is not JSON: {reason}")]
    if not isinstance(entries, _Pairs):
        return sheet.labels(), [Fault(path, "bad-markup", f"holds no table of frames; {_EXPECTED}")]
    if not entries:
        return sheet.labels(), [Fault(path, "empty", "holds no frames")]
    for (name, value), line in zip(entries, _lines(text, entries), strict=True):
        frame = whole_number(name)
        if frame is None:
            sheet.fault("bad-number", f"the frame {shown(name)} is not a whole number", line)
            continue
        place = dict(value) if isinstance(value, _Pairs) else {}
        x, y = number(place.get("x")), number(place.get("y"))
        if x is None or y is None:
            sheet.fault(
                "bad-number", f"frame {frame} holds {shown(_written(value))}; {_EXPECTED}", line, frame
            )
        else:
            sheet.put(frame, None if x == y == -1 else (x, y), line)
    return sheet.labels(), sheet.faults


def write_ball_markup(path: Path, labels: Labels) -> None:
    """Write labels as `read_ball_markup` reads them, in whole pixels as published.

    Args:
        path: File to write; it appears whole or not at all.
        labels: The labels; frames that are not labelled get no entry.

    Raises:
        TrackNetError: The file cannot be written.
    """
    entries = {}
    for frame in np.flatnonzero(labels.labelled).tolist():
        x, y = (round(float(v)) for v in labels.xy[frame]) if labels.visible[frame] else (-1, -1)
        entries[str(frame)] = {"x": x, "y": y}
    write_text(path, json.dumps(entries, indent=0) + "\n")


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON, in the order of the file."""


def _lines(text: str, entries: _Pairs) -> list[int]:
    """Find the line of each entry: its key is the next one of that name."""
    lines, place, line = [], 0, 1
    for name, _ in entries:
        found = text.find(json.dumps(name), place)
        if found >= 0:
            line += text.count("\n", place, found)
            place = found + 1
        lines.append(line)
    return lines


def _written(value: Any) -> str:
    """Write a value as JSON again, without what is nested in it, which may be deep."""
    if isinstance(value, _Pairs):
        return json.dumps({name: "..." if isinstance(inside, list) else inside for name, inside in value})
    return json.dumps("..." if isinstance(value, list) else value)
