"""Label files of the field: where the ball is in each frame of a clip, and what is wrong with the file."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tracknet.data.faults import Fault, FaultKind, shown
from tracknet.data.frame_numbers import match_numbers
from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError, nearest

LabelStyle = Literal["ball", "visible", "trajectory", "racketvision", "tennis"]
"""Column styles that can be written, see `HEADERS`; any of them is recognised when reading."""

HEADERS: dict[LabelStyle, tuple[str, ...]] = {
    "ball": ("Frame", "Ball", "x", "y"),
    "visible": ("frame_num", "x", "y", "visible"),
    "trajectory": ("Frame", "Visibility", "X", "Y"),
    "racketvision": ("Frame", "X", "Y", "Visibility"),
    "tennis": ("file name", "visibility", "x-coordinate", "y-coordinate", "status"),
}
"""Header of each style. ``ball`` and ``visible`` hold shares of the width and height, the others pixels."""

_ALIASES = {
    "frame": ("frame", "frame num", "file name"),
    "visibility": ("visibility", "ball", "visible"),
    "x": ("x", "x coordinate"),
    "y": ("y", "y coordinate"),
}
_IN_SHARES = ("ball", "visible")
_VISIBILITY_CODES = (0, 1, 2, 3)


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
class _Columns:
    """Positions of the columns in a row, and what frames and coordinates are written as."""

    frame: int
    visibility: int
    x: int
    y: int
    names_files: bool
    shares: bool


@dataclass(frozen=True)
class _Table:
    """Lines of a file with their cells, as they are."""

    header: list[str]
    columns: _Columns
    delimiter: str
    lines: list[tuple[int, list[str]]]


@dataclass(frozen=True)
class _Row:
    frame: int
    visibility: int
    x: float
    y: float


class _FaultyRowError(Exception):
    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def read_labels(
    path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
) -> tuple[Labels, list[Fault]]:
    """Read the labels of one clip, whichever of the styles in `HEADERS` the file has.

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
    table = _read_table(path)
    if isinstance(table, Fault):
        return nothing, [table]
    columns = table.columns
    names = _places(images) if images is not None and columns.names_files else None
    numbers: Sequence[int] = range(frames)
    faults: list[Fault] = []
    if names is None:
        numbers, numbering = match_numbers(path, _row_numbers(table), numbers, images or ())
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
            frame = _place_by_name(cells, columns, names) if names else _place(cells, columns, places)
            unsure.add(frame)
            if frame in first_lines:
                raise _FaultyRowError(
                    "duplicate-frame",
                    f"frame {numbers[frame]} has a row already, in line {first_lines[frame]}",
                )
            first_lines[frame] = line
            named = len(table.header)
            if any(cells[named:]):
                raise _FaultyRowError(
                    "too-many-cells", f"{len(cells)} cells, but the header names {named} columns"
                )
            visibility, x, y = _ball_of(cells, columns, table.delimiter)
            stray_coordinates |= not visibility and (x > 0 or y > 0)
            rows[frame] = _Row(frame, visibility, x, y)
            if visibility:
                _check_place(x, y, columns, size)
            unsure.discard(frame)
        except _FaultyRowError as fault:
            faults.append(Fault(path, fault.kind, str(fault), line))

    seen = [row for row in rows.values() if row.visibility]
    if not seen and stray_coordinates:
        message = f"no row says that the ball is visible, though coordinates are given ({len(rows)} rows)"
        return nothing, [*faults, Fault(path, "never-visible", message)]
    if not columns.shares and look_like_shares((row.x, row.y) for row in seen):
        message = "all coordinates are at most 1 in columns that hold pixels"
        return nothing, [*faults, Fault(path, "outside-frame", message)]
    missing = sorted(set(range(frames)) - set(first_lines))
    if missing:
        first = numbers[missing[0]]
        message = f"{len(missing)} of {frames} frames have no row, the first of them is frame {first}"
        if names is None and missing == [first] == [0]:
            message = "frame 0 alone has no row: are frames counted from 0?"
        faults.append(Fault(path, "missing-frames", message, severity="warning"))
    return _labels([row for row in rows.values() if row.frame not in unsure], frames, columns, size), faults


