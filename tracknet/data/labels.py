"""Label files of the field: where the ball is in each frame of a clip, and what is wrong with the file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tracknet.data.faults import Fault, shown
from tracknet.data.frame_numbers import match_numbers
from tracknet.data.label_table import HEADERS, IN_SHARES, FaultyRowError, LabelStyle, LabelTable, read_table
from tracknet.data.label_text import look_exchanged, look_like_shares, write_text


@dataclass(frozen=True, eq=False)
class Labels:
    """Where the ball is in each of the N frames of a clip.

    A frame is in one of three states: labelled with a visible ball, labelled without one, or not labelled.

    Attributes:
        xy: Ball in pixels of the source, 0 where it is not visible; float32, shape ``[N, 2]``.
        visible: Whether the ball is seen; bool, shape ``[N]``.
        labelled: Whether the label says anything about the frame; bool, shape ``[N]``.
        codes: Visibility as labelled, where the labels tell degrees of it: 2 partly hidden, 3 hidden; uint8,
            shape ``[N]``.
    """

    xy: np.ndarray
    visible: np.ndarray
    labelled: np.ndarray
    codes: np.ndarray | None = None

    @property
    def visibility(self) -> np.ndarray:
        """0 no ball, 1 visible, 2 partly hidden, 3 hidden (these three count as visible); uint8, ``[N]``."""
        degrees = 1 if self.codes is None else np.maximum(self.codes, 1)
        return (self.visible * degrees).astype(np.uint8)

    @classmethod
    def none(cls, frames: int) -> Labels:
        """Give labels that say nothing about any of the frames."""
        return cls(np.zeros((frames, 2), np.float32), np.zeros(frames, bool), np.zeros(frames, bool))


@dataclass(frozen=True)
class _Row:
    frame: int
    visibility: int
    x: float
    y: float


def read_labels(
    path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
) -> tuple[Labels, list[Fault]]:
    """Read the labels of one clip, whichever of the styles in `label_table.HEADERS` the file has.

    The style is known by the names of the columns, in any order, whatever their case; further columns are
    ignored. Byte-order marks, CRLF, semicolons or tabs between the columns, decimal commas (between
    these), spaces and quotes are accepted. Coordinates of frames without a visible ball are ignored.
    Visibility codes 2 (partly hidden) and 3 (hidden) count as visible. A faulty row leaves its frame
    unlabelled, as do two rows for one frame; faults of the whole file leave all frames unlabelled.

    Args:
        path: The file.
        frames: Frames of the video, N.
        size: Height and width of the video.
        images: Names of the image files of the clip, in order, when it is a folder of images: a file name in
            the first column then means the frame at its position. Otherwise the last number in it counts.
            A number in it means the image of this number, which may stand behind a prefix, as in
            ``frame_0001.jpg``; where these cannot be meant, and rows are counted from 0, their position.

    Returns:
        The labels, and the faults in the order of the lines.

    Raises:
        TrackNetError: The file cannot be read at all.
    """
    path = Path(path)
    nothing = Labels.none(frames)
    table = read_table(path)
    if isinstance(table, Fault):
        return nothing, [table]
    names = _places(images) if images is not None and table.names_files else None
    numbers: Sequence[int] = range(frames)
    faults: list[Fault] = []
    if names is None:
        numbers, numbering = match_numbers(path, table.frame_numbers(), numbers, images or ())
        faults += numbering
        if any(fault.severity == "error" for fault in numbering):
            return nothing, faults
    places = {number: place for place, number in enumerate(numbers)}
    rows: dict[int, _Row] = {}
    first_lines: dict[int, int] = {}
    unsure: set[int] = set()
    stray_coordinates = False
    for line, cells in table.lines:
        try:
            frame = _place_by_name(table, cells, names) if names else _place(table, cells, places)
            unsure.add(frame)
            if frame in first_lines:
                raise FaultyRowError(
                    "duplicate-frame",
                    f"frame {numbers[frame]} has a row already, in line {first_lines[frame]}",
                )
            first_lines[frame] = line
            visibility, x, y = table.ball(cells)
            stray_coordinates |= not visibility and (x > 0 or y > 0)
            rows[frame] = _Row(frame, visibility, x, y)
            if visibility:
                table.check_place(x, y, size)
            unsure.discard(frame)
        except FaultyRowError as fault:
            faults.append(Fault(path, fault.kind, str(fault), line))

    seen = [row for row in rows.values() if row.visibility]
    if not seen and stray_coordinates:
        message = f"no row says that the ball is visible, though coordinates are given ({len(rows)} rows)"
        return nothing, [*faults, Fault(path, "never-visible", message)]
    if not table.shares and look_like_shares((row.x, row.y) for row in seen):
        message = "all coordinates are at most 1 in columns that hold pixels"
        return nothing, [*faults, Fault(path, "outside-frame", message)]
    if not table.shares and look_exchanged([(row.x, row.y) for row in seen], size):
        message = (
            f"the positions fit a picture of {size[0]}x{size[1]}, and the video has {size[1]}x{size[0]}: are "
            "x and y exchanged, or was the video turned when it was labelled?"
        )
        others = [fault for fault in faults if fault.kind != "outside-frame"]
        return nothing, [*others, Fault(path, "outside-frame", message)]
    missing = sorted(set(range(frames)) - set(first_lines))
    if missing:
        first = numbers[missing[0]]
        message = f"{len(missing)} of {frames} frames have no row, the first of them is frame {first}"
        if names is None and missing == [first] == [0]:
            message = "frame 0 alone has no row: are frames counted from 0?"
        faults.append(Fault(path, "missing-frames", message, severity="warning"))
    scale = (size[1], size[0]) if table.shares else (1, 1)
    return _labels([row for row in rows.values() if row.frame not in unsure], frames, scale), faults


def write_labels(path: Path, labels: Labels, style: LabelStyle, size: tuple[int, int]) -> None:
    """Write labels as `read_labels` reads them; frames that are not labelled get no row.

    Coordinates are written to a thousandth of a pixel or better, and those up to half a pixel outside of
    ``0 <= x <= width`` and ``0 <= y <= height`` are moved to the border. The file appears whole or not at
    all.

    Args:
        path: File to write.
        labels: The labels.
        style: Column style, see `label_table.HEADERS`.
        size: Height and width of the video.

    Raises:
        ValueError: A visible ball lies outside of the frame.
        TrackNetError: The file cannot be written.
    """
    height, width = size
    limit = np.array([width, height], np.float64)
    xy = labels.xy.astype(np.float64)
    kept = labels.visible & labels.labelled
    if not ((xy[kept] >= -0.5) & (xy[kept] <= limit + 0.5)).all():
        raise ValueError(f"{path}: a visible ball lies outside of the frame of {width} x {height} pixels")
    xy = xy.clip(0, limit)
    # Exactly 0,0 is how label tools write "not set", and reads as a fault.
    xy[kept & (xy < 0.001).all(axis=1)] = 0.001
    shares = style in IN_SHARES
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADERS[style])
    visibility = labels.visibility
    for frame in np.flatnonzero(labels.labelled):
        seen = int(visibility[frame])
        x, y = xy[frame] / limit if shares else xy[frame]
        # Eight digits of a share are finer than a thousandth of a pixel on any video.
        places = [_decimal(float(v), 8 if shares else 3) for v in (x, y)] if seen else ["0", "0"]
        if style == "tennis":
            writer.writerow([f"{frame:04d}.jpg", seen, *(places if seen else ["", ""]), ""])
        elif HEADERS[style][1] in ("x", "X"):
            writer.writerow([int(frame), *places, seen])
        else:
            writer.writerow([int(frame), seen, *places])
    write_text(Path(path), out.getvalue())


def _places(images: Sequence[str]) -> dict[str, int]:
    """Positions of the images by name, and by name without suffix."""
    places = {Path(name).stem: place for place, name in enumerate(images)}
    return places | {name: place for place, name in enumerate(images)}


def _place_by_name(table: LabelTable, cells: Sequence[str], names: dict[str, int]) -> int:
    text = table.frame_name(cells)
    place = names.get(text, names.get(Path(text).stem))
    if place is None:
        raise FaultyRowError(
            "beyond-video", f"{shown(text)} is not among the {len(set(names.values()))} images of the clip"
        )
    return place


def _place(table: LabelTable, cells: Sequence[str], places: dict[int, int]) -> int:
    number = table.frame_number(cells)
    place = places.get(number)
    if place is None:
        last = next(reversed(places), -1)
        raise FaultyRowError(
            "beyond-video",
            f"frame {number:.10g} is beyond the video, whose last is frame {last}"
            if number > last
            else f"frame {number} is not among the images of the clip",
        )
    return place


def _labels(rows: Sequence[_Row], frames: int, scale: tuple[int, int]) -> Labels:
    codes = np.zeros(frames, np.uint8)
    labels = replace(Labels.none(frames), codes=codes)
    for row in rows:
        labels.labelled[row.frame] = True
        codes[row.frame] = row.visibility
        if row.visibility:
            labels.visible[row.frame] = True
            labels.xy[row.frame] = (row.x * scale[0], row.y * scale[1])
    return labels


def _decimal(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")
