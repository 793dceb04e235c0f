"""The text of label files, read and written whole, and the numbers in it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from tracknet.data.faults import Fault
from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError


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


def look_like_shares(balls: Iterable[tuple[float, float]]) -> bool:
    """Tell whether places of the ball, none of them negative, are shares of the frame and no pixels.

    Example:
        >>> look_like_shares([(0.5, 0.25), (1, 0.3)]), look_like_shares([(1, 1)]), look_like_shares([])
        (True, False, False)
    """
    values = [value for ball in balls for value in ball]
    return bool(values) and max(values) <= 1 and any(value != int(value) for value in values)