def write_labels(path: Path, labels: Labels, style: LabelStyle, size: tuple[int, int]) -> None:
    """Write labels as `read_labels` reads them; frames that are not labelled get no row.

    Coordinates are written to a thousandth of a pixel or better, and those up to half a pixel outside of
    ``0 <= x <= width`` and ``0 <= y <= height`` are moved to the border. The file appears whole or not at
    all.

    Args:
        path: File to write.
        labels: The labels.
        style: Column style, see `HEADERS`.
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
    shares = style in _IN_SHARES
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


def _read_table(path: Path) -> _Table | Fault:
    text = read_text(path)
    if isinstance(text, Fault):
        return text
    delimiter = _delimiter(text)
    lines = _lines(text, delimiter)
    try:
        line, header = next(lines, (0, []))
        if not header:
            return Fault(path, "empty", "is empty")
        columns = _find_columns(header)
        if isinstance(columns, str):
            return Fault(path, "missing-column", columns, line)
        table = _Table(header, columns, delimiter, list(lines))
    except csv.Error as error:
        return Fault(path, "not-text", f"is not a table of text: {error}")
    return table if table.lines else Fault(path, "empty", "has a header but no rows")


def _delimiter(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    if told := re.match(r'"?sep=(.)', first):  # a line for Excel
        return told[1]
    return max(",;\t", key=first.count)


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Give (line number, stripped cells) of each line that is not blank, and not the first one for Excel."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    begins = True
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if not any(stripped):
            continue
        if not (begins and stripped[0].startswith("sep=")):
            yield reader.line_num, stripped
        begins = False


def _find_columns(header: Sequence[str]) -> _Columns | str:
    """Find the columns by name; a string says what is wrong."""
    names = [re.sub(r"[\s_-]+", " ", name).lower() for name in header]
    found = {
        column: next((names.index(alias) for alias in aliases if alias in names), None)
        for column, aliases in _ALIASES.items()
    }
    frame, visibility, x, y = (found[column] for column in ("frame", "visibility", "x", "y"))
    if frame is not None and visibility is not None and x is not None and y is not None:
        shares = names[visibility] in _IN_SHARES
        return _Columns(frame, visibility, x, y, names[frame] == "file name", shares)
    written = shown(",".join(header), 80)
    if header[0][:1].isdigit():
        return f"the first line {written} does not name the columns; expected {_expected()}"
    missing = [column for column, place in found.items() if place is None]
    known = [alias for column in missing for alias in _ALIASES[column]]
    hint = next((hint for name in names if (hint := nearest(name, known))), "")
    column = "column" if len(missing) == 1 else "columns"
    return f"no {column} for {' and '.join(missing)} in {written}; expected {_expected()}{hint}"


def _expected() -> str:
    return " or ".join(",".join(header) for header in HEADERS.values())


def _places(images: Sequence[str]) -> dict[str, int]:
    """Positions of the images by name, and by name without suffix."""
    places = {Path(name).stem: place for place, name in enumerate(images)}
    return places | {name: place for place, name in enumerate(images)}


def _row_numbers(table: _Table) -> set[int]:
    """Numbers of the frames that rows name, faulty ones left out."""
    found = set()
    for _, cells in table.lines:
        with suppress(_FaultyRowError):
            found.add(_frame_number(cells, table.columns))
    return found


def _place_by_name(cells: Sequence[str], columns: _Columns, names: dict[str, int]) -> int:
    text = _cell(cells, columns.frame)
    place = names.get(text, names.get(Path(text).stem))
    if place is None:
        raise _FaultyRowError(
            "beyond-video", f"{shown(text)} is not among the {len(set(names.values()))} images of the clip"
        )
    return place


def _place(cells: Sequence[str], columns: _Columns, places: dict[int, int]) -> int:
    number = _frame_number(cells, columns)
    place = places.get(number)
    if place is None:
        last = next(reversed(places), -1)
        raise _FaultyRowError(
            "beyond-video",
            f"frame {number:.10g} is beyond the video, whose last is frame {last}"
            if number > last
            else f"frame {number} is not among the images of the clip",
        )
    return place


def _frame_number(cells: Sequence[str], columns: _Columns) -> int:
    text = _cell(cells, columns.frame)
    if columns.names_files:
        digits = re.findall(r"\d+", Path(text).stem, re.ASCII)
        if not digits:
            raise _FaultyRowError("bad-number", f"the file name {shown(text)} holds no frame number")
        text = digits[-1]
    number = _number(text, "frame")
    if number != int(number):
        raise _FaultyRowError("bad-number", f"the frame {shown(text)} is not a whole number")
    if number < 0:
        raise _FaultyRowError("negative-frame", f"the frame {number:.10g} is negative")
    return int(number)


def _ball_of(cells: Sequence[str], columns: _Columns, delimiter: str) -> tuple[int, float, float]:
    text = _cell(cells, columns.visibility)
    code = as_number(text)
    if code not in _VISIBILITY_CODES:
        raise _FaultyRowError("bad-visibility", f"the visibility is {shown(text)}; expected 0, 1, 2 or 3")
    coordinates = []
    for name, column in (("x", columns.x), ("y", columns.y)):
        cell = _cell(cells, column)
        if delimiter != ",":
            cell = cell.replace(",", ".")
        try:
            coordinates.append(_number(cell, name))
        except _FaultyRowError:
            if code:
                raise
            coordinates.append(0.0)
    return int(code), coordinates[0], coordinates[1]


def _check_place(x: float, y: float, columns: _Columns, size: tuple[int, int]) -> None:
    if x == 0 and y == 0:
        raise _FaultyRowError("at-origin", "a visible ball at 0,0")
    for name, value, whole, pixels in (("x", x, "width", size[1]), ("y", y, "height", size[0])):
        if value < 0:
            raise _FaultyRowError("outside-frame", f"a visible ball at {name} {value:g}")
        if columns.shares and value > 1:
            where = f"is beyond 1 in a column that holds shares of the {whole}"
            raise _FaultyRowError("outside-frame", f"{name} {value:g} {where}")
        if not columns.shares and value > pixels:
            raise _FaultyRowError(
                "outside-frame", f"{name} {value:g} is beyond the {whole} of {pixels} pixels"
            )


def _labels(rows: Sequence[_Row], frames: int, columns: _Columns, size: tuple[int, int]) -> Labels:
    codes = np.zeros(frames, np.uint8)
    labels = replace(Labels.none(frames), codes=codes)
    scale = (size[1], size[0]) if columns.shares else (1, 1)
    for row in rows:
        labels.labelled[row.frame] = True
        codes[row.frame] = row.visibility
        if row.visibility:
            labels.visible[row.frame] = True
            labels.xy[row.frame] = (row.x * scale[0], row.y * scale[1])
    return labels


def _cell(cells: Sequence[str], column: int) -> str:
    return cells[column] if column < len(cells) else ""


def _number(text: str, name: str) -> float:
    if not text:
        raise _FaultyRowError("bad-number", f"the {name} is blank")
    number = as_number(text)
    if not math.isfinite(number):
        raise _FaultyRowError("bad-number", f"the {name} {shown(text)} is not a number")
    return number


def look_like_shares(balls: Iterable[tuple[float, float]]) -> bool:
    """Tell whether places of the ball, none of them negative, are shares of the frame and no pixels.

    Example:
        >>> look_like_shares([(0.5, 0.25), (1, 0.3)]), look_like_shares([(1, 1)]), look_like_shares([])
        (True, False, False)
    """
    values = [value for ball in balls for value in ball]
    return bool(values) and max(values) <= 1 and any(value != int(value) for value in values)


def as_number(text: str) -> float:
    """Read a number as data files have it; NaN when it is none.

    Python's own way to read one takes the typing error ``1_0`` for 10.

    Example:
        >>> as_number("1.5e1"), as_number("1_0")
        (15.0, nan)
    """
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def _decimal(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


def read_text(path: Path) -> str | Fault:
    """Read a label file; a fault says why it is no text.

    Raises:
        TrackNetError: The file cannot be read at all.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise TrackNetError(f"{path}: cannot read the labels: {error.strerror}") from error
    if "\0" in text:
        return Fault(path, "not-text", "is not a text file in UTF-8")
    if not text.strip():
        return Fault(path, "empty", "is empty")
    return text


def write_text(path: Path, text: str) -> None:
    """Write a label file that appears whole or not at all.

    Raises:
        TrackNetError: The file cannot be written.
    """
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="")
