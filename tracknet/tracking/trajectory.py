"""The table that tracking gives: one row a frame, as CSV."""

from __future__ import annotations

import csv
import fcntl
import math
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TextIO

from tracknet.data.faults import are, plural
from tracknet.data.whole_file import hidden_part, remove_leftovers, why_refused
from tracknet.errors import TrackNetError, nearest

HEADER = ("Frame", "Visibility", "X", "Y", "Confidence")
"""Columns of a trajectory file."""

FILLED = "Filled"
"""Column after those of `HEADER` where gaps were filled: 1 in the rows that no detection stands behind."""

REQUIRED = HEADER[:4]
"""Columns without which a file is no trajectory; label files of the field have these four."""


class TrajectoryRow(NamedTuple):
    """Where the ball is in one frame.

    Attributes:
        frame: Number of the frame, from 0.
        visible: Whether there is a ball.
        x: Column in pixels of the source, the centre of pixel k being k; 0 where there is no ball.
        y: Row in pixels of the source; 0 where there is no ball.
        confidence: Confidence in 0..1 that there is a ball, whether or not it passed the threshold.
        filled: Whether the position comes from the frames around it, none being found in this one.
    """

    frame: int
    visible: bool
    x: float
    y: float
    confidence: float
    filled: bool = False


@dataclass(frozen=True)
class TrajectorySummary:
    """What was written.

    Attributes:
        frames: Rows.
        visible: Rows with a ball.
        best: Highest confidence, 0 without rows.
        filled: Rows with a ball that were filled.
    """

    frames: int = 0
    visible: int = 0
    best: float = 0.0
    filled: int = 0

    def with_row(self, row: TrajectoryRow) -> TrajectorySummary:
        """Give the summary of one row more."""
        return TrajectorySummary(
            self.frames + 1,
            self.visible + int(row.visible),
            max(self.best, row.confidence),
            self.filled + int(row.filled),
        )


class TrajectoryInterrupted(KeyboardInterrupt):
    """Ctrl-C while rows were written; the rows so far are kept in a file of their own.

    Args:
        path: The file of the rows so far, ``NAME.partial.csv``.
        summary: What it holds.
    """

    def __init__(self, path: Path, summary: TrajectorySummary) -> None:
        super().__init__(str(path))
        self.path = path
        self.summary = summary


