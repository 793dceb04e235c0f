"""Tables of labels as they are written: the columns by their names, and what a row says."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tracknet.data.faults import Fault, FaultKind, shown
from tracknet.data.label_text import as_number, read_text
from tracknet.errors import nearest

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
IN_SHARES = ("ball", "visible")
_VISIBILITY_CODES = (0, 1, 2, 3)


class FaultyRowError(Exception):
    """A row that says nothing that could be used.

    Args:
        kind: What is wrong.
        message: The same for people.
    """

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


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
class LabelTable:
    """Lines of a file with their cells, as they are.

    Attributes:
        names: Names of the columns.
        lines: Number of each line, from 1, and its cells.
    """

    names: list[str]
    lines: list[tuple[int, list[str]]]
    _columns: _Columns
    _delimiter: str

    @property
    def names_files(self) -> bool:
        """Whether a row names its frame by a file."""
        return self._columns.names_files

    @property
    def shares(self) -> bool:
        """Whether coordinates are shares of the frame, and no pixels."""
        return self._columns.shares

    def frame_numbers(self) -> set[int]:
        """Find the numbers of the frames that rows name, faulty ones left out."""
        found = set()
        for _, cells in self.lines:
            with suppress(FaultyRowError):
                found.add(self.frame_number(cells))
        return found

    def frame_name(self, cells: Sequence[str]) -> str:
        """Give what a row names its frame by.

        Args:
            cells: Cells of the row.
        """
        return _cell(cells, self._columns.frame)

    def frame_number(self, cells: Sequence[str]) -> int:
        """Read the number of a row's frame, which may be the last one in the name of a file.

        Args:
            cells: Cells of the row.

        Raises:
            FaultyRowError: There is none.
        """
        text = self.frame_name(cells)
        if self.names_files:
            digits = re.findall(r"\d+", Path(text).stem, re.ASCII)
            if not digits:
                raise FaultyRowError("bad-number", f"the file name {shown(text)} holds no frame number")
            text = digits[-1]
        number = _number(text, "frame")
        if number != int(number):
            raise FaultyRowError("bad-number", f"the frame {shown(text)} is not a whole number")
        if number < 0:
            raise FaultyRowError("negative-frame", f"the frame {number:.10g} is negative")
        return int(number)

    def ball(self, cells: Sequence[str]) -> tuple[int, float, float]:
        """Read the visibility in a row, and the coordinates as they are written.

        Args:
            cells: Cells of the row.

        Raises:
            FaultyRowError: They are not there, or no numbers.
        """
        named = len(self.names)
        if any(cells[named:]):
            raise FaultyRowError(
                "too-many-cells", f"{len(cells)} cells, but the header names {named} columns"
            )
        text = _cell(cells, self._columns.visibility)
        code = as_number(text)
        if code not in _VISIBILITY_CODES:
            raise FaultyRowError("bad-visibility", f"the visibility is {shown(text)}; expected 0, 1, 2 or 3")
        coordinates = []
        for name, column in (("x", self._columns.x), ("y", self._columns.y)):
            cell = _cell(cells, column)
            if self._delimiter != ",":
                cell = cell.replace(",", ".")
            try:
                coordinates.append(_number(cell, name))
            except FaultyRowError:
                if code:
                    raise
                coordinates.append(0.0)
        return int(code), coordinates[0], coordinates[1]

    def check_place(self, x: float, y: float, size: tuple[int, int]) -> None:
        """Insist on a visible ball within the frame.

        Args:
            x: Where it is, as it is written.
            y: The same from above.
            size: Height and width of the frame.

        Raises:
            FaultyRowError: It is elsewhere.
        """
        if x == 0 and y == 0:
            raise FaultyRowError("at-origin", "a visible ball at 0,0")
        for name, value, whole, pixels in (("x", x, "width", size[1]), ("y", y, "height", size[0])):
            if value < 0:
                raise FaultyRowError("outside-frame", f"a visible ball at {name} {value:g}")
            if self.shares and value > 1:
                where = f"is beyond 1 in a column that holds shares of the {whole}"
                raise FaultyRowError("outside-frame", f"{name} {value:g} {where}")
            if not self.shares and value > pixels:
                raise FaultyRowError(
                    "outside-frame", f"{name} {value:g} is beyond the {whole} of {pixels} pixels"
                )


def read_table(path: Path) -> LabelTable | Fault:
    """Read a file as a table of labels.

    Args:
        path: The file.

    Returns:
        The table, or why it is none.

    Raises:
        TrackNetError: The file cannot be read at all.
    """
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
        table = LabelTable(header, list(lines), columns, delimiter)
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
        shares = names[visibility] in IN_SHARES
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


def _cell(cells: Sequence[str], column: int) -> str:
    return cells[column] if column < len(cells) else ""


def _number(text: str, name: str) -> float:
    if not text:
        raise FaultyRowError("bad-number", f"the {name} is blank")
    number = as_number(text)
    if not math.isfinite(number):
        raise FaultyRowError("bad-number", f"the {name} {shown(text)} is not a number")
    return number
