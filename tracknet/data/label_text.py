"""The text of label files, read and written whole, and the numbers in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from tracknet.data.faults import Fault
from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError

_MANY_OUTSIDE = 3  # fewer are slips


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


def look_exchanged(balls: Sequence[tuple[float, float]], size: tuple[int, int]) -> bool:
    """Say whether many positions of visible balls lie outside the frame, and none with x and y exchanged.

    Args:
        balls: Positions in pixels.
        size: Height and width of the frame.

    Example:
        >>> exchanged = [(100, 900), (110, 920), (120, 940), (200, 300)]
        >>> look_exchanged(exchanged, (720, 1280)), look_exchanged([*exchanged, (900, 100)], (720, 1280))
        (True, False)
    """

    def outside(x: float, y: float) -> bool:
        return not (0 <= x <= size[1] and 0 <= y <= size[0])

    count = sum(outside(x, y) for x, y in balls)
    return count >= max(_MANY_OUTSIDE, len(balls) / 10) and not any(outside(y, x) for x, y in balls)


def look_like_shares(balls: Iterable[tuple[float, float]]) -> bool:
    """Tell whether places of the ball, none of them negative, are shares of the frame and no pixels.

    Example:
        >>> look_like_shares([(0.5, 0.25), (1, 0.3)]), look_like_shares([(1, 1)]), look_like_shares([])
        (True, False, False)
    """
    values = [value for ball in balls for value in ball]
    return bool(values) and max(values) <= 1 and any(value != int(value) for value in values)