def partial_path(path: Path) -> Path:
    """Say where the rows of an unfinished trajectory go: ``rally.csv`` -> ``rally.partial.csv``."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def frames_before(number: int) -> str:
    """Say of how many frames there are rows, where they end early: ``the 7 frames before are``."""
    return f"the {plural(number, 'frame')} before {are(number)}"


def _broken_off(reason: TrackNetError, summary: TrajectorySummary, path: Path) -> TrackNetError:
    """Say beside what ended a trajectory early where the rows before it are."""
    return TrackNetError(f"{reason}; {frames_before(summary.frames)} in {path}")


def live_path(path: Path) -> Path:
    """Say where the rows of a stream are while it is followed: ``court.csv`` -> ``court.live.csv``."""
    return path.with_name(f"{path.stem}.live{path.suffix}")


def write_trajectory(path: Path, rows: Iterable[TrajectoryRow], filled: bool = False) -> TrajectorySummary:
    """Write a trajectory as CSV, row by row as they come.

    The rows go to a hidden file beside, which takes the place of `path` when the last one is on disk. When
    the rows end early (Ctrl-C, or a `TrackNetError` in the middle of a video), those so far become
    ``NAME.partial.csv`` and `path` stays as it was.

    Args:
        path: The CSV; columns ``Frame,Visibility,X,Y,Confidence``, positions with 2 decimals, confidence
            with 4.
        rows: One row a frame, in order.
        filled: Whether to write the column ``Filled`` too, as for a rectified trajectory.

    Returns:
        Number of rows and of balls.

    Raises:
        TrajectoryInterrupted: Ctrl-C after at least one row.
        TrackNetError: The file cannot be written, or `rows` raised it.
    """
    summary = TrajectorySummary()
    partial = partial_path(path)
    with _file_beside(path) as (part, file):
        file.write(_heading(filled) + "\n")
        try:
            for row in rows:
                file.write(_line(row, filled) + "\n")
                summary = summary.with_row(row)
        except (KeyboardInterrupt, TrackNetError) as reason:
            if summary.frames == 0:
                raise
            _finish(part, file, partial)
            if isinstance(reason, TrackNetError):
                raise _broken_off(reason, summary, partial) from reason
            raise TrajectoryInterrupted(partial, summary) from reason
        _finish(part, file, path)
    return summary


def write_rows(
    file: TextIO, rows: Iterable[TrajectoryRow], filled: bool = False, endless: bool = False
) -> TrajectorySummary:
    """Write a trajectory to an open file or to standard output, each row on its way as soon as it comes.

    Args:
        file: Where to.
        rows: The rows, in order.
        filled: Whether to write the column ``Filled`` too.
        endless: Ctrl-C after at least one row is how the rows end, and no interruption.

    Returns:
        Number of rows and of balls.

    Raises:
        KeyboardInterrupt: Ctrl-C otherwise.
        TrackNetError: `rows` raised it.
    """
    summary = TrajectorySummary()
    try:
        for state in _written(file, rows, filled):
            summary = state
    except KeyboardInterrupt:
        if not (endless and summary.frames):
            raise
    return summary


def write_live_trajectory(path: Path, rows: Iterable[TrajectoryRow]) -> TrajectorySummary:
    """Write the trajectory of a live stream, which ends with the stream or with Ctrl-C.

    The rows can be read as they come in ``NAME.live.csv``, which becomes `path` at the end, however the
    stream ends. A stream cannot be tracked again: a trajectory that is there, and rows that a power cut left,
    are never written over, but kept under a name with their time.

    Args:
        path: The CSV, see `write_trajectory`.
        rows: The rows; numbers are missing where frames were dropped.

    Returns:
        Number of rows and of balls.

    Raises:
        KeyboardInterrupt: Ctrl-C before the first row; there is no file then.
        TrackNetError: The file cannot be written, or another command writes it now; or `rows` raised it, and
            the rows before it are in `path`.
    """
    path = path.resolve()  # a link stays one
    live, summary = live_path(path), TrajectorySummary()

    def finish(file: TextIO) -> None:
        if path.exists():
            _keep(path, path.stat().st_mtime, "the trajectory of an earlier stream is")
        _finish(live, file, path)

    try:
        with _claimed(live) as file:
            try:
                for state in _written(file, rows, filled=False):
                    summary = state
            except (KeyboardInterrupt, TrackNetError) as reason:
                if not summary.frames:
                    live.unlink()
                    raise
                if isinstance(reason, TrackNetError):
                    finish(file)
                    raise _broken_off(reason, summary, path) from reason
            finish(file)
    except BlockingIOError as error:
        raise TrackNetError(
            f"{live}: another command is writing it, of another stream; choose another --output"
        ) from error
    except OSError as error:
        kept = f"; {frames_before(summary.frames)} in {live}" if summary.frames else ""
        with suppress(OSError):
            if not live.stat().st_size:
                live.unlink()
        raise TrackNetError(f"{path}: cannot be written: {why_refused(error)}{kept}") from error
    return summary


def _keep(path: Path, written: float, what: str) -> None:
    """Give a file a name with the time at which it was written, and say so."""
    stem = f"{path.stem}.{datetime.fromtimestamp(written):%Y%m%d-%H%M%S-%f}"
    kept, number = path.with_name(f"{stem}{path.suffix}"), 1
    while kept.exists():  # disks may keep times coarsely, and copies those of others
        kept, number = path.with_name(f"{stem}-{number}{path.suffix}"), number + 1
    path.rename(kept)
    print(f"note: {what} kept: {kept}", file=sys.stderr)


def _claimed(live: Path) -> TextIO:
    """Open an empty file that no other command writes to while it is open, and keep what was there.

    Raises:
        BlockingIOError: Another command writes to it.
    """
    while True:
        file = live.open("a", encoding="utf-8", newline="")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.fstat(file.fileno())
            if live.exists() and os.path.samestat(mine, live.stat()):  # nobody has just moved it
                if not mine.st_size:
                    return file
                _keep(live, mine.st_mtime, "rows of a stream that was cut off are")
        except BaseException:
            file.close()
            raise
        file.close()


def read_trajectory(path: Path) -> list[TrajectoryRow]:
    """Read a trajectory from CSV.

    Columns are found by name, in any order, and others are passed over. Without a column ``Confidence``, as
    in label files, it is 1 where there is a ball and 0 elsewhere; without ``Filled`` nothing is filled.

    Args:
        path: The CSV.

    Returns:
        One row a frame; row k is frame k.

    Raises:
        TrackNetError: No such file, a missing column, a field that is no number, a frame missing or out of
            order.
    """
    return list(trajectory_rows(path))


def trajectory_rows(path: Path) -> Iterator[TrajectoryRow]:
    """Read a trajectory row by row, in constant memory however long it is; else as `read_trajectory`.

    Args:
        path: The CSV.

    Yields:
        One row a frame.

    Raises:
        TrackNetError: As `read_trajectory`, at the row that is at fault.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _rows(path, csv.DictReader(file, restval=""))
    except FileNotFoundError:
        siblings = [p.name for p in path.parent.glob(f"*{path.suffix}")]
        raise TrackNetError(f"{path}: no such trajectory{nearest(path.name, siblings)}") from None
    except OSError as error:
        raise TrackNetError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TrackNetError(f"{path}: not a CSV file: {error}") from error


def _rows(path: Path, table: csv.DictReader[str]) -> Iterator[TrajectoryRow]:
    names = list(table.fieldnames or ())
    for column in REQUIRED:
        if column not in names:
            raise TrackNetError(
                f"{path}:1: no column {column!r}{nearest(column, names)}; "
                f"found {','.join(names) or 'nothing'}, expected {','.join(HEADER)}"
            )
    for expected, fields in enumerate(table):
        place = f"{path}:{table.line_num}"
        frame = _number(place, "Frame", fields)
        if frame != expected:
            raise TrackNetError(
                f"{place}: frame {frame:g} where {expected} was expected (one row a frame, from 0)"
            )
        visible = _number(place, "Visibility", fields)
        if visible not in (0, 1):
            raise TrackNetError(f"{place}: Visibility is {visible:g}, expected 0 or 1")
        filled = _number(place, FILLED, fields) if FILLED in names else 0
        if filled not in (0, 1):
            raise TrackNetError(f"{place}: {FILLED} is {filled:g}, expected 0 or 1")
        yield TrajectoryRow(
            frame=expected,
            visible=bool(visible),
            x=_number(place, "X", fields),
            y=_number(place, "Y", fields),
            confidence=_number(place, "Confidence", fields) if "Confidence" in names else visible,
            filled=bool(filled),
        )


def _number(place: str, column: str, fields: dict[str, str]) -> float:
    try:
        value = float(fields[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TrackNetError(f"{place}: {column} is {fields[column]!r}, expected a number")
    return value


def _written(file: TextIO, rows: Iterable[TrajectoryRow], filled: bool) -> Iterator[TrajectorySummary]:
    """Write heading and rows, each on its way at once; tells after each line what is there."""
    summary = TrajectorySummary()
    print(_heading(filled), file=file, flush=True)
    yield summary
    for row in rows:
        print(_line(row, filled), file=file, flush=True)
        summary = summary.with_row(row)
        yield summary


def _heading(filled: bool) -> str:
    return ",".join((*HEADER, FILLED) if filled else HEADER)


def _line(row: TrajectoryRow, filled: bool) -> str:
    x, y = (row.x, row.y) if row.visible else (0.0, 0.0)
    line = f"{row.frame},{int(row.visible)},{x:.2f},{y:.2f},{row.confidence:.4f}"
    return f"{line},{int(row.filled)}" if filled else line


@contextmanager
def _file_beside(path: Path) -> Iterator[tuple[Path, TextIO]]:
    """Open a hidden file in the folder of `path`, gone afterwards unless it was renamed."""
    remove_leftovers(path)
    part = hidden_part(path)
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield part, file
    except OSError as error:
        raise TrackNetError(f"{path}: cannot be written: {why_refused(error)}") from error
    finally:
        with suppress(OSError):  # where nothing could be written, nothing can be removed either
            part.unlink()


def _finish(part: Path, file: TextIO, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    os.replace(part, path)
